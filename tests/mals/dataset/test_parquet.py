"""Parquet files of packed data sets."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mals.dataset import parquet


def test_large_images_make_smaller_row_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parquet, "MAX_IMAGE_BYTES", 5000)
    schema = pa.schema({"image": pa.struct({"bytes": pa.binary(), "path": pa.string()})})
    rows = pa.table({"image": [{"bytes": b"x" * size, "path": "a"} for size in (2000, 2000, 2000, 9000, 100, 100)]}, schema)
    parquet.write_parquet(tmp_path / "a.parquet", iter([rows]), schema, 4)
    data = pq.ParquetFile(tmp_path / "a.parquet").metadata
    assert [data.row_group(at).num_rows for at in range(data.num_row_groups)] == [2, 1, 1, 2]
