"""Images behind URLs for whose kind a package is missing: it is named, once and not row by row."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.registry import known_implementations

from mals.errors import UserError
from mals.grid.run import Run
from mals.planning.create import create
from mals.stages.ingest import Ingest
from tests.one_cell import make_cell


def _run(folder: Path, **source: Any) -> Run:
    create(folder, assignments=["caption=none", "crop=none"], **source)
    return Run.open(folder)


@pytest.fixture
def missing_package(monkeypatch: pytest.MonkeyPatch) -> str:
    """The start of URLs of a kind for which a package is missing, and what a message says of them."""
    entry = {"class": "no_such_package.FileSystem", "err": "Install no_such_package to access nothing"}
    monkeypatch.setitem(known_implementations, "nothere", entry)
    return r"nothere://bucket/\S+ needs a package that is not installed here \(Install no_such_package to .*; `pip install no_such_package`"


def test_a_package_that_the_url_of_a_run_or_of_its_images_needs_is_named(tmp_path: Path, missing_package: str) -> None:
    (tmp_path / "captions.txt").write_text("a man\n")
    with pytest.raises(UserError, match=missing_package):
        create(tmp_path / "run", ingest="nothere://bucket/photos")
    with pytest.raises(UserError, match=missing_package):
        create("nothere://bucket/run", captions=tmp_path / "captions.txt")


@pytest.mark.parametrize("stage", ["ingest", "generate"])
def test_a_package_that_the_urls_in_a_table_need_is_one_sentence_and_no_error_of_rows(
    tmp_path: Path, missing_package: str, stage: str
) -> None:
    urls = [f"nothere://bucket/{number}.jpg" for number in range(3)]
    pq.write_table(pa.table({"url": urls}), tmp_path / "table.parquet")
    (tmp_path / "images.csv").write_text("caption,init_image\n" + "".join(f"a man,{url}\n" for url in urls))
    sources = {"ingest": {"ingest": tmp_path / "table.parquet"}, "generate": {"captions": tmp_path / "images.csv"}}
    run = _run(tmp_path / "run", **sources[stage])
    with pytest.raises(UserError, match=missing_package):
        make_cell(run.grid, run.grid.stages[stage])


def test_a_package_that_the_url_of_a_tar_needs_is_named_too(missing_package: str) -> None:
    row = {"source": ["tar:0:9:nothere://bucket/a.tar"], "source_name": ["a.jpg"], "origin": pa.array([None], pa.string())}
    with pytest.raises(UserError, match=missing_package):
        Ingest()(pa.record_batch(row))
