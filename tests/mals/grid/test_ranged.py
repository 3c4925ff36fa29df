"""Columns out of remote Parquet files, against pyarrow on the whole file."""

from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mals.grid import ranged
from mals.grid.ranged import RangedParquet

ROWS = 1000


class Bytes:
    """A remote that keeps a note of the ranges."""

    def __init__(self, data):
        self.data, self.ranges = data, []

    def read(self, path, start, end):
        self.ranges.append((start, end))
        return self.data[start:end]


@pytest.fixture(params=[64, 128 << 10], ids=["footer longer than the tail", "usual tail"])
def file(request, monkeypatch):
    monkeypatch.setattr(ranged, "TAIL", request.param)
    monkeypatch.setattr(ranged, "GAP", 16)
    dice = np.random.default_rng(0)
    table = pa.table(
        {
            "image": [None if row % 9 == 4 else dice.bytes(500) for row in range(ROWS)],
            "id": [f"{row:08x}" for row in range(ROWS)],
            "captions": [[{"text": f"text {row}", "model": "m"}] * (row % 3) for row in range(ROWS)],
            "model": ["one", "two"] * (ROWS // 2),
            "score": dice.random(ROWS),
        }
    )
    sink = BytesIO()
    pq.write_table(table, sink, row_group_size=300, compression="zstd")
    return table, Bytes(sink.getvalue())


@pytest.mark.parametrize("columns", [None, ["id"], ["captions"], ["model", "score", "id"], ["image"], []])
def test_columns_are_those_of_pyarrow(file, columns):
    table, remote = file
    whole = pq.ParquetFile(pa.BufferReader(remote.data))
    parquet = RangedParquet(remote, "a", len(remote.data))
    assert parquet.schema_arrow == whole.schema_arrow == table.schema
    assert parquet.read(columns=columns).equals(whole.read(columns=columns))
    assert parquet.num_row_groups == 4
    for group in (3, 0):
        assert parquet.read_row_group(group, columns=columns).equals(whole.read_row_group(group, columns=columns))
    batches = list(parquet.iter_batches(128, columns=columns))
    assert max(map(len, batches)) <= 128
    assert pa.Table.from_batches(batches).equals(whole.read(columns=columns))


def test_only_the_ranges_of_the_columns_are_read(file):
    _, remote = file
    parquet = RangedParquet(remote, "a", len(remote.data))
    remote.ranges.clear()
    parquet.read_row_group(0, columns=["id"])
    assert sum(end - start for start, end in remote.ranges) < 6_000
    remote.ranges.clear()
    parquet.read_row_group(0, columns=["id", "captions", "model"])
    assert len(remote.ranges) == 1, "adjacent columns are one range"
