"""A training from a packed data set, as a stranger gives the command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from mals.pack import pack
from tests.conftest import environment
from tests.small import cells

SETS = [
    "batch=16",
    "steps=6",
    "save_every=2",
    "log_every=1",
    "data.height=64",
    "data.width=32",
    "data.workers=0",
    "vision.embed=16",
    "vision.heads=[1, 2, 4]",
    "words.hidden=32",
    "words.inter=64",
    "words.dropout=0.1",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "run"
    pack(cells.small_run(folder, 60))
    return folder / "dataset"


def command(data: Path, out: Path, *sets: str) -> list[str]:
    words = [sys.executable, "-m", "cli.main", "pretrain", "--preset", "tiny", "--data", str(data), "--out", str(out)]
    return [*words, *[word for setting in (*SETS, *sets) for word in ("--set", setting)]]


def run(data: Path, out: Path, *sets: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(data, out, *sets), env=environment(), capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_training_that_was_stopped_ends_with_the_same_weights(data: Path, tmp_path: Path) -> None:
    calm = run(data, tmp_path / "calm")
    assert calm.returncode == 0, calm.stderr
    lines = [json.loads(line) for line in (tmp_path / "calm/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6] and {"itc", "itm", "mlm", "iac", "iam", "mam"} <= set(lines[0])
    process = subprocess.Popen(command(data, tmp_path / "killed"), env=environment(), stderr=subprocess.PIPE)
    while not (tmp_path / "killed/checkpoints/00000002").is_dir():
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    again = run(data, tmp_path / "killed", "data.workers=1")
    assert again.returncode == 0, again.stderr
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("calm", "killed"))
    assert one.keys() == two.keys() and all((one[name] == two[name]).all() for name in one)
    assert len(list((tmp_path / "calm/checkpoints").iterdir())) == 2


@pytest.mark.slow
def test_other_settings_than_those_of_the_checkpoint_and_data_without_labels_are_refused(data: Path, tmp_path: Path) -> None:
    assert run(data, tmp_path / "out", "steps=2").returncode == 0
    other = run(data, tmp_path / "out", "steps=2", "aptm.proj=32")
    assert (other.returncode, other.stderr.count("\n")) == (2, 1) and "aptm.proj (96 then, 32 now)" in other.stderr
    large = run(data, tmp_path / "large", "batch=100")
    assert large.returncode == 2 and "a batch of 100 rows is more than the" in large.stderr
    wrong = run(data, tmp_path / "wrong", "aptm.weights.mml=1")
    assert wrong.returncode == 2 and "did you mean aptm.weights.mlm?" in wrong.stderr
