"""Fine-tuning on the world: what is chosen and by what, that a kill changes nothing, and what is refused."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mals.errors import UserError
from mals.settings import presets
from mals.world.make import make
from mals.world.settings import WorldSettings
from pretrain import checkpoint, settings, trained_method
from pretrain.api import load
from pretrain.data.rows import ImageTextPairs
from pretrain.evaluate import evaluate, open_gallery
from pretrain.finetune import configure, finetune
from pretrain.methods.aptm.initial_weights import late
from pretrain.release import release
from pretrain.settings import TRAINING
from tests.conftest import ROOT, environment
from tests.pretrain.packs import mals_list, packed, rewritten
from tests.pretrain.releases import released
from tests.pretrain.towers.towers import full
from tests.pretrain.trainings import SIZES, same_weights

SMALL = ["batch=8", "epochs=2", "data.workers=0", "save_every=3", "log_every=1", "dtype=fp32", "selection.k=4", "optimizer.warmup=0.2"]
PUBLIC = ("cuhk", "icfg", "rstp", "pa100k", "market")
KILLED = "import sys; from cli.main import main; main()"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark of 20 persons, two images each: 12 in train, 4 in val, 4 in test."""
    folder = tmp_path_factory.mktemp("world") / "made"
    settings = WorldSettings.checked(persons=20, views=2, split="train=0.6,val=0.2,test=0.2", seed=5, height=64, rows_per_file=12)
    make(str(folder), settings, workers=1)
    return folder


