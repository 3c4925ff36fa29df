import os
import subprocess
import sys

import pytest

from mals.errors import UserError
from mals.grid.store import HOST, Store


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    return Store(str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}")


def test_what_is_committed_is_read_back(store):
    store.commit("a/b.txt", b"one")
    store.commit("a/b.txt", b"three")
    assert (store.read("a/b.txt"), store.size("a/b.txt")) == (b"three", 5)
    assert store.list("a") == {"a/b.txt": 5}


def test_a_missing_file_has_no_size_and_reading_it_says_so(store):
    assert store.size("none") is None
    assert store.list("none") == {}
    with pytest.raises(FileNotFoundError):
        store.read("none")
    store.remove("none")


def test_many_files_are_read_at_once_and_missing_ones_left_out(store):
    store.commit("a/1", b"1")
    store.commit("a/2", b"2")
    assert store.read_all(["a/1", "a/2", "a/3"]) == {"a/1": b"1", "a/2": b"2"}
    assert store.read_all(["a/1"]) == {"a/1": b"1"}
    assert store.read_all([]) == {}


def test_a_build_that_fails_leaves_the_old_file_and_nothing_else(store):
    store.commit("a/b.txt", b"old")
    with pytest.raises(RuntimeError), store.writer("a/b.txt") as path:
        path.write_bytes(b"half")
        raise RuntimeError
    assert store.read("a/b.txt") == b"old"
    assert store.list("a") == {"a/b.txt": 3}
    if store.folder is not None:
        assert [p.name for p in (store.folder / "a").iterdir()] == ["b.txt"]


def test_sweep_removes_what_dead_processes_left_and_nothing_else(tmp_path):
    store = Store(str(tmp_path))
    store.commit("a/b.txt", b"old")
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    left = tmp_path / "a" / f".b.txt.{HOST}.{dead.pid}.tmp"
    mine = tmp_path / "a" / f".b.txt.{HOST}.{os.getpid()}.tmp"
    elsewhere = tmp_path / "a" / f".b.txt.other-host.{dead.pid}.tmp"
    for path in (left, mine, elsewhere):
        path.write_bytes(b"x")
    assert store.sweep() == 1
    assert (left.exists(), mine.exists(), elsewhere.exists()) == (False, True, True)


def test_a_url_without_its_package_is_told_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UserError, match="s3fs"):
        Store("s3://bucket/run")


def test_an_unknown_kind_of_url_is_told():
    with pytest.raises(UserError, match="nonsense"):
        Store("nonsense://bucket/run")
