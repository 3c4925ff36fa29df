"""What a method looks over before an epoch: all rows, by every rank; a training that is stopped there or later has the same bits."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cli.pretrain import training_settings
from pretrain import ranks
from pretrain.config import Training
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers import Tokenizer
from pretrain.method import Batch, Method
from pretrain.train import Stopped, train
from tests.conftest import ROOT, environment
from tests.pretrain.trainings import TORCHRUN, same_weights

SETS = ["method=tests.pretrain.test_before_epoch:Looking", "batch=8", "dtype=fp32", "data.workers=0", "epochs=3", "save_every=1"]


class Looking(Method):
    """Learns the mean color of the rows that it saw before the epoch."""

    interrupted: tuple[int, int] | None = None  # an epoch, and the batch of it at which a signal comes

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.color = nn.Parameter(torch.zeros(3))
        self.register_buffer("seen", torch.zeros(rows, 3))

    @classmethod
    def build(cls, config: Training, tokenizer: Tokenizer, data: ImageTextPairs | None = None) -> Self:
        return cls(len(data) if data is not None else 0)

    def before_epoch(self, epoch: int, batches: Callable[[], Iterable[Batch]]) -> None:
        assert not self.training and not torch.is_grad_enabled()
        seen = torch.zeros_like(self.get_buffer("seen"))
        for number, batch in enumerate(batches()):
            assert batch.epoch == epoch and not torch.is_autocast_enabled("cpu")
            seen[ranks.gather_detached(batch.rows)] = ranks.gather_detached(batch.images.mean((2, 3)) + 0.01 * self.color)
            if (epoch, number) == self.interrupted:
                os.kill(os.getpid(), signal.SIGTERM)
        self.seen = seen

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        assert self.training and (self.get_buffer("seen") != 0).any(1).all()
        return {"color": (self.color - self.get_buffer("seen")[batch.rows]).square().mean()}


def settings(*sets: str) -> Training:
    return training_settings("own", None, [*SETS, *sets])


def weights(out: Path) -> dict[str, Any]:
    return load_file(out / "model.safetensors")


@pytest.fixture(scope="module")
def whole(trainable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("looking") / "out"
    train(settings(), [str(trainable)], out, "cpu")
    return out


@pytest.mark.parametrize("at", [(0, 2), (1, 0), (2, 4)])
def test_a_training_that_is_stopped_while_it_looks_has_the_same_bits(
    trainable: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: tuple[int, int]
) -> None:
    monkeypatch.setattr(Looking, "interrupted", at)
    steps = at[0] * (len(weights(whole)["seen"]) // 8)
    with pytest.raises(Stopped, match=f"^stopped after step {steps} of "):
        train(settings("save_every=100"), [str(trainable)], tmp_path, "cpu")
    assert (tmp_path / f"checkpoints/{steps:08d}").is_dir() == (steps > 0)
    monkeypatch.setattr(Looking, "interrupted", None)
    train(settings("save_every=100"), [str(trainable)], tmp_path, "cpu")
    assert same_weights(whole / "model.safetensors", tmp_path / "model.safetensors")


def test_a_training_that_resumes_within_an_epoch_does_not_look_again(
    trainable: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Looking.forward

    def stopping(self: Looking, batch: Batch, number: int) -> Mapping[str, Tensor]:
        if number == 9:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, number)

    monkeypatch.setattr(Looking, "forward", stopping)
    with pytest.raises(Stopped, match=r"^stopped after step 10 of "):
        train(settings(), [str(trainable)], tmp_path, "cpu")
    monkeypatch.setattr(Looking, "forward", step)
    looked: list[int] = []
    look = Looking.before_epoch
    monkeypatch.setattr(Looking, "before_epoch", lambda self, epoch, batches: (looked.append(epoch), look(self, epoch, batches)))
    train(settings(), [str(trainable)], tmp_path, "cpu")
    assert looked == [2] and same_weights(whole / "model.safetensors", tmp_path / "model.safetensors")


def test_two_processes_look_at_the_same_rows(trainable: Path, whole: Path, tmp_path: Path) -> None:
    words = ["--preset", "own", "--data", str(trainable), "--out", str(tmp_path), *[word for one in SETS for word in ("--set", one)]]
    command = [sys.executable, *TORCHRUN, "2", "-m", "cli.main", "pretrain", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment(GLOO_SOCKET_IFNAME="lo"), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(tmp_path)[name], value)
