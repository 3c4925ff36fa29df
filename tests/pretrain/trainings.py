"""Trainings of a moment: as a stranger gives the command, and in this process."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from cli.pretrain import training_settings
from pretrain.train import train
from tests.conftest import ROOT, environment

SIZES = [
    "data.height=64",
    "data.width=32",
    "aptm.vision.embed=16",
    "aptm.vision.window=4",
    "aptm.vision.heads=[1, 2, 4]",
    "aptm.vision.start=null",
    "aptm.text.hidden=32",
    "aptm.text.inter=64",
]
PLAIN = [  # captions as they are, and the losses of the paper
    "data.wordings={composed: 0, recast: 0, exchanged: 0}",
    "aptm.loss_weights.sentences=0",
    "selection.rerank=itm",
]
SETS = [
    *SIZES,
    *PLAIN,
    "batch=16",
    "dtype=bf16",
    "steps=24",
    "save_every=2",
    "log_every=1",
    "data.workers=0",
    "aptm.text.dropout=0.1",
    "optimizer.average=0.9",
]
TORCHRUN = ["-m", "pretrain.ranks", "--standalone", "--nproc_per_node"]  # as ranks.launch does it


def command(data: Path, out: Path, *sets: str, processes: int = 1, base: Sequence[str] = SETS) -> list[str]:
    words = [sys.executable, *([*TORCHRUN, str(processes)] if processes > 1 else []), "-m", "cli.main", "pretrain", "--preset", "tiny"]
    return [*words, "--data", str(data), "--out", str(out), *[word for one in (*base, *sets) for word in ("--set", one)]]


def run(data: Path, out: Path, *sets: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(data, out, *sets), env=environment(), capture_output=True, text=True, timeout=300)


def started(data: Path, out: Path, *sets: str, processes: int = 1, step: int = 2) -> "subprocess.Popen[str]":
    """The command in a session of its own, which has written the checkpoint of a step."""
    words, around = command(data, out, *sets, processes=processes), environment(GLOO_SOCKET_IFNAME="lo")
    process = subprocess.Popen(words, cwd=ROOT, env=around, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (out / f"checkpoints/{step:08d}").is_dir():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    return process


def here(data: Path, out: Path, *sets: str) -> dict[str, Any]:
    """The same training in this process."""
    return train(training_settings("tiny", None, [*SETS, *sets]), [str(data)], out, "cpu")


def lines(out: Path) -> list[dict[str, Any]]:
    """Its metrics."""
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def same_weights(one: Path, two: Path) -> bool:
    """Whether two files hold the same tensors to the bit."""
    first, second = load_file(one), load_file(two)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
