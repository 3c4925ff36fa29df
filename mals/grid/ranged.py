"""A Parquet file behind a URL, of which only the bytes of the columns that are asked for are read."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mals.grid.remote import Remote

TAIL = 128 << 10  # bytes at the end that are read with the footer: the small columns of a cell lie there
GAP = 64 << 10  # bytes that are not needed and are read all the same where that saves a request


class RangedParquet:
    """What we use of pyarrow's ParquetFile, with its meaning.

    Ranges are fetched here and laid into a buffer as long as the file, whose untouched pages take no memory. A file object in Python would
    not do: a thread of pyarrow that still holds it when the interpreter ends aborts the process.
    """

    def __init__(self, remote: Remote, path: str, size: int):
        self._remote, self._path, self._size = remote, path, size
        start = max(0, size - TAIL)
        self._tail = (start, remote.read(path, start, size))
        footer = 8 + int.from_bytes(self._tail[1][-8:-4], "little")
        if len(self._tail[1]) < footer <= size:
            self._tail = (size - footer, remote.read(path, size - footer, size))
        self.metadata: pq.FileMetaData = pq.read_metadata(pa.BufferReader(self._tail[1]))

    @property
    def num_row_groups(self) -> int:
        return self.metadata.num_row_groups

    @property
    def schema_arrow(self) -> pa.Schema:
        return self.metadata.schema.to_arrow_schema()

    def read(self, columns: list[str] | None = None, use_threads: bool = True) -> pa.Table:
        return self._with(range(self.num_row_groups), columns).read(columns=columns, use_threads=use_threads)

    def read_row_group(self, group: int, columns: list[str] | None = None, use_threads: bool = True) -> pa.Table:
        return self._with([group], columns).read_row_group(group, columns=columns, use_threads=use_threads)

    def iter_batches(self, batch_size: int = 65536, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Batches that end where a row group ends; one row group is in memory."""
        for group in range(self.num_row_groups):
            yield from self._with([group], columns).iter_batches(batch_size, row_groups=[group], columns=columns)

    def _with(self, groups: Iterable[int], columns: list[str] | None) -> pq.ParquetFile:
        """The file with the bytes of these columns of these row groups, and nothing elsewhere."""
        buffer = np.zeros(self._size, np.uint8)
        tail, data = self._tail
        buffer[tail:] = np.frombuffer(data, np.uint8)
        for start, end in _joined(self._ranges(groups, columns)):
            if start < tail:
                end = min(end, tail)
                buffer[start:end] = np.frombuffer(self._remote.read(self._path, start, end), np.uint8)
        return pq.ParquetFile(pa.BufferReader(pa.py_buffer(buffer)), metadata=self.metadata)

    def _ranges(self, groups: Iterable[int], columns: list[str] | None) -> Iterator[tuple[int, int]]:
        for group in map(self.metadata.row_group, groups):
            for chunk in map(group.column, range(group.num_columns)):
                if columns is None or chunk.path_in_schema.split(".")[0] in columns:
                    start = chunk.data_page_offset if chunk.dictionary_page_offset is None else chunk.dictionary_page_offset
                    yield start, start + chunk.total_compressed_size


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges in order, those with at most GAP bytes between them as one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start - joined[-1][1] <= GAP:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined
