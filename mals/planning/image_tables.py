"""Images in Parquet files: encoded in a column, or named by a column of paths; the shards of a packed set of mals or of the hub."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from mals.errors import UserError
from mals.origin import recorded_origin
from mals.planning.image_files import first_caption
from mals.planning.image_source import file_address, is_url, open_file, printable, table_address

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "photo", "image_bytes", "bytes")  # the first that is there is taken
PATH_COLUMNS = ("image", "file_name", "filename", "file_path", "filepath", "img_path", "image_path", "path", "file", "img", "url", "uri")
CAPTION_COLUMN = "caption"
ABSOLUTE = re.compile(r"/|[A-Za-z]:/|\w+://")
BLOCK = 16_384  # rows read at once


@dataclass(frozen=True)
class ImageColumn:
    """The column of a table that has the images."""

    name: str
    paths: bool  # it has paths, and not the images themselves
    path_of: str | None  # the column, or the member of a struct, with the names of encoded images


class TableRow(NamedTuple):
    """One image of a table."""

    name: str  # as the table calls it, or FILE/ROW
    address: str
    folder: str  # of `name`; "" where it has none
    caption: str | None
    person: Any
    origin: str | None  # as the table says
    id: str | None  # of a packed set
    key: str  # FILE/ROW, which is unique


@dataclass(frozen=True)
class Requested:
    """Columns that a person has named; None: found by their names, and no person."""

    image: str | None = None
    caption: str | None = None
    person: str | None = None
    ids: bool = True  # keep the ids of a packed set; those of several sets may be the same


def find_images(schema: pa.Schema, requested: str | None = None) -> ImageColumn | None:
    """Where a table has its images: the column `requested`, or one with such a name and type; None if there is none."""
    encoded = [field.name for field in schema if _holds_bytes(field.type)]
    if requested is not None:
        names = [requested] if requested in schema.names else []
    else:
        names = [name for name in IMAGE_COLUMNS if name in encoded] or (encoded if len(encoded) == 1 else [])
        names = names or [name for name in PATH_COLUMNS if name in schema.names and _holds_text(schema.field(name).type)]
    if not names:
        return None
    dtype = schema.field(names[0]).type
    if not _holds_bytes(dtype):
        return ImageColumn(names[0], True, None) if _holds_text(dtype) else None
    in_struct = pa.types.is_struct(dtype) and dtype.get_field_index("path") >= 0
    others = (name for name in PATH_COLUMNS if name != names[0] and name in schema.names and _holds_text(schema.field(name).type))
    return ImageColumn(names[0], False, f"{names[0]}.path" if in_struct else next(others, None))


def _holds_bytes(dtype: pa.DataType) -> bool:
    if pa.types.is_struct(dtype):
        return dtype.get_field_index("bytes") >= 0 and _holds_bytes(dtype.field("bytes").type)
    return pa.types.is_binary(dtype) or pa.types.is_large_binary(dtype) or pa.types.is_binary_view(dtype)


def _holds_text(dtype: pa.DataType) -> bool:
    if pa.types.is_dictionary(dtype):
        return _holds_text(dtype.value_type)
    return pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype)


def _holds_captions(dtype: pa.DataType) -> bool:
    lists = pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype)
    return _holds_text(dtype.value_type) if lists else _holds_text(dtype)


def table_images(path: str, name: str, requested: Requested, left_out: Counter[str]) -> Iterator[TableRow]:
    """The images of the Parquet file at `path`, which is called `name` in its collection; rows without an image are counted.

    Raises UserError where the file cannot be read, or has no column of images or not those that are requested.
    """
    address = file_address(path)
    try:
        with open_file(address) as file, pq.ParquetFile(file) as parquet:
            schema = parquet.schema_arrow
            if repeated := next((name for name, count in Counter(schema.names).items() if count > 1), None):
                raise UserError(
                    f"{printable(path)} has {schema.names.count(repeated)} columns with the name {repeated}; rename all but one"
                )
            for option, wish in (
                ("--image-column", requested.image),
                ("--caption-column", requested.caption),
                ("--person-from", requested.person),
            ):
                if wish is not None and wish not in schema.names:
                    raise UserError(f"{printable(path)} has no column {wish} for {option}, only {', '.join(schema.names)}")
            if requested.caption is not None and not _holds_captions(schema.field(requested.caption).type):
                raise UserError(f"{printable(path)}: the column {requested.caption} for --caption-column holds no texts")
            column = find_images(schema, requested.image)
            if column is None:
                names = ", ".join(schema.names)
                raise UserError(f"{printable(path)} has no column of images or of paths to them, only {names}; name it with --image-column")
            reader = _Rows(schema, column, requested, address, name)
            row = 0
            for batch in parquet.iter_batches(BLOCK, columns=reader.columns):
                yield from reader.rows(batch, row, left_out)
                row += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{printable(path)} is not a readable Parquet file: {str(error).splitlines()[0]}") from None


class _Rows:
    """Makes rows of the batches of one table."""

    def __init__(self, schema: pa.Schema, column: ImageColumn, requested: Requested, address: str, name: str):
        self.column, self.person, self.caption = column, requested.person, requested.caption or CAPTION_COLUMN
        self.address, self.name = address, name
        packed = requested.ids and {"id", "image_sha256"} <= set(schema.names)  # a set of mals
        used = [self.person, self.caption, "origin", "synthetic", "id" if packed else None]
        self.members = [name for name in dict.fromkeys(used) if name is not None and name in schema.names]
        self.packed = packed
        self.columns = [*self.members, *filter(None, [column.name if column.paths else column.path_of])] or schema.names[:1]

    def rows(self, batch: pa.RecordBatch, first: int, left_out: Counter[str]) -> Iterator[TableRow]:
        """The rows of `batch`, of which the first is row number `first` of the table."""
        values = {name: batch.column(name).to_pylist() for name in self.members}
        paths = self._paths(batch)
        for at in range(len(batch)):
            row = {name: column[at] for name, column in values.items()}
            name = paths[at]
            if self.column.paths:
                if not name:
                    left_out["row without a path"] += 1
                    continue
                address = self._beside(name)
            else:
                address = table_address(self.address, first + at, self.column.name)
            name = self._relative(name) if name else f"{self.name}/{first + at}"
            caption = first_caption(row.get(self.caption), left_out)
            person = row.get(self.person) if self.person else None
            id_ = row["id"] if self.packed and isinstance(row["id"], str) else None
            folder = name.rpartition("/")[0]
            yield TableRow(printable(name), address, folder, caption, person, recorded_origin(row), id_, f"{self.name}/{first + at}")

    def _paths(self, batch: pa.RecordBatch) -> list[str | None]:
        if self.column.paths:
            return batch.column(self.column.name).to_pylist()
        if self.column.path_of is None:
            return [None] * len(batch)
        if "." in self.column.path_of and self.column.path_of not in batch.schema.names:
            return [value["path"] if value else None for value in batch.column(self.column.name).to_pylist()]
        return batch.column(self.column.path_of).to_pylist()

    def _beside(self, path: str) -> str:
        """The address of an image that is named by its path from the folder of the table; Windows' separators are read too."""
        if is_url(path):
            return path
        folder = self.address.rpartition("/")[0]
        if "\\" in path and (is_url(folder) or not Path(folder, path).exists()):
            path = path.replace("\\", "/")
        return file_address(path if path.startswith("/") else f"{folder}/{path}")

    def _relative(self, path: str) -> str:
        """A path as it stands in the table, or where it is absolute, its last two parts: folders of a machine are private."""
        folder = self.address.rpartition("/")[0]
        path = path.replace("\\", "/").removeprefix(f"{folder}/")
        if ABSOLUTE.match(path):
            return "/".join(path.partition("?")[0].split("/")[-2:])
        return path
