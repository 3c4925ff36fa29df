"""What the commands of a trained method refuse, in one sentence, with exit code 2, before the work."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from mals.errors import UserError
from pretrain.evaluate import evaluate, open_gallery
from pretrain.memory import explain_out_of_memory
from pretrain.trained_method import read
from tests.conftest import Mals, environment
from tests.pretrain.packs import mals_list, packed, rewritten
from tests.pretrain.releases import released

SMALL_MEMORY = """
import resource, sys
import cli.main, pretrain.evaluate, pretrain.search, pretrain.zeroshot, pretrain.trained_method, torch._dynamo
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 500_000_000, resource.RLIM_INFINITY))
cli.main.main()
"""
COMMANDS = {"evaluate": [], "zeroshot": [], "search": ["a man"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("asking") / "run", 40)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """Its sizes fit images of any size, since no window is larger than a map."""
    return released(tmp_path_factory.mktemp("released") / "out", data, aptm={"vision": {"window": 2}})


def refused(ended: "subprocess.CompletedProcess[str]") -> str:
    """The one line that a command prints before it exits with 2."""
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
    return str(ended.stderr).strip()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="how much memory a process has is read from /proc")
@pytest.mark.parametrize(("command", "workers"), [("evaluate", 1), ("zeroshot", 0), ("search", 0)])
def test_memory_that_runs_out_is_reported_with_the_option_to_lower(
    command: str, workers: int, out: Path, data: Path, tmp_path: Path
) -> None:
    """Thirty images of 25 MB each, where a process may take 500 MB more than it has."""
    words = [command, str(out), *COMMANDS[command], "--data", str(data), "--split", "train", "--workers", str(workers)]
    sets = ["--set", "data.height=2048", "--set", "data.width=1024"]
    ended = subprocess.run(
        [sys.executable, "-c", SMALL_MEMORY, *words, *sets], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300
    )
    lines = [line for line in ended.stderr.splitlines() if not line.endswith(" ...")]  # zeroshot tells which data set it is at
    assert ended.returncode == 2 and len(lines) == 1, ended.stderr[-3000:]
    assert lines[0] == "memory ran out; lower --batch, or --workers"


def test_a_process_that_was_killed_is_reported_with_the_option_of_the_command() -> None:
    message = r"^a process that reads images was killed.*; lower --workers, or give more shared"
    with pytest.raises(UserError, match=message), explain_out_of_memory("lower --batch", "--workers"):
        raise EOFError


def test_a_thread_that_has_no_memory_for_its_stack_is_reported_as_memory() -> None:
    with pytest.raises(UserError, match=r"^memory ran out; lower --batch$"), explain_out_of_memory("lower --batch"):
        raise RuntimeError("can't start new thread")


class Batches(torch.utils.data.Dataset[torch.Tensor]):
    """One batch, which a worker has no memory for."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, at: int) -> torch.Tensor:
        return torch.from_numpy(np.empty(1 << 55))


def test_memory_that_numpy_lacks_in_a_worker_is_reported_as_memory() -> None:
    with pytest.raises(UserError, match=r"^memory ran out; lower --batch$"), explain_out_of_memory("lower --batch"):
        next(iter(torch.utils.data.DataLoader(Batches(), batch_size=None, num_workers=1)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "nowhere", "--to", "none/x.json"], "--to none/x.json: there is no folder none"),
        (["evaluate", "nowhere", "--to", "."], "--to .: that is a folder, not a file"),
        (["zeroshot", "nowhere", "--to", "none/x.json"], "--to none/x.json: there is no folder none"),
        (["zeroshot", "nowhere", "--markdown", "none/x.md"], "--markdown none/x.md: there is no folder none"),
        (["search", "nowhere", "a man", "--to", "none/x.jpg"], "--to none/x.jpg: there is no folder none"),
        (["pretrain", "--preset", "tiny", "--out", "file.txt"], "--out file.txt: that is a file, not a folder"),
        (["pretrain", "--preset", "tiny", "--out", "file.txt/a/b"], "--out file.txt/a/b: file.txt is a file, not a folder"),
        (["finetune", "--preset", "tiny-finetune", "--out", "file.txt"], "--out file.txt: that is a file, not a folder"),
    ],
)
def test_a_place_for_results_that_cannot_be_is_refused_before_anything_is_read(
    words: list[str], message: str, mals: Mals, tmp_path: Path
) -> None:
    (tmp_path / "file.txt").write_text("mine")
    assert refused(mals(*words, "--data", "nowhere")) == message
    assert (tmp_path / "file.txt").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_written_is_refused_before_anything_is_read(mals: Mals, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert refused(mals("evaluate", "nowhere", "--data", "x", "--to", "closed/x.json")) == "--to closed/x.json: you may not write there"


def test_a_list_of_images_without_captions_is_measured_by_its_labels(out: Path, tmp_path: Path, mals: Mals) -> None:
    file = mals_list(tmp_path, caption=None)
    ended = mals("evaluate", out, "--data", f"{file}:{tmp_path / 'images'}", "--workers", 0)
    assert ended.returncode == 0 and ended.stdout.startswith("mA "), ended.stderr


def test_an_image_that_cannot_be_read_is_logged_in_words(out: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[1]["image"]["bytes"] = b"rubbish"
        return pa.Table.from_pylist(rows, schema=table.schema)

    trained = read(str(out))
    evaluate(trained, open_gallery(trained, [rewritten(packed(tmp_path / "run", 12), broken)], "train"), "none")
    assert "row 1: the image cannot be read (the file is no image of a kind that is read); it is left out\n" in caplog.text
