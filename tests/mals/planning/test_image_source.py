"""Images behind URLs for whose kind a package is missing: it is named, once and not row by row."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.registry import known_implementations

from mals.errors import UserError
from mals.planning.create import create
from mals.stages.generate import read
from mals.stages.ingest import Ingest


@pytest.fixture
def missing_package(monkeypatch: pytest.MonkeyPatch) -> str:
    """The start of URLs of a kind for which a package is missing, and what a message says of them."""
    entry = {"class": "no_such_package.FileSystem", "err": "Install no_such_package to access nothing"}
    monkeypatch.setitem(known_implementations, "nothere", entry)
    return r"nothere://bucket/\S+ needs a package that is not installed here \(Install no_such_package to .*; `pip install no_such_package`"


def test_a_package_that_urls_need_is_named_before_anything_is_planned(tmp_path: Path, missing_package: str) -> None:
    pq.write_table(pa.table({"url": ["memory://bucket/a.jpg", "nothere://bucket/a.jpg"]}), tmp_path / "t.parquet")
    (tmp_path / "images.csv").write_text("caption,init_image\na man,nothere://bucket/a.jpg\n")
    for options in ({"ingest": "nothere://bucket/photos"}, {"ingest": tmp_path / "t.parquet"}, {"captions": tmp_path / "images.csv"}):
        with pytest.raises(UserError, match=missing_package):
            create(tmp_path / "run", **options)
    with pytest.raises(UserError, match=missing_package):
        create("nothere://bucket/run", captions=tmp_path / "images.csv")


def test_a_package_that_is_missing_where_the_run_goes_on_is_named_too(missing_package: str) -> None:
    row = {"source": ["nothere://bucket/a.jpg"], "source_name": ["a.jpg"], "origin": pa.array([None], pa.string())}
    with pytest.raises(UserError, match=missing_package):
        Ingest()(pa.record_batch(row))
    with pytest.raises(UserError, match=missing_package):
        Ingest()(pa.record_batch(row | {"source": ["tar:0:9:nothere://bucket/a.tar"]}))
    with pytest.raises(UserError, match=missing_package):
        read("nothere://bucket/a.jpg", 8, 8)
