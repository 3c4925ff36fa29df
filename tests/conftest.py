"""What tests of several modules share: the command as a stranger runs it, and runs that need no model."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import FAST

os.environ["OMP_NUM_THREADS"] = "1"  # as in the commands under test: sums of several threads differ in their last bits
ROOT = Path(__file__).parent.parent
Mals = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(**extra: str) -> dict[str, str]:
    """The environment of a command under test: this checkout importable, no hub, one thread."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "MALS_", "OMP_"))}

    return {**kept, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **extra}


@pytest.fixture
def mals(tmp_path: Path) -> Mals:
    """Run `mals ...` in a process of its own, in tmp_path; `env` adds variables."""

    def command(*arguments: object, env: dict[str, str] | None = None, timeout: float = 300) -> "subprocess.CompletedProcess[str]":
        words = [sys.executable, "-m", "cli.main", *map(str, arguments)]
        return subprocess.run(words, cwd=tmp_path, env=environment(**(env or {})), capture_output=True, text=True, timeout=timeout)

    return command


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    """A file of 40 captions."""
    file = tmp_path / "captions.txt"
    file.write_text("".join(f"a person number {i} in a coat\n" for i in range(40)))
    return file


@pytest.fixture
def planned(tmp_path: Path, captions: Path) -> Callable[..., Path]:
    """Plan a run of 40 rows in shards of 8 that needs no model; `sets` come on top of the fast settings."""
    from mals.planning.create import create

    def make(name: str = "run", *sets: str) -> Path:
        create(str(tmp_path / name), captions=captions, assignments=[*FAST, *sets])
        return tmp_path / name

    return make
