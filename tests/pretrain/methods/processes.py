"""Methods in processes: measured under torchrun and compared with one process, and killed in a training."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.conftest import ROOT, environment
from tests.pretrain.methods.small import part

PROGRAMS = ROOT / "tests/ranks"


def on_ranks(processes: int, world: Path, out: Path, names: Sequence[str]) -> Path:
    """Methods measured under torchrun."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    words = [sys.executable, *torchrun, str(PROGRAMS / "every_method.py"), str(world), str(out), *names]
    done = subprocess.run(words, cwd=ROOT, env=environment(GLOO_SOCKET_IFNAME="lo"), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def end_early(world: Path, out: Path, names: Sequence[str]) -> Path:
    """A training of each method that SIGKILL ended after its third step."""
    words = [sys.executable, str(PROGRAMS / "killed.py"), str(world), str(out), *names]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.stdout.splitlines() == [f"{name} killed" for name in names], done.stderr[-3000:]
    return out


def measured(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """What `on_ranks` measured of a method."""
    error = folder / f"{name}.error"
    assert not error.is_file(), error.read_text()
    return load_file(folder / f"{name}.safetensors")


def compare_losses(many: Mapping[str, torch.Tensor], one: Mapping[str, torch.Tensor], step: int) -> None:
    """The losses of several processes are those of one."""
    for loss, value in part(one, step, "losses").items():
        actual = many[f"{step}/losses/{loss}"]
        torch.testing.assert_close(actual, value, rtol=1e-4, atol=1e-5, msg=lambda text, at=loss: f"step {step}, {at}: {text}")


def compare_gradients(many: Mapping[str, torch.Tensor], one: Mapping[str, torch.Tensor], step: int) -> None:
    """The gradients of several processes are those of one."""
    expected = part(one, step, "gradients")
    largest = max(float(gradient.norm()) for gradient in expected.values())
    for parameter, gradient in expected.items():
        difference = float((many[f"{step}/gradients/{parameter}"] - gradient).norm())
        allowed = 2e-3 * max(float(gradient.norm()), 1e-3 * largest)
        assert difference <= allowed, f"step {step}, {parameter}: {difference:.3g} of {float(gradient.norm()):.3g}"
