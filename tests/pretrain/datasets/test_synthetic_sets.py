"""What was imported of PAB, SynTBPR, SynCPR and ITCPR trains, is measured, and is loaded by `datasets`."""

from pathlib import Path

import pytest

from cli.pretrain import training_settings
from pretrain.datasets.importing import import_benchmark
from pretrain.evaluate import evaluate, open_gallery
from pretrain.train import train
from pretrain.trained_method import read
from pretrain.zeroshot import zeroshot
from tests.pretrain.datasets import layouts
from tests.pretrain.releases import released
from tests.pretrain.trainings import SIZES, lines

UNLABELLED = [f"aptm.loss_weights.{loss}=0" for loss in ("iac", "iam", "mam")]
TRAINED = {"pab": layouts.pab, "syntbpr": layouts.syntbpr, "syncpr": layouts.syncpr}


@pytest.mark.parametrize("name", list(TRAINED))
def test_a_set_with_a_train_split_trains_and_datasets_loads_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    import_benchmark(name, TRAINED[name](tmp_path / "raw"), str(tmp_path / "out"))
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"), split="train")
    assert loaded[0]["image"].size == (16, 32) and loaded[0]["captions"][0]["text"] == loaded[0]["caption"]
    settings = training_settings("tiny", None, [*SIZES, *UNLABELLED, "batch=2", "steps=2", "log_every=1", "data.workers=0", "dtype=fp32"])
    train(settings, [str(tmp_path / "out")], tmp_path / "trained", "cpu")
    assert [line["step"] for line in lines(tmp_path / "trained")] == [1, 2]


def test_both_test_splits_of_pab_and_itcpr_are_measured_and_datasets_loads_them(
    trainable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    import_benchmark("pab", layouts.pab(tmp_path / "raw" / "pab"), str(tmp_path / "pab"))
    import_benchmark("itcpr", layouts.itcpr(tmp_path / "raw" / "itcpr"), str(tmp_path / "itcpr"))
    trained = read(str(released(tmp_path / "method", trainable)))
    result = zeroshot(trained, [str(tmp_path / "pab"), str(tmp_path / "itcpr")], rerank="none")
    assert [(row.name, row.evaluation.retrieval and row.evaluation.retrieval.captions) for row in result.sets] == [("PAB", 2), ("ITCPR", 3)]
    ucc = evaluate(trained, open_gallery(trained, [str(tmp_path / "pab")], "ucc"), "none").retrieval
    assert ucc is not None and (ucc.captions, ucc.images, ucc.identities) == (3, 3, 2)  # two images of one image_id
    loaded = datasets.load_dataset(str(tmp_path / "itcpr"), cache_dir=str(tmp_path / "cache"), split="test")
    assert loaded["caption"][4] is None and loaded["source"][3] == "PRCC" and loaded["source_person"][3] == 1
    assert datasets.load_dataset(str(tmp_path / "pab"), cache_dir=str(tmp_path / "cache"), split="ucc").num_rows == 3
