"""Checkpoints that are written while the training goes on."""

import errno
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cli.pretrain import training_settings
from mals.errors import UserError
from pretrain import checkpoint, train
from pretrain.checkpoint_writer import CheckpointWriter
from tests.pretrain.trainings import SETS, here, lines, same_weights

State = tuple[torch.nn.Module, torch.optim.Optimizer]


def trained() -> State:
    """A layer whose optimizer has a state."""
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return layer, optimizer


class Blocked:
    """In place of `checkpoint.save`: waits for `go` before it writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.begun, self.save = threading.Event(), threading.Event(), checkpoint.save
        monkeypatch.setattr(checkpoint, "save", self)

    def __call__(self, *args: Any) -> Path:
        self.begun.set()
        assert self.go.wait(60)
        return self.save(*args)


def test_what_is_written_is_the_state_of_its_step_whatever_comes_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, optimizer = trained()
    before, moved = layer.weight.detach().clone(), optimizer.state[layer.weight]["exp_avg"].clone()
    blocked = Blocked(monkeypatch)
    with CheckpointWriter(tmp_path) as writer:
        writer.save(4, layer, optimizer, {"a": 1}, {"scale": 8.0})
        assert blocked.begun.wait(60)
        optimizer.step()
        assert checkpoint.latest(tmp_path) is None and not layer.weight.equal(before)
        blocked.go.set()
    last = checkpoint.latest(tmp_path)
    assert last is not None and (last.step, last.config, last.scaler) == (4, {"a": 1}, {"scale": 8.0})
    assert load_file(last.folder / checkpoint.MODEL)["weight"].equal(before)
    assert load_file(last.folder / checkpoint.OPTIMIZER)["weight.exp_avg"].equal(moved)


def test_at_most_one_is_written_and_the_copies_are_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, optimizer = trained()
    blocked, begun = Blocked(monkeypatch), []
    with CheckpointWriter(tmp_path) as writer:
        writer.save(1, layer, optimizer, {}, {})
        copies = {place: copy.data_ptr() for place, copy in writer.copies.items()}
        second = threading.Thread(target=lambda: (writer.save(2, layer, optimizer, {}, {}), begun.append(2)))
        second.start()
        time.sleep(0.2)
        assert not begun and checkpoint.latest(tmp_path) is None
        blocked.go.set()
        second.join(60)
    assert begun == [2] and {place: copy.data_ptr() for place, copy in writer.copies.items()} == copies
    last = checkpoint.latest(tmp_path)
    assert last is not None and last.step == 2


@pytest.mark.parametrize("way", ["check", "wait", "save"])
def test_a_disk_that_was_full_is_reported_at_the_next_step(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")

    monkeypatch.setattr(checkpoint, "save", full)
    writer = CheckpointWriter(tmp_path)
    writer.save(1, *trained(), {}, {})
    assert writer.thread is not None
    writer.thread.join(60)
    with pytest.raises(OSError, match="No space left"):
        writer.save(2, *trained(), {}, {}) if way == "save" else getattr(writer, way)()
    writer.check()  # once is enough


def test_the_end_with_an_error_waits_for_the_writing_and_keeps_the_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the training failed"), CheckpointWriter(tmp_path) as writer:
        writer.save(1, *trained(), {}, {})
        raise UserError("the training failed")
    assert checkpoint.latest(tmp_path) is not None


def test_the_error_of_the_writer_is_logged_beside_one_that_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(UserError, match="the training failed"), CheckpointWriter(tmp_path) as writer:
        writer.save(1, *trained(), {}, {})
        raise UserError("the training failed")
    assert [record.getMessage() for record in caplog.records] == [
        "the last checkpoint was not written: no space is left for model.safetensors; "
        "free some and give the same command again, finished work is kept"
    ]


def test_an_error_of_the_log_is_raised_as_one_of_a_checkpoint(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path)
    writer.keep(OSError(errno.ENOSPC, "first"))
    writer.keep(OSError(errno.ENOSPC, "second"))
    assert writer.failed
    with pytest.raises(OSError, match="first"):
        writer.check()
    assert not writer.failed


class KillWhileWriting:
    """A watcher that ends its process as SIGKILL does while the checkpoint of step 4 is half written."""

    def __init__(self) -> None:
        self.half = threading.Event()

    def write(self, tensors: Any, file: Path) -> None:
        """In place of `checkpoint._write`: of step 4 it writes half a file and waits."""
        if "00000004" not in str(file):
            return WRITE(tensors, file)
        file.write_bytes(b"half")
        self.half.set()
        time.sleep(600)

    def begin(self, *_: Any) -> None:
        """Nothing to prepare."""

    def after(self, step: int) -> None:
        if step == 5:  # a step after the checkpoint began
            assert self.half.wait(60)
            os.kill(os.getpid(), signal.SIGKILL)

    def end(self) -> dict[str, Any]:
        raise AssertionError("the training went on to its end")


WRITE = checkpoint._write


def train_until_killed(sets: tuple[str, ...], data: Path, out: Path) -> None:
    watcher = KillWhileWriting()
    checkpoint._write = watcher.write
    train.train(training_settings("tiny", None, [*SETS, *sets]), [str(data)], out, "cpu", watcher)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_a_training_that_is_killed_while_a_checkpoint_is_written_ends_with_the_same_bits(
    dtype: str, trainable: Path, tmp_path: Path
) -> None:
    sets, out = ("steps=6", f"dtype={dtype}", "optimizer.clip=1"), tmp_path / "killed"
    here(trainable, tmp_path / "calm", *sets)
    child = multiprocessing.get_context("spawn").Process(target=train_until_killed, args=(sets, trainable, out))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert [folder.name for folder in checkpoint._folders(out)] == ["00000002"]
    here(trainable, out, *sets)
    assert same_weights(tmp_path / "calm/model.safetensors", out / "model.safetensors")
    assert [line["loss"] for line in lines(tmp_path / "calm")] == [line["loss"] for line in lines(out)]
    ends = [checkpoint.latest(folder) for folder in (tmp_path / "calm", out)]
    assert ends[0] is not None and ends[1] is not None and ends[0].scaler == ends[1].scaler and bool(ends[0].scaler) == (dtype == "fp16")


def test_checkpoints_by_the_clock_come_between_those_of_steps_and_change_no_bit(
    trainable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, save = [], CheckpointWriter.save
    monkeypatch.setattr(CheckpointWriter, "save", lambda *args: (steps.append(args[1]), save(*args))[1])
    here(trainable, tmp_path / "steps", "steps=3", "save_every=100")
    here(trainable, tmp_path / "minutes", "steps=3", "save_every=100", "save_minutes=1e-9")
    here(trainable, tmp_path / "later", "steps=3", "save_every=100", "save_minutes=60")
    assert steps == [3, 1, 2, 3, 3]
    assert same_weights(tmp_path / "steps/model.safetensors", tmp_path / "minutes/model.safetensors")