@pytest.fixture(scope="module")
def start(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pretrained APTM."""
    return released(tmp_path_factory.mktemp("start") / "out", world)


def tuned(data: Path, out: Path, start: Path | None, *sets: str, preset: str = "tiny-finetune", **options: Any) -> dict[str, Any]:
    """The result of a fine-tuning in this process."""
    config = configure(preset, None, [*SMALL, *sets], None if start is None else str(start), **options)
    finetune(config, [str(data)], out, "cpu")
    return json.loads((out / "result.json").read_text())


def measurements(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "evaluations.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def calm(world: Path, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuning without interruption."""
    out = tmp_path_factory.mktemp("calm")
    tuned(world, out, start)
    return out


def test_every_epoch_is_measured_on_val_and_the_best_one_is_released_and_measured_on_test(calm: Path, world: Path, start: Path) -> None:
    lines, result = measurements(calm), json.loads((calm / "result.json").read_text())
    per_epoch = 12 * 2 * 2 // 8  # persons, images, captions
    assert [line["step"] for line in lines] == [per_epoch, 2 * per_epoch] and {line["split"] for line in lines} == {"val"}
    best = max(lines, key=lambda line: line["R1"])
    assert result["selected"] == best and (result["split"], result["selected_on"]) == ("test", "val")
    assert result["retrieval"]["captions"] == 16 and result["retrieval"]["protocol"].endswith("; the checkpoint was selected on val")
    (kept,) = (calm / "best").iterdir()
    assert kept.name == f"{best['step']:08d}" and same_weights(kept / "model.safetensors", calm / "model.safetensors")
    for place in (calm, kept):
        trained = trained_method.read(str(place))
        again = evaluate(trained, open_gallery(trained, [str(world)], "test", "none"), "itm", 4)
        assert again.retrieval is not None and pytest.approx(result["retrieval"]["R1"]) == again.retrieval.R1
        assert trained.method.swin.width == 16 * 4
    assert (calm / "tokenizer.json").read_text() == (start / "tokenizer.json").read_text()
    assert {"itc", "itc_eda", "itm", "itm_eda", "mlm"} <= json.loads((calm / "metrics.json").read_text()).keys()
    assert json.loads((calm / "origins.json").read_text())["before"] == json.loads((start / "origins.json").read_text())


def test_a_fine_tuned_method_is_released_with_its_scores_and_reaches_them_again(calm: Path, world: Path, tmp_path: Path) -> None:
    release(str(calm), str(tmp_path / "mine"))
    result, trained = json.loads((calm / "result.json").read_text()), trained_method.read(str(tmp_path / "mine"))
    again = evaluate(trained, open_gallery(trained, [str(world)], "test", "none"), "itm", 4).to_json()["retrieval"]
    assert {name: again[name] for name in ("R1", "R5", "mAP")} == {name: result["retrieval"][name] for name in ("R1", "R5", "mAP")}
    assert f"| {100 * again['R1']:.2f} |" in (tmp_path / "mine/README.md").read_text()
    pairs, loaded = ImageTextPairs.open([world], "test"), load(tmp_path / "mine")
    shown = [Image.open(io.BytesIO(pairs.image_bytes(row))) for row in range(len(pairs))]
    scores = loaded.embed_text([pairs.caption(row) for row in range(len(pairs))]) @ loaded.embed_image(shown).T
    assert scores.shape == (8, 8) and scores.isfinite().all() and loaded.rerank("a man", shown).shape == (1, 8)


@pytest.mark.parametrize(("where", "after"), [("save_best", True), ("save_best", False), ("save", True)])
def test_a_fine_tuning_that_dies_at_a_measurement_ends_as_one_that_does_not(
    where: str, after: bool, world: Path, start: Path, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dead(BaseException):
        pass

    real: Callable[..., Any] = getattr(checkpoint, where)

    def dies(out: Path, step: int, *rest: Any) -> None:
        if after:
            real(out, step, *rest)
        if step >= 6:
            raise Dead
        if not after:
            real(out, step, *rest)

    monkeypatch.setattr(checkpoint, where, dies)
    with pytest.raises(Dead):
        tuned(world, tmp_path, start)
    monkeypatch.setattr(checkpoint, where, real)
    tuned(world, tmp_path, start)
    assert same_weights(calm / "model.safetensors", tmp_path / "model.safetensors")
    for name in ("evaluations.jsonl", "result.json"):
        assert (tmp_path / name).read_text() == (calm / name).read_text()


@pytest.mark.slow
def test_a_killed_fine_tuning_goes_on_by_the_same_command(world: Path, start: Path, calm: Path, tmp_path: Path) -> None:
    sets = [word for one in SMALL for word in ("--set", one)]
    words = [sys.executable, "-m", "cli.main", "finetune", "--preset", "tiny-finetune", "--init", str(start), "--data", str(world), *sets]
    words += ["--out", str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not (tmp_path / "checkpoints/00000009").is_dir():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "result.json").exists()
    again = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=300)
    assert again.returncode == 0 and re.match(r"\S+: R1 \d+\.\d\d .* on test; step \d+, val\n", again.stdout), again.stderr
    assert again.stderr.startswith("EDA takes its synonyms from ")
    assert same_weights(calm / "model.safetensors", tmp_path / "model.safetensors")
    assert (tmp_path / "result.json").read_text() == (calm / "result.json").read_text()


def test_a_result_selected_on_test_says_so(world: Path, start: Path, tmp_path: Path) -> None:
    result = tuned(world, tmp_path, start, select="test")
    assert result["selected_on"] == "selected on test: optimistic" and result["selected"]["split"] == "test"
    assert result["retrieval"]["protocol"].endswith("; selected on test: optimistic")
    assert result["retrieval"]["R1"] == pytest.approx(max(line["R1"] for line in measurements(tmp_path)))


@pytest.fixture
def without_val(world: Path, tmp_path: Path) -> Path:
    data = Path(shutil.copytree(world, tmp_path / "no-val"))
    for file in (data / "data").glob("val-*"):
        file.unlink()
    return data


def test_a_data_set_without_val_is_refused_with_the_ways_out_or_holds_persons_out(without_val: Path, start: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no split val, only test, train: .*--val-share 0\.1 .*--select test"):
        tuned(without_val, tmp_path / "out", start)
    assert not (tmp_path / "out").exists()
    result = tuned(without_val, tmp_path / "out", start, "epochs=1", val_share=0.25)
    assert result["selected_on"] == "val (held out of train)" and result["selected"]["step"] == 9 * 2 * 2 // 8
    with pytest.raises(UserError, match="leave one of --select test and --val-share out"):
        tuned(without_val, tmp_path / "out", start, val_share=0.25, select="test")
    with pytest.raises(UserError, match=r"a share of 0\.01 of 12 identities is 0"):
        tuned(without_val, tmp_path / "none", start, val_share=0.01)


@pytest.fixture
def labelled(world: Path, tmp_path: Path) -> Path:
    """The benchmark without captions and identities, as public attribute data sets are."""
    return rewritten(Path(shutil.copytree(world, tmp_path / "labels")), lambda table: table.drop_columns(["caption", "captions"]))


@pytest.mark.parametrize("classifier", [False, True])
def test_recognition_learns_from_labels_alone_by_prompts_or_by_a_plain_classifier(
    classifier: bool, labelled: Path, start: Path, tmp_path: Path
) -> None:
    sets = [f"aptm.classifier={'true' if classifier else 'false'}", "data.augment=false"]
    result = tuned(labelled, tmp_path / "out", start, *sets, preset="market")
    assert (
        "retrieval" not in result
        and result["attributes"]["images"] == 8
        and result["selected"]["mA"] == max(line["mA"] for line in measurements(tmp_path / "out"))
    )
    assert ("plain classifier" in result["attributes"]["protocol"]) == classifier
    names = {"classifier"} if classifier else {"iac", "iam", "mam"}
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert names == metrics.keys() & {"itc", "itm", "mlm", "iac", "iam", "mam", "classifier"}
    trained = trained_method.read(str(tmp_path / "out"))
    again = evaluate(trained, open_gallery(trained, [str(labelled)], "test"))
    assert again.attributes is not None and again.attributes.mA == pytest.approx(result["attributes"]["mA"]) and again.retrieval is None


def test_the_classifier_learns_visible_attributes(labelled: Path, start: Path, tmp_path: Path) -> None:
    sets = [
        "aptm.classifier=true",
        "epochs=25",
        "optimizer.lr=3e-3",
        "save_every=1000",
        "selection.every=25",
        "data.erase=0",
        "data.augment=false",
    ]
    tuned(labelled, tmp_path / "out", start, *sets, preset="market")
    losses = [json.loads(line)["classifier"] for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert losses[0] == pytest.approx(0.693, abs=0.01) and sum(losses[-3:]) / 3 < 0.45


def test_without_a_start_it_trains_from_scratch(world: Path, tmp_path: Path) -> None:
    assert tuned(world, tmp_path, None, *SIZES, "epochs=1")["start"] is None


def other_method(folder: Path, start: Path) -> Path:
    shutil.copytree(start, folder)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("method: aptm", "method: irra"))
    return folder


def test_what_cannot_be_fine_tuned_is_refused_in_a_sentence(world: Path, start: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    lists = mals_list(tmp_path)
    for data, init, sets, message in (
        (world, start, ["aptm.vision.embed=32"], "does not fit the model"),
        (world, tmp_path / "empty", [], "holds no trained method: looked for config.yaml"),
        (world, tmp_path / "nowhere/at/all", [], "neither a file, a folder nor a hub id"),
        (world, other_method(tmp_path / "other", start), [], "method"),
        (world, start, ["selection.on=validation"], "selection.on"),
        (world, start, ["aptm.loss_weights.itm_ead=1"], r"did you mean aptm\.loss_weights\.itm_eda\?"),
        (lists, start, [], "has no splits, and fine-tuning needs a train and a test split"),
        (tmp_path / "nothing", start, [], "there is no data set"),
        (packed(tmp_path / "run", 12), start, [], "has no split test, only train"),
        (world, start, ["optimizer.average=0.5"], r"^optimizer\.average is for pretraining"),
        (world, start, ["data.synonyms=nowhere"], r"data\.synonyms=nowhere must be auto, own, wordnet, a file or a folder"),
    ):
        with pytest.raises(UserError, match=message):
            tuned(data, tmp_path / "out", init, *sets)


def test_a_checkpoint_from_before_there_were_more_settings_goes_on(world: Path, start: Path, calm: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(calm, tmp_path / "out"))
    for file in (out / "checkpoints").glob("*/state.json"):
        state = json.loads(file.read_text())
        del state["config"]["aptm"]["text"]["start"], state["config"]["data"]["synonyms"]
        file.write_text(json.dumps(state))
    tuned(world, out, start)
    assert same_weights(calm / "model.safetensors", out / "model.safetensors")
    with pytest.raises(UserError, match=r"of other settings: data\.synonyms \(auto then, own now\)"):
        tuned(world, out, start, "data.synonyms=own")


def test_attributes_that_a_data_set_has_not_are_refused(world: Path, start: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no labels of the attribute female, which the losses iac, iam, mam and sentences need"):
        tuned(world, tmp_path / "out", start, preset="pa100k")
    with pytest.raises(UserError, match="has no labels of the attribute female, which the classifier needs"):
        tuned(world, tmp_path / "out", start, "aptm.classifier=true", preset="pa100k")


def test_the_public_presets_have_the_papers_constants() -> None:
    assert {*PUBLIC, "tiny-finetune"} <= {*presets(TRAINING)}
    for name in PUBLIC:
        config = configure(name, None, [], None)
        optimizer = config.optimizer
        assert (optimizer.lr, config.aptm.late_rate, optimizer.schedule, optimizer.warmup, config.epochs) == (1e-4, 2.0, "step", 0.1, 30)
        assert config.aptm.smoothing == 0 and config.batch == (480 if config.aptm.uses_captions else 800)
        weights = {key: value for key, value in config.aptm.loss_weights if value}
        retrieval = {"itc": 1, "itm": 1, "mlm": 1, "itc_eda": 0.8, "itm_eda": 0.8}
        assert weights == (retrieval if name in ("cuhk", "icfg", "rstp") else {"iac": 1, "iam": 1, "mam": 1})
        assert config.selection.plain == (name in ("icfg", "rstp")) and config.data.every == config.aptm.uses_captions


def test_what_learns_at_twice_the_rate_is_what_the_paper_says() -> None:
    config = configure("cuhk", None, [], None)
    faster = {
        re.sub(r"^((?:swin\.stages|bert\.layers)\.\d+|[^.]+(?:\.head)?).*", r"\1", name)
        for name in names()
        if re.search(late(config.aptm), name)
    }
    layers = {f"bert.layers.{layer}" for layer in (4, 5, 10, 11)}
    assert faster == {"swin.stages.2", "swin.stages.3", *layers, "bert.head", "vision_proj", "text_proj", "itm_head"}


def names() -> list[str]:
    return [name for name, _ in full().named_parameters()]


@pytest.mark.parametrize("preset", ["tiny", "tiny-irra", "tiny-uit"])
def test_the_mean_of_the_last_weights_that_a_preset_has_is_left_out(preset):
    assert settings.check({"preset": preset}).optimizer.average > 0
    assert configure(preset, None, [], None).optimizer.average == 0
    assert configure(preset, None, ["optimizer.average=0.5"], None).optimizer.average == 0.5  # which is refused
