"""Values of a column found where they lie in a file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretrain.data.rows import ImageTextPairs
from pretrain.data.spans import spans
from tests.pretrain.packs import packed


def written(folder, values, **options):
    file = folder / "file.parquet"
    column = pa.StructArray.from_arrays([pa.array(values, pa.binary()), pa.array(["x.jpg"] * len(values))], ["bytes", "path"])
    pq.write_table(pa.table({"image": column}), file, **{"compression": "none", "use_dictionary": False, "row_group_size": 8} | options)
    return file


def found(file, group=0):
    with pq.ParquetFile(file) as opened:
        return spans(opened, file, group, "image.bytes")


def values_at(file, places):
    data = file.read_bytes()
    return [None if length < 0 else data[start : start + length] for start, length in places.tolist()]


@pytest.mark.parametrize("page", [64, 1 << 20])
def test_each_value_is_found_whatever_the_pages_and_however_alike(tmp_path, page):
    draw = np.random.default_rng(0)
    noise = [draw.bytes(int(size)) for size in draw.integers(1, 400, 12)]
    alike = [b"", b"a", b"a", b"\x01\x00\x00\x00a", b"x" * 200 + b"1", b"x" * 200 + b"2", None, b"x" * 200 + b"2"]
    values = [*alike, *noise]
    file = written(tmp_path, values, data_page_size=page)
    assert [value for group in range(3) for value in values_at(file, found(file, group))] == values


@pytest.mark.parametrize("options", [{"compression": "snappy"}, {"use_dictionary": True}])
def test_what_is_not_there_as_it_is_is_not_found(tmp_path, options):
    assert found(written(tmp_path, [b"a" * 90, b"b" * 80], **options)) is None


def test_pictures_of_a_packed_set_are_found_and_read_as_by_parquet(tmp_path):
    folder = packed(tmp_path)
    pairs = ImageTextPairs.open([folder])
    files = sorted((folder / "data").glob("*.parquet"))
    bytes_ = [row["bytes"] for file in files for row in pq.read_table(file)["image"].to_pylist()]
    assert [pairs.image_bytes(row) for row in range(len(pairs))] == bytes_
    assert all(known is not None for known in pairs.sources[0]._spans.values())
