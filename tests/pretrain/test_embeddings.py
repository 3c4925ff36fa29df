"""Embeddings are kept beside a data set and reused exactly while they fit."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from pretrain import embeddings
from pretrain.embeddings import EmbeddingStore, image_embeddings, method_key
from pretrain.search import open_searched
from pretrain.trained_method import Trained, read
from tests.conftest import environment
from tests.images_of_every_kind import images
from tests.pretrain.packs import mals_list
from tests.small.cells import small_jpeg


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embeddings, "CHUNK", 4)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))


def folder_of(place: Path, count: int = 10) -> Path:
    """A folder of images and nothing else."""
    (place / "night").mkdir(parents=True)
    for number in range(count):
        (place / ("night" if number % 3 == 0 else ".") / f"{number:02}.jpg").write_bytes(small_jpeg(str(number), 16, 32))
    return place


def counted(trained: Trained, place: Path, monkeypatch: pytest.MonkeyPatch, keep: bool = True) -> tuple[torch.Tensor, int]:
    """The embeddings of a data set, and how many images were embedded for them."""
    seen = 0
    own = type(trained.method).embed_image

    def embed_image(method: Any, inputs: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        seen += len(inputs)
        return own(method, inputs)

    with monkeypatch.context() as patch:
        patch.setattr(type(trained.method), "embed_image", embed_image)
        rows = image_embeddings(trained, open_searched(trained, [place], batch=3), keep)
    return rows, seen


def files(place: Path) -> list[Path]:
    return sorted(place.rglob(".mals/embeddings/*/*"))


def test_kept_embeddings_are_those_that_are_computed_and_are_reused(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder_of(tmp_path / "photos")
    expected, count = counted(trained, place, monkeypatch, keep=False)
    assert count == 10 and not files(place)
    first, count = counted(trained, place, monkeypatch)
    assert count == 10 and [file.name for file in files(place)] == [f"images-0000{at}.parquet" for at in range(3)]
    again, count = counted(trained, place, monkeypatch)
    assert count == 0 and again.equal(first)
    torch.testing.assert_close(first, expected, atol=1e-6, rtol=0)
    table = pq.read_table(files(place)[0])
    assert table["id"].to_pylist() == ["01.jpg", "02.jpg", "04.jpg", "05.jpg"] and table.schema.field("embedding").type.list_size == 96


def changed(place: Path) -> None:
    (place / "08.jpg").write_bytes(small_jpeg("other", 16, 32))


def changed_as_if_it_was_not(place: Path) -> None:
    file = place / "08.jpg"
    before = file.stat()
    data = bytearray(file.read_bytes())
    data[-20] ^= 1
    file.write_bytes(bytes(data))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def swapped(place: Path) -> None:
    (place / "07.jpg").rename(place / "swap")
    (place / "08.jpg").rename(place / "07.jpg")
    (place / "swap").rename(place / "08.jpg")


def added(place: Path) -> None:
    (place / "07a.jpg").write_bytes(small_jpeg("added", 16, 32))


def removed(place: Path) -> None:
    (place / "08.jpg").unlink()


def damaged(place: Path) -> None:
    file = files(place)[1]
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 255
    file.write_bytes(bytes(data))


def cut(place: Path) -> None:
    file = files(place)[1]
    file.write_bytes(file.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("change", "embedded"),
    [(changed, 4), (changed_as_if_it_was_not, 4), (swapped, 4), (added, 7), (removed, 5), (damaged, 4), (cut, 4)],
)
def test_what_does_not_fit_any_more_is_embedded_anew(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], embedded: int
) -> None:
    place = folder_of(tmp_path / "photos")
    counted(trained, place, monkeypatch)
    change(place)
    rows, count = counted(trained, place, monkeypatch)
    assert count == embedded
    torch.testing.assert_close(rows, counted(trained, place, monkeypatch, keep=False)[0], atol=1e-6, rtol=0)
    assert counted(trained, place, monkeypatch)[1] == 0


def test_other_weights_and_other_settings_have_embeddings_of_their_own(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, one = folder_of(tmp_path / "photos"), read(str(out))
    counted(one, place, monkeypatch)
    wider = read(str(out), ["data.height=96"])
    assert counted(wider, place, monkeypatch)[1] == 10
    with torch.no_grad():
        next(iter(one.method.parameters())).view(-1)[0] += 1
    assert counted(one, place, monkeypatch)[1] == 10 and len({file.parent for file in files(place)}) == 3


def test_the_embeddings_of_the_methods_that_were_used_last_are_kept(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "METHODS", 2)
    place, methods = folder_of(tmp_path / "photos"), [read(str(out), [f"seed={seed}"]) for seed in range(3)]
    for trained in (methods[0], methods[1], methods[0]):
        counted(trained, place, monkeypatch)
    own = place / embeddings.FOLDER / "notes"
    own.mkdir()
    counted(methods[2], place, monkeypatch)
    names = {method_key(methods[at])[:12] for at in (0, 2)}
    assert {file.parent.name[:12] for file in files(place)} == names and own.is_dir()
    assert [counted(methods[at], place, monkeypatch)[1] for at in (0, 2, 1)] == [0, 0, 10]


def test_images_that_cannot_be_read_are_left_out_and_tried_again(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = folder_of(tmp_path / "photos")
    kinds = images()
    for name in ("empty.jpg", "half.png", "cmyk.jpg"):
        (place / name).write_bytes(kinds[name][0])
    rows, count = counted(trained, place, monkeypatch)
    assert (len(rows), count) == (11, 11) and caplog.text.count("it is left out") == 2
    again, count = counted(trained, place, monkeypatch)
    assert count == 0 and again.equal(rows) and caplog.text.count("it is left out") == 4
    gallery = open_searched(trained, [place])
    for _ in range(2):  # a gallery that has dropped them already
        assert image_embeddings(trained, gallery, keep=True).equal(rows) and len(gallery) == 11
    (place / "empty.jpg").write_bytes(small_jpeg("no longer empty", 16, 32))
    rows, count = counted(trained, place, monkeypatch)
    assert len(rows) == 12 and 0 < count <= 4


def test_packed_sets_and_lists_have_theirs_too(trained: Trained, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(data, tmp_path / "set")
    listed = mals_list(tmp_path / "list")
    for place, home in ((tmp_path / "set", tmp_path / "set"), (f"{listed}:{tmp_path / 'list/images'}", tmp_path / "list/images")):
        rows, count = counted(trained, place, monkeypatch)
        assert count == len(rows) and files(home)
        assert counted(trained, place, monkeypatch)[1] == 0
    (file, *_) = sorted((tmp_path / "set/data").glob("*.parquet"))
    pq.write_table(pq.read_table(file).slice(1), file)
    assert counted(trained, tmp_path / "set", monkeypatch)[1] > 0


def test_two_data_sets_at_once_are_kept_each_in_its_own_place(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [folder_of(tmp_path / name, count) for name, count in (("one", 5), ("two", 6))]
    both = image_embeddings(trained, open_searched(trained, places, batch=3), keep=True)
    assert [len(files(place)) for place in places] == [2, 2]
    rows = [counted(trained, place, monkeypatch) for place in places]
    assert [count for _, count in rows] == [0, 0] and torch.cat([part for part, _ in rows]).equal(both)


def test_a_folder_for_reading_has_its_embeddings_in_the_users_cache_or_nowhere(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = folder_of(tmp_path / "photos")
    (place / ".mals").write_text("in the way")  # the tests may run as root, who may write everywhere
    with caplog.at_level("INFO"):
        counted(trained, place, monkeypatch)
    assert "its own folder is for reading" in caplog.text and len(list((tmp_path / "user-cache").rglob("*.parquet"))) == 3
    assert counted(trained, place, monkeypatch)[1] == 0
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / ".mals"))
    assert counted(trained, place, monkeypatch)[1] == 10 and "are not kept: neither its folder nor" in caplog.text


KILLED = """
import sys, pathlib
from pretrain import embeddings
embeddings.CHUNK = 4
from pretrain.embeddings import EmbeddingStore
from pretrain.search import open_searched
from pretrain.trained_method import read
trained = read(sys.argv[1])
for number, chunk in enumerate(EmbeddingStore(trained, open_searched(trained, [sys.argv[2]], batch=3))):
    print(number, flush=True)
    if number == 1:
        input()
"""


def test_a_kill_loses_no_chunk_that_is_finished(out: Path, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder_of(tmp_path / "photos", 30)
    words = [sys.executable, "-c", KILLED, str(out), str(place)]
    with subprocess.Popen(words, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["0\n", "1\n"]
        process.send_signal(signal.SIGKILL)
    assert counted(trained, place, monkeypatch)[1] == 30 - 2 * 4


def test_two_commands_at_the_same_time_keep_the_same_embeddings(out: Path, tmp_path: Path, trained: Trained) -> None:
    place = folder_of(tmp_path / "photos", 24)
    words = [sys.executable, "-c", KILLED.replace("input()", "pass"), str(out), str(place)]
    both = [subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.communicate(timeout=120)[1] == "" and process.returncode == 0
    assert len(files(place)) == 6
    store = EmbeddingStore(trained, open_searched(trained, [place]))
    began = time.monotonic()
    assert sum(len(chunk.places) for chunk in store) == 24 and time.monotonic() - began < 60
    assert all(len(store._missing(chunk)) == 0 for chunk in store.chunks)
