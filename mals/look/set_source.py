"""A packed set, or an imported benchmark: Parquet files of one schema, with the image and its caption in each row."""

import json
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

from mals.errors import UserError
from mals.grid.store import Store
from mals.look.source import KEPT, REASON, ROW, STAGE, STATE, Part, Refusals, Source, first_line

SPLIT = "split"  # a column of every set: from the names of its files
OPEN = 32  # files that are kept open
KEPT_GROUPS = 64  # row groups whose images were read last
UNKNOWN = -1
FOLDERS = ("data", "dataset/data")  # of the files
LABELS = ("attributes", "wanted")  # columns with a class for each attribute, kept as one list
SOURCES = "attribute_source"
TEXTS = ("id", "caption", "person")  # columns that are text here, whatever they are in the files: imported persons have numbers
OWN = (ROW, STATE, STAGE, REASON)  # columns of the files with these names are not shown


def set_files(store: Store) -> list[str]:
    """The Parquet files of a set, or of a folder with Parquet files alone; none where there are none."""
    for folder in FOLDERS:
        if files := [name for name in store.list(folder) if name.endswith(".parquet")]:
            return files
    return []


class SetSource(Source):
    """The rows of all splits; every row is kept."""

    kind = "set"

    def __init__(self, url: str) -> None:
        super().__init__()
        self.title, self.store = url, Store(url)
        self._open_files()

    def _open_files(self) -> None:
        self._opened = self._stamp()
        self.files = set_files(self.store)
        if not self.files:
            raise UserError(f"{self.title} holds no Parquet files in data/")
        self._open: OrderedDict[int, Any] = OrderedDict()
        self._images: OrderedDict[tuple[int, int], list[bytes | None]] = OrderedDict()
        self._chunks, self._whole, self.unreadable = {}, {}, {}
        for name in ("columns", "_file_stamps"):
            self.__dict__.pop(name, None)
        self.groups = [self._group_starts(number) for number in range(len(self.files))]
        starts = [0, *accumulate(groups[-1] for groups in self.groups)]
        self.parts = [Part(start, groups[-1]) for start, groups in zip(starts, self.groups, strict=False)]
        self.schema = self._file(0).schema_arrow
        if "id" not in self.schema.names:
            raise UserError(f"{self.title}/{self.files[0]} has no column id, so it is no file of a packed set")
        self.attributes = self._classes()
        self.version += 1

    def refresh(self) -> None:
        """Read a set again that was packed anew; UserError where it is gone."""
        stamp = self._stamp()
        if stamp != self._opened:
            with self.lock:
                if stamp != self._opened:
                    self._open_files()

    def _stamp(self) -> tuple[int, int] | None:
        """What changes with the files of a local set; None on an object store, where it costs requests."""
        if self.store.folder is None:
            return None
        for folder in FOLDERS:
            with suppress(FileNotFoundError):
                stat = (self.store.folder / folder).stat()
                return stat.st_ino, stat.st_mtime_ns
        raise UserError(f"{self.title} is not there any more, or cannot be read")

    def _group_starts(self, number: int) -> list[int]:
        """The first row of each row group of a file, and the number of its rows at the end."""
        try:
            file = self._file(number)
        except (OSError, pa.ArrowException) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise UserError(f"{self.title}/{self.files[number]} is damaged or half-written: {first_line(error)}") from None
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        return [0, *accumulate(sizes)]

    def _file(self, number: int) -> Any:
        if number not in self._open:
            self._open[number] = self.store.parquet(self.files[number])
            if len(self._open) > OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]

    def _classes(self) -> dict[str, list[str]]:
        """Attribute -> the names of its two values, as the schema says for `datasets`."""
        try:
            features = json.loads((self.schema.metadata or {})[b"huggingface"])["info"]["features"]
            return {name: list(feature["names"]) for name, feature in features["attributes"].items() if name != "_type"}
        except (KeyError, ValueError, TypeError, AttributeError):
            return {}

    @cached_property
    def columns(self) -> Mapping[str, pa.DataType]:
        kinds = {field.name: field.type for field in self.schema if not _has_pixels(field.type) and field.name not in OWN}
        texts = {name: pa.string() for name in TEXTS if name in kinds and not pa.types.is_nested(kinds[name])}
        kinds = {name: kind for name, kind in kinds.items() if name not in TEXTS or name in texts} | texts
        kinds |= {name: pa.list_(pa.int8()) for name in LABELS if name in kinds}
        kinds |= {SOURCES: pa.list_(pa.string())} if SOURCES in kinds else {}
        return kinds | dict.fromkeys((SPLIT, STATE, STAGE, REASON), pa.string())

    def read_part(self, part: int, names: list[str]) -> Mapping[str, pa.Array]:
        with self.lock:
            table = self._file(part).read(columns=self._stored(names))
        return self._arrays(part, table, names, self.parts[part].rows)

    def _stored(self, names: list[str]) -> list[str]:
        """Those of the columns that are in the files."""
        return [name for name in names if name in self.columns and name in self.schema.names]

    def take_part(self, part: int, places: list[int], names: list[str]) -> list[dict[str, Any]]:
        """Columns of the rows at `places`: only their row groups are read."""
        lines: list[dict[str, Any]] = []
        for group, inside in self._by_group(part, places).items():
            with self.lock:
                table = self._file(part).read_row_group(group, columns=self._stored(names))
            rows = self.groups[part][group + 1] - self.groups[part][group]
            arrays = self._arrays(part, table, names, rows)
            lines += pa.table({name: arrays[name].take(pa.array(inside, pa.int64())) for name in names}).to_pylist()
        return lines

    def _by_group(self, part: int, places: list[int]) -> dict[int, list[int]]:
        """Row group -> places in it, for sorted places of a file."""
        starts = self.groups[part]
        groups: dict[int, list[int]] = {}
        for place in places:
            group = next(number for number in range(len(starts) - 1) if place < starts[number + 1])
            groups.setdefault(group, []).append(place - starts[group])
        return groups

    def _arrays(self, part: int, table: pa.Table, names: list[str], rows: int) -> dict[str, pa.Array]:
        arrays = {}
        for name in names:
            if name in table.column_names:
                column = table[name].combine_chunks() if table[name].num_chunks != 1 else table[name].chunk(0)
                is_labels = pa.types.is_struct(column.type) and name in (*LABELS, SOURCES)
                text = name in TEXTS and column.type != pa.string()
                arrays[name] = _as_list(column, self.columns[name]) if is_labels else column.cast(pa.string()) if text else column
            elif name == STATE:
                arrays[name] = pa.repeat(pa.scalar(KEPT), rows)
            elif name == SPLIT:
                arrays[name] = pa.repeat(pa.scalar(_split(self.files[part])), rows)
            else:
                arrays[name] = pa.nulls(rows, self.columns.get(name, pa.string()))
        return arrays

    def refusals(self) -> Refusals:
        return Refusals(pa.array([], pa.int64()), pa.array([], pa.string()), pa.array([], pa.string()))

    def image(self, row: int) -> bytes | None:
        part, place = self.part_of(row)
        if "image" not in self.schema.names:
            return None
        ((group, (inside,)),) = self._by_group(part, [place]).items()
        with self.lock:
            if (part, group) not in self._images:
                try:
                    column = self._file(part).read_row_group(group, columns=["image"])["image"]
                except (OSError, pa.ArrowException) as error:
                    self.unreadable[self.files[part]] = first_line(error)
                    return None
                self._images[part, group] = [_bytes(value) for value in column.to_pylist()]
                if len(self._images) > KEPT_GROUPS:
                    self._images.popitem(last=False)
            self._images.move_to_end((part, group))
            return self._images[part, group][inside]

    def stamp(self, row: int) -> str:
        """The file, its size and the time of its change, as they were when it was opened, and the row."""
        part, place = self.part_of(row)
        return f"{self._file_stamps[part]} {place}"

    @cached_property
    def _file_stamps(self) -> list[str]:
        stamps = []
        for name in self.files:
            changed = (self.store.folder / name).stat().st_mtime_ns if self.store.folder else 0
            stamps.append(f"{name} {self.store.size(name)} {changed}")
        return stamps

    def splits(self) -> dict[str, int]:
        """Split -> rows."""
        counts: dict[str, int] = {}
        for file, part in zip(self.files, self.parts, strict=True):
            counts[_split(file)] = counts.get(_split(file), 0) + part.rows
        return counts


def _bytes(value: Any) -> bytes | None:
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) else None


def _split(file: str) -> str:
    """`train` of `data/train-00000-of-00003.parquet`."""
    return file.rsplit("/", 1)[-1].removesuffix(".parquet").rsplit("-", 3)[0]


def _has_pixels(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or (pa.types.is_struct(kind) and any(pa.types.is_binary(field.type) for field in kind))


def _as_list(column: pa.StructArray, kind: pa.DataType) -> pa.Array:
    """A struct with a value for each attribute as a list of them; a label that is null becomes -1."""
    fields = [column.field(number) for number in range(column.type.num_fields)]
    if pa.types.is_integer(kind.value_type):
        matrix = np.stack([field.fill_null(UNKNOWN).cast(pa.int8()).to_numpy(zero_copy_only=False) for field in fields], 1)
        values = pa.array(matrix.ravel(), pa.int8())
    else:
        texts = np.stack([field.to_numpy(zero_copy_only=False) for field in fields], 1)
        values = pa.array(texts.ravel().tolist(), pa.string())
    offsets = pa.array(np.arange(len(column) + 1, dtype=np.int32) * len(fields))
    return pa.ListArray.from_arrays(offsets, values)
