"""Byte ranges of the values of a binary column in a Parquet file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretrain.data.byte_ranges import byte_ranges
from pretrain.data.rows import ImageTextPairs
from tests.pretrain.packs import packed


def write_parquet(folder, values, **options):
    file = folder / "file.parquet"
    column = pa.StructArray.from_arrays([pa.array(values, pa.binary()), pa.array(["x.jpg"] * len(values))], ["bytes", "path"])
    pq.write_table(pa.table({"image": column}), file, **{"compression": "none", "use_dictionary": False, "row_group_size": 8} | options)
    return file


def ranges_of(file, group=0):
    with pq.ParquetFile(file) as opened:
        return byte_ranges(opened, file, group, "image.bytes")


def values_at(file, ranges):
    data = file.read_bytes()
    return [None if length < 0 else data[start : start + length] for start, length in ranges.tolist()]


@pytest.mark.parametrize("page", [64, 1 << 20])
def test_similar_values_are_located_with_small_and_large_pages(tmp_path, page):
    rng = np.random.default_rng(0)
    noise = [rng.bytes(int(size)) for size in rng.integers(1, 400, 12)]
    similar = [b"", b"a", b"a", b"\x01\x00\x00\x00a", b"x" * 200 + b"1", b"x" * 200 + b"2", None, b"x" * 200 + b"2"]
    values = [*similar, *noise]
    file = write_parquet(tmp_path, values, data_page_size=page)
    assert [value for group in range(3) for value in values_at(file, ranges_of(file, group))] == values


@pytest.mark.parametrize("options", [{"compression": "snappy"}, {"use_dictionary": True}])
def test_compressed_or_dictionary_values_have_no_byte_ranges(tmp_path, options):
    assert ranges_of(write_parquet(tmp_path, [b"a" * 90, b"b" * 80], **options)) is None


def test_images_of_a_packed_set_are_located_and_equal_those_that_parquet_reads(tmp_path):
    folder = packed(tmp_path)
    pairs = ImageTextPairs.open([folder])
    files = sorted((folder / "data").glob("*.parquet"))
    bytes_ = [row["bytes"] for file in files for row in pq.read_table(file)["image"].to_pylist()]
    assert [pairs.image_bytes(row) for row in range(len(pairs))] == bytes_
    assert all(ranges is not None for ranges in pairs.sources[0]._ranges.values())
