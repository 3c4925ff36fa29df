"""Each training of an embedded model runs for a moment and writes what the ordinary backends load."""

import json
from pathlib import Path

import pytest
import torch

from mals import models, settings
from mals.stages.caption import stage as caption
from mals.stages.crop import stage as crop
from mals.stages.generate import stage as generate
from mals.world.training import swin
from mals.world.training.drawn_dataset import draw_dataset, fault_of
from mals.world.training.train import MINUTES, SHIPPED, install, train
from pretrain.methods.aptm.initial_weights import EMBEDDED, start_vision


def test_a_dataset_is_drawn_once_with_its_ground_truth(tmp_path: Path) -> None:
    dataset = draw_dataset(tmp_path, 3, 20, workers=1)
    written = (tmp_path / "pixels.npy").stat().st_mtime_ns
    assert draw_dataset(tmp_path, 3, 20).count == 20 and (tmp_path / "pixels.npy").stat().st_mtime_ns == written
    assert [fault_of(row) for row in range(5)] == ["no_person", "two_persons", "two_persons", "cut", None]
    assert dataset.boxes.any(2).sum(1).tolist()[:5] == [0, 2, 2, 1, 1] and list(dataset.sound_rows[:3]) == [4, 5, 6]
    assert list(dataset.rows_of_own_world[:4]) == [0, 3, 4, 5]


@pytest.mark.slow
def test_every_model_is_trained_for_a_moment_and_loads_as_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    dataset = draw_dataset(tmp_path / "images", 3, 100, workers=1)
    for name in MINUTES:
        train(name, dataset, tmp_path, 0.005, 1, False)
    train("pose", dataset, tmp_path, 0.005, 1, True)
    install(tmp_path, tmp_path / "weights")
    monkeypatch.setattr(models, "WEIGHTS", tmp_path / "weights")
    assert {path.name for path in (tmp_path / "weights").iterdir()} == set(SHIPPED)
    records = json.loads((tmp_path / "weights" / "pose" / "training.json").read_text(encoding="utf-8"))
    assert [record["command"].endswith("--go-on") for record in records] == [False, True]
    config = settings.check({"preset": "tiny"})
    for stage in (generate(config), crop(config), caption(config)):
        stage.setup()
    start_vision(swin.build()[0], EMBEDDED)
