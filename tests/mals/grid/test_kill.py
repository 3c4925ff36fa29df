"""SIGKILL at injected points and at random moments, then the same command: the data set is the same bytes as without."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import environment

INJECT = Path(__file__).parent / "inject"  # holds a sitecustomize.py that kills the process group at the n-th file operation
POINTS, KILLS = 24, 6


def run(folder, env, kill_at=None, later=0.0):
    """`mals run` in a process group of its own, killed some seconds after it has so many files, if it gets there; its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "run", str(folder), "--quiet"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if kill_at is not None:
        while process.poll() is None and files(folder) < kill_at:
            time.sleep(0.005)
        time.sleep(later)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    _, message = process.communicate(timeout=300)
    assert process.returncode in (0, -signal.SIGKILL), message
    return process.returncode


def files(folder):
    return sum(len(names) for _, _, names in os.walk(folder))


def dataset(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted((folder / "dataset").rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A planned run, and what comes out of it when nothing happens; with the number of file operations that this took."""
    from mals.planning.create import create
    from tests.fakes import FAST

    root = tmp_path_factory.mktemp("kill")
    captions = root / "captions.txt"
    captions.write_text("".join(f"a person number {i} in a coat\n" for i in range(40)))
    create(str(root / "planned"), captions=captions, assignments=[*FAST, "run.workers=2", "keep.by=sharpness", "keep.share=0.9"])
    shutil.copytree(root / "planned", root / "calm")
    count = root / "count"
    assert run(root / "calm", injected(count, 10**9)) == 0
    assert len(dataset(root / "calm")) >= 6
    return root, dataset(root / "calm"), count.stat().st_size


def injected(count, at):
    path = os.pathsep.join([str(INJECT), environment()["PYTHONPATH"]])
    return environment(MALS_TEST_COUNT=str(count), MALS_TEST_KILL_AT=str(at)) | {"PYTHONPATH": path}


def test_the_injected_points_lie_in_every_kind_of_operation(uninterrupted):
    root, _, operations = uninterrupted
    kinds = set((root / "count").read_bytes())
    assert kinds == set(b"frut"), "fsync, replace, unlink, write-temporary"
    assert operations > 10 * POINTS


@pytest.mark.slow
@pytest.mark.parametrize("point", range(POINTS))
def test_killed_at_an_injected_point_the_run_resumes_to_the_same_bytes(uninterrupted, tmp_path, point):
    root, expected, operations = uninterrupted
    shutil.copytree(root / "planned", tmp_path / "run")
    at = 1 + point * (operations - 1) // (POINTS - 1) - (point == POINTS - 1)
    assert run(tmp_path / "run", injected(tmp_path / "count", at)) == -signal.SIGKILL
    assert run(tmp_path / "run", environment()) == 0
    assert dataset(tmp_path / "run") == expected


@pytest.mark.slow
def test_killed_at_random_moments_the_run_resumes_to_the_same_bytes(uninterrupted, tmp_path):
    root, expected, _ = uninterrupted
    shutil.copytree(root / "planned", tmp_path / "run")
    moments, whole, kills = random.Random(0), files(root / "calm"), 0
    for _ in range(KILLS):
        there = files(tmp_path / "run")
        at = there + max(1, round((whole - there) * moments.uniform(0.1, 0.5)))
        if run(tmp_path / "run", environment(), at, later=moments.uniform(0, 0.3)) == 0:
            break
        kills += 1
        time.sleep(0.6)  # so that workers of the killed coordinator are gone
    assert kills >= 1
    assert run(tmp_path / "run", environment()) == 0
    assert dataset(tmp_path / "run") == expected
