"""Where the values of a column of bytes lie in a Parquet file, so that one is read without the row group around it."""

import mmap
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

KNOWN = 64  # first bytes of a value by which it is looked for; what is found is compared whole


def spans(opened: pq.ParquetFile, file: Path, group: int, column: str) -> NDArray[np.int64] | None:
    """First byte and length of each value of a row group [n, 2], length -1 for null; None where the file has them compressed.

    `column` is "column.field" of a struct. The values are read once the usual way and found again in the file as they are.
    """
    outer, inner = column.split(".")
    about = opened.metadata.row_group(group)
    (chunk,) = [one for one in map(about.column, range(about.num_columns)) if one.path_in_schema == column]
    if chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page:
        return None
    values = pc.struct_field(opened.read_row_group(group, columns=[column], use_threads=False)[outer], inner)
    found = np.full((len(values), 2), -1, np.int64)
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at, end = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
        for row, value in enumerate(values):
            if value.is_valid:
                at = _place(data, value.as_py(), at, end)
                if at < 0:
                    return None
                found[row] = at, len(value.as_buffer())
                at += found[row, 1]
    return found


def _place(data: mmap.mmap, value: bytes, at: int, end: int) -> int:
    """The first place from `at` on of a value with its length before it; -1 where there is none."""
    key = len(value).to_bytes(4, "little")
    while (found := data.find(key + value[:KNOWN], at, end)) >= 0 and data[found + 4 : found + 4 + len(value)] != value:
        at = found + 1
    return found + 4 if found >= 0 else -1
