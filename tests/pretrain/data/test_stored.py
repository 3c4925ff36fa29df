"""A packed set behind a URL is fetched once, and is what its checksums say."""

from pathlib import Path

import fsspec
import pytest

from mals.errors import UserError
from mals.grid.store import Store
from pretrain.data.rows import ImageTextPairs
from pretrain.data.sources import local_path
from tests.pretrain.packs import packed


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A packed set of 20 rows in a store in memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = packed(tmp_path / "run", 20)
    store = Store(f"memory://{tmp_path.name}/run/dataset")
    for path in folder.rglob("*"):
        if path.is_file():
            store.commit(str(path.relative_to(folder)), path.read_bytes())
    return store.url


def test_a_packed_set_behind_a_url_is_read_from_the_cache(url: str, tmp_path: Path) -> None:
    near, pairs = ImageTextPairs.open([tmp_path / "run/dataset"]), ImageTextPairs.open([url])
    assert [(pairs.caption(row), pairs.image_bytes(row)) for row in range(len(pairs))] == [
        (near.caption(row), near.image_bytes(row)) for row in range(len(near))
    ]
    folder, _ = local_path(url)
    assert local_path(url.removesuffix("/dataset")) == (folder, None), "the URL of the run names the same set"
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    assert len(times) > 0 and local_path(url)[0] == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} == times


def test_a_file_that_is_not_what_its_checksum_says_is_refused_and_not_kept(url: str, tmp_path: Path) -> None:
    store = Store(url)
    (name,) = list(store.list("data"))[:1]
    whole = store.read(name)
    store.commit(name, whole[:-1] + b"?")
    with pytest.raises(UserError, match=f"{name} is not what SHA256SUMS says"):
        local_path(url)
    store.commit(name, whole)
    assert (local_path(url)[0] / name).read_bytes() == whole


def test_a_set_that_has_changed_is_another_and_one_that_names_files_elsewhere_is_refused(url: str) -> None:
    store = Store(url)
    before, sums = local_path(url)[0], store.read("SHA256SUMS")
    store.commit("README.md", b"another")
    digest = store.sha256("README.md")
    lines = [f"{digest}  README.md" if line.endswith("  README.md") else line for line in sums.decode().splitlines()]
    store.commit("SHA256SUMS", "\n".join(lines).encode())
    assert local_path(url)[0] != before
    store.commit("SHA256SUMS", f"{digest}  data/../../../evil.parquet\n".encode())
    with pytest.raises(UserError, match="outside of it"):
        local_path(url)


def test_a_url_without_a_packed_set_is_told() -> None:
    fsspec.filesystem("memory").pipe_file("/empty/a", b"1")
    with pytest.raises(UserError, match="memory://empty holds no packed set"):
        local_path("memory://empty")
