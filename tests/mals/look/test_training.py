"""Folders of trainings: what is read of them while they go on, and when they are broken."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from mals.errors import UserError
from mals.grid.store import Store
from mals.look import training
from mals.look.server import open_places
from mals.look.training import Training, is_training, names_of
from pretrain.build import TOKENIZER
from pretrain.checkpoint import FOLDER
from pretrain.checkpoint import MODEL as WEIGHTS
from pretrain.selection import EVALUATIONS
from pretrain.train import METRICS
from tests.conftest import Mals
from tests.mals.look.serving import ask, serving
from tests.small import cells

LINE = {"step": 10, "loss": 2.5, "itc": 1.5, "itm": 1.0, "lr": 1e-4, "images_per_s": 12.5, "waited": 0.25, "peak_mb": 900, "unreadable": 0}


def write(folder: Path, steps: int = 30, evaluations: int = 2) -> Path:
    """The folder of a training that has not ended."""
    folder.mkdir(parents=True)
    lines = [LINE | {"step": step, "loss": 5 / step} for step in range(1, steps + 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores = [{"step": 10 * at, "epoch": at, "split": "val", "R1": 0.5 / at, "mAP": 0.1 * at} for at in range(1, evaluations + 1)]
    (folder / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in scores))
    return folder


def test_the_files_have_the_names_that_pretrain_gives_them() -> None:
    names = (training.METRICS, training.EVALUATIONS, training.MODEL, training.CHECKPOINTS, training.TOKENIZER)
    assert names == (METRICS, EVALUATIONS, WEIGHTS, FOLDER, TOKENIZER)


def test_new_lines_are_taken_up_and_torn_ones_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "out", 3)
    one = Training(str(folder))
    assert [line["step"] for line in one.metrics] == [1, 2, 3] and one.state == "working"
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(LINE | {"step": 3, "loss": 9.0}) + "\n" + json.dumps(LINE | {"step": 4}) + "\n" + '{"step": 5, "lo')
    one.refresh()
    assert [(line["step"], line["loss"]) for line in one.metrics[2:]] == [(3, 9.0), (4, 2.5)]
    (folder / "model.safetensors").write_bytes(b"weights")
    one.refresh()
    assert one.state == "finished"
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="is not there any more"):
        one.refresh()


def test_a_training_that_has_just_begun_has_the_settings_of_its_last_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{}")
    assert is_training(Store(str(folder)))
    one = Training(str(folder))
    assert one.metrics == [] and one.settings == {} and one.state == "working"
    for step, method in ((1, "irra"), (2, "aptm")):
        (folder / f"checkpoints/{step:08d}").mkdir(parents=True)
        (folder / f"checkpoints/{step:08d}/state.json").write_text(json.dumps({"config": {"method": method, "steps": 7}}))
    (folder / "metrics.jsonl").write_text(json.dumps(LINE | {"step": 2}) + "\n")
    one.refresh()
    assert one.settings["method"] == "aptm"
    with serving(None, trainings=[one]) as address:
        assert "<td>aptm</td>" in ask(address).text and "2 of 7" in ask(address).text


def test_a_training_without_a_line_for_long_has_stopped(tmp_path: Path) -> None:
    folder = write(tmp_path / "out")
    then = time.time() - 2 * training.QUIET
    os.utime(folder / "metrics.jsonl", (then, then))
    assert Training(str(folder)).state == "stopped"


def test_names_are_as_long_as_they_must_be() -> None:
    places = ["/x/a/out", "/x/b/out/", "/x/b/other"]
    assert names_of(places) == ["a/out", "b/out", "b/other"] and names_of(places[1:]) == ["out", "other"]
    assert names_of([]) == []


def test_trainings_are_shown_beside_a_set_or_alone(tmp_path: Path) -> None:
    first, second, run = write(tmp_path / "first"), write(tmp_path / "second", 5, 0), cells.small_run(tmp_path / "run", 20).store.url
    with pytest.raises(UserError, match="cannot be shown together"):
        open_places([run, str(first), run])
    source, trainings = open_places([str(first), run, str(second)])
    assert source is not None and [one.title for one in trainings] == [str(first), str(second)]
    with serving(source, trainings=trainings) as address:
        assert ask(address).code == 200 and "Balance" in ask(address).text and "/training" in ask(address).text
        assert ask(f"{address}/training/live").text.count("<figure") == 9  # two scores, three losses, four others
    with serving(None, trainings=trainings) as address:
        page = ask(address).text
        assert "Sum of the losses" in page and "R1 on val" in page and "Balance" not in page and "Best mAP" in page
        assert '50.00 <span class="muted">step 10</span>' in page and '20.00 <span class="muted">step 20</span>' in page
        assert ask(f"{address}/images").code == 404


def test_a_broken_or_deleted_training_is_a_sentence(tmp_path: Path, mals: Mals) -> None:
    folder = write(tmp_path / "out")
    (folder / "metrics.jsonl").write_bytes(b"\xff\xfe not JSON\n[1]\n{}\n")
    (folder / "evaluations.jsonl").unlink()
    with serving(None, trainings=[Training(str(folder))]) as address:
        assert "No line of metrics has been written yet" in ask(address).text
        shutil.rmtree(folder)
        answer = ask(address)
        assert answer.code == 409 and "is not there any more" in answer.text and "Traceback" not in answer.text
    (tmp_path / "empty").mkdir()
    assert not is_training(Store(str(tmp_path / "empty")))
    result = mals("look", write(tmp_path / "again"), tmp_path / "empty")
    assert result.returncode == 2 and "there is no image in it" in result.stderr
