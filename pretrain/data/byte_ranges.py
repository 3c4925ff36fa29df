"""First byte and length of each value of a binary column in a Parquet file, to read one value without its row group."""

import mmap
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

KEY_BYTES = 64  # a value is searched for by its first bytes; a candidate is then compared whole


def byte_ranges(opened: pq.ParquetFile, file: Path, group: int, column: str) -> NDArray[np.int64] | None:
    """First byte and length in the file of each value of a row group, [n, 2]; the length is -1 for null.

    None if the file stores the values compressed or in a dictionary. `column` is "column.field", a field of a struct. The values are read
    once through Parquet and then searched for in the bytes of the file.
    """
    outer, inner = column.split(".")
    metadata = opened.metadata.row_group(group)
    (chunk,) = [part for part in map(metadata.column, range(metadata.num_columns)) if part.path_in_schema == column]
    if chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page:
        return None
    values = pc.struct_field(opened.read_row_group(group, columns=[column], use_threads=False)[outer], inner)
    ranges = np.full((len(values), 2), -1, np.int64)
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start, end = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
        for row, value in enumerate(values):
            if value.is_valid:
                start = _find_value(data, value.as_py(), start, end)
                if start < 0:
                    return None
                ranges[row] = start, len(value.as_buffer())
                start += ranges[row, 1]
    return ranges


def _find_value(data: mmap.mmap, value: bytes, start: int, end: int) -> int:
    """The first position of a value from `start` on, in Parquet's plain encoding (its length in 4 bytes, then the value); -1 if absent."""
    key = len(value).to_bytes(4, "little") + value[:KEY_BYTES]
    while (candidate := data.find(key, start, end)) >= 0:
        first = candidate + 4
        if data[first : first + len(value)] == value:
            return first
        start = candidate + 1
    return -1
