"""Where the bytes of an image are, as a text that a plan holds and the stage `ingest` reads.

/data/a.jpg, s3://bucket/a.jpg      a local file, or any URL of fsspec
file:///data/%ff.jpg                a local file whose name is not UTF-8
tar:OFFSET:SIZE:/data/a.tar         bytes of an uncompressed tar
parquet:ROW:COLUMN:/data/a.parquet  a value of a column; its name is quoted as in URLs
"""

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote, unquote, unquote_to_bytes

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mals.grid.remote import missing_package

URL = re.compile(r"[A-Za-z][\w+.-]*(::[\w+.-]+)*://")
OPEN = 8  # containers that a reader keeps open
T = TypeVar("T")


def file_address(path: str) -> str:
    """The address of a file: an absolute local path as os.fsdecode gives it, or a URL."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "file://" + quote(os.fsencode(path))
    return path


def tar_address(container: str, offset: int, size: int) -> str:
    """The address of `size` bytes from `offset` of a tar, given by its own address."""
    return f"tar:{offset}:{size}:{container}"


def table_address(container: str, row: int, column: str) -> str:
    """The address of a value in row number `row` (from 0) of a Parquet file, given by its own address."""
    return f"parquet:{row}:{quote(column, safe='')}:{container}"


def printable(text: str) -> str:
    """A file name as UTF-8 can hold it: bytes that are not UTF-8 as "\\xff", other lone surrogates as "\\ud83d"."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape" if _is_path(text) else "backslashreplace").decode("utf-8", "backslashreplace")


def _is_path(text: str) -> bool:
    """Whether all lone surrogates stand for bytes of a file name."""
    return all("\udc80" <= character <= "\udcff" for character in text if "\ud800" <= character <= "\udfff")


def is_url(path: str) -> bool:
    """Whether a path is for fsspec and not for the local file system."""
    return URL.match(path) is not None


def open_file(address: str) -> IO[bytes]:
    """The file at an address without tar or Parquet, opened for reading.

    Raises what the file system raises, and UserError where a package is missing for its kind of URL.
    """
    if address.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(address.removeprefix("file://")))).open("rb")
    if is_url(address):
        import fsspec

        require_package(address)
        return fsspec.open(address, "rb").open()
    return Path(address).open("rb")


def require_package(url: str) -> None:
    """Raise UserError, which names the package, where fsspec needs one for this kind of URL that is not installed."""
    if (error := _import_error(url.partition("://")[0])) is not None:
        raise missing_package(url, error)


@cache
def _import_error(protocols: str) -> ImportError | None:
    """What fsspec raises for "https", or for one of "zip::https"; None where it has what it needs."""
    from fsspec import get_filesystem_class

    for protocol in protocols.split("::"):
        try:
            get_filesystem_class(protocol)
        except ImportError as error:
            return error
        except ValueError:  # of an unknown kind, which opening the address tells
            continue
    return None


class ImageReader:
    """Reads the bytes at addresses; the tars and tables that were read last stay open."""

    def __init__(self) -> None:
        self._open: dict[str, Any] = {}

    def read(self, address: str) -> bytes:
        """The bytes of one image; raises what the file system or Arrow raises, and ValueError where there is no image."""
        kind, *rest = address.split(":", 3)
        if kind == "tar" and len(rest) == 3:
            return self._tar_bytes(rest[2], int(rest[0]), int(rest[1]))
        if kind == "parquet" and len(rest) == 3:
            return self._container(rest[2], Table).value(int(rest[0]), unquote(rest[1]))
        with open_file(address) as file:
            return file.read()

    def _tar_bytes(self, container: str, offset: int, size: int) -> bytes:
        file = self._container(container, open_file)
        file.seek(offset)
        data = file.read(size)
        if len(data) != size:
            raise ValueError("the tar is shorter than when it was planned")
        return data

    def _container(self, address: str, opener: Callable[[str], T]) -> T:
        """An open file or table; the one that was used longest ago is closed where too many are open."""
        container = self._open.pop(address, None) or opener(address)
        self._open[address] = container
        if len(self._open) > OPEN:
            self._open.pop(next(iter(self._open))).close()
        return container


class Table:
    """A Parquet file from which images are read by row; the values of one row group stay in memory."""

    def __init__(self, address: str):
        self._file = open_file(address)
        self._parquet = pq.ParquetFile(self._file)
        groups = [self._parquet.metadata.row_group(group).num_rows for group in range(self._parquet.num_row_groups)]
        self._ends = np.cumsum(groups, dtype=np.int64)
        self._group: tuple[int, str] = (-1, "")
        self._values: pa.ChunkedArray | None = None

    def value(self, row: int, column: str) -> bytes:
        """The image in one row: a binary value, or the member `bytes` of a struct."""
        group = int(np.searchsorted(self._ends, row, side="right"))
        if group >= len(self._ends):
            raise ValueError("the table is shorter than when it was planned")
        if self._group != (group, column):
            struct = pa.types.is_struct(self._parquet.schema_arrow.field(column).type)
            table = self._parquet.read_row_group(group, columns=[f"{column}.bytes" if struct else column])
            self._values = pa.chunked_array(table[column].chunks, table[column].type)
            self._group = (group, column)
        assert self._values is not None
        value = self._values[row - (int(self._ends[group - 1]) if group else 0)].as_py()
        data = value["bytes"] if isinstance(value, dict) else value
        if data is None:
            raise ValueError("the table has no image in this row")
        return data

    def close(self) -> None:
        self._parquet.close()
        self._file.close()
