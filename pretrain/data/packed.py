"""Data sets that `mals pack` wrote: Parquet files with images, captions, person ids, attribute labels and cameras.

Shapes: n rows, A attributes, G row groups.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from mals.errors import UserError
from mals.planning.column_texts import is_list_of_texts
from pretrain.data.byte_ranges import byte_ranges
from pretrain.data.columns import Columns, Request, checked_captions, file_stamp, id_numbers, person_numbers
from pretrain.data.confidence import check_column, scores_of
from pretrain.data.errors import NoSplit
from pretrain.data.labels import check_classes, column_labels, known_labels
from pretrain.data.partners import read_partners
from pretrain.data.strings import STRING, SeveralTexts, Strings

SCORE = "confidence"  # our name of the column that data.confidence names
OPEN = 128  # files that a process holds open
CAPTIONS = ["captions.list.element.text", "captions.list.element.source"]  # of the column captions


class Packed:
    """The images of Parquet files; a process opens each file when it first needs it."""

    notes: Sequence[str] = ()

    def __init__(self, files: Sequence[Path], groups: NDArray[np.int64]) -> None:
        self.files, self.groups = list(files), groups  # [G, 3]: the file's number, the row group's in it, the first row
        self.firsts = np.ascontiguousarray(groups[:, 2])
        self._opened: dict[int, pq.ParquetFile] = {}
        self._ranges: dict[int, NDArray[np.int64] | None] = {}  # of the row groups seen so far
        self._ids: dict[int, pa.ChunkedArray] = {}  # of the last row group whose ids were read
        self._stamps: dict[int, str] = {}  # of the files

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_opened": {}, "_ranges": {}, "_ids": {}}

    def image_bytes(self, at: int) -> bytes:
        group = self._group(at)
        number, of_file, first = (int(number) for number in self.groups[group])
        if group not in self._ranges:
            self._ranges[group] = byte_ranges(self._file(number), self.files[number], of_file, "image.bytes")
        known = self._ranges[group]
        if known is None:
            (image,) = self._read(at, ["image.bytes"], "image")
            data = image and image["bytes"]
        else:
            start, length = known[at - first].tolist()
            with self.files[number].open("rb", buffering=0) as file:
                file.seek(max(0, start))
                data = file.read(length) if length >= 0 else None
        if data is None:
            raise ValueError("there is none")
        return data

    def other_captions(self, at: int) -> list[str]:
        several = _several_captions(self._file(int(self.groups[self._group(at), 0])).schema_arrow)
        return _texts(self._read(at, *several)[0]) if several else []

    def location(self, at: int) -> str:
        number = int(self.groups[self._group(at), 0])
        first = int(self.groups[np.searchsorted(self.groups[:, 0], number), 2])
        return f"{self.files[number]}, row {at - first}"

    def image_id(self, at: int) -> str:
        file = self._file(int(self.groups[self._group(at), 0]))
        if "id" not in file.schema_arrow.names:
            return self.location(at)
        group = self._group(at)
        if group not in self._ids:  # of one row group, since ids are asked for in the order of the rows
            number, of_file, _ = (int(number) for number in self.groups[group])
            self._ids = {group: self._file(number).read_row_group(of_file, columns=["id"], use_threads=False)["id"]}
        return str(self._ids[group][at - int(self.firsts[group])].as_py())

    def stamp(self, at: int) -> str:
        number = int(self.groups[self._group(at), 0])
        if number not in self._stamps:
            self._stamps[number] = f"{self.files[number].name} {file_stamp(self.files[number].stat())}"
        return f"{at} {self._stamps[number]}"

    @property
    def home(self) -> Path:
        folder = self.files[0].parent
        return folder.parent if folder.name == "data" else folder

    @property
    def name(self) -> str:
        return "" if self.files[0].parent.name == "data" else self.files[0].name

    def _group(self, at: int) -> int:
        return int(np.searchsorted(self.firsts, at, side="right")) - 1

    def _read(self, at: int, leaves: list[str], column: str) -> list[Any]:
        """One value of a column."""
        file, group, first = (int(number) for number in self.groups[self._group(at)])
        table = self._file(file).read_row_group(group, columns=leaves, use_threads=False)
        return table[column].slice(at - first, 1).to_pylist()

    def _file(self, number: int) -> pq.ParquetFile:
        if number not in self._opened:
            if len(self._opened) >= OPEN:
                self._opened.pop(next(iter(self._opened))).close()
            self._opened[number] = pq.ParquetFile(self.files[number], memory_map=True)
        return self._opened[number]


def open_packed(path: Path, splits: Sequence[str], request: Request) -> tuple[Packed, Columns]:
    """The rows of splits of a packed folder, or of one Parquet file."""
    by_split = [_files(path, split) for split in splits]
    files, classes = [file for part in by_split for file in part], request.classes
    groups: list[tuple[int, int, int]] = []
    tables: list[pa.Table] = []
    labels: list[NDArray[np.int8]] = []
    rows = 0
    for number, file in enumerate(files):
        try:
            opened = pq.ParquetFile(file, memory_map=True)
            table = _table(opened, file, request)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UserError(f"{file} is not a readable Parquet file: {str(error).splitlines()[0]}") from None
        tables.append(table.select(["caption", "person", "camera", *([SCORE] if request.confidence else [])]))
        if classes is not None and len(table):
            labels.append(np.stack([column_labels(pc.struct_field(table["attributes"], [name]), name, file) for name in classes], 1))
        for group in range(opened.num_row_groups):
            groups.append((number, group, rows))
            rows += opened.metadata.row_group(group).num_rows
    if not rows:
        raise UserError(f"{path} is empty: its split {' and '.join(splits)} has no row")
    table = pa.concat_tables(tables)
    known = None if classes is None else known_labels(np.concatenate(labels), path)
    cameras = id_numbers(table["camera"])
    sizes = torch.tensor([sum(len(table) for table, file in zip(tables, files, strict=True) if file in part) for part in by_split])
    split_numbers = torch.arange(len(splits)).repeat_interleave(sizes) if len(splits) > 1 else None
    images, scores = torch.arange(rows), scores_of(table[SCORE]) if request.confidence else None
    columns = Columns(Strings(table["caption"]), person_numbers(table["person"]), known, images, cameras, split_numbers, scores)
    if request.partners:
        columns = replace(columns, partners=read_partners(files))
    if request.drawn:
        columns = replace(columns, several=SeveralTexts(_all_captions(columns, files)))
    return Packed(files, np.array(groups, np.int64)), _row_per_caption(columns, files) if request.every else columns


def _row_per_caption(columns: Columns, files: Sequence[Path]) -> Columns:
    """A row for each different caption of an image, the first one first."""
    captions = _all_captions(columns, files)
    images = columns.images.repeat_interleave(torch.tensor([len(texts) for texts in captions]))
    return columns.take(images, Strings.of(text for texts in captions for text in texts))


def _all_captions(columns: Columns, files: Sequence[Path]) -> list[list[str]]:
    """The different captions of each image, the first one first."""
    captions: list[list[str]] = []
    for file in files:
        opened = pq.ParquetFile(file, memory_map=True)
        several = _several_captions(opened.schema_arrow)
        more = opened.read(columns=several[0])[several[1]].to_pylist() if several else [None] * opened.metadata.num_rows
        captions += [list(dict.fromkeys([columns.captions[len(captions) + at], *_texts(value)])) for at, value in enumerate(more)]
    return captions


def _several_captions(schema: pa.Schema) -> tuple[list[str], str] | None:
    """The leaves and the name of the column with all captions of an image: `captions`, or `caption` where it holds lists; or None."""
    if "captions" in schema.names:
        return CAPTIONS, "captions"
    is_list = "caption" in schema.names and is_list_of_texts(schema.field("caption").type)
    return (["caption"], "caption") if is_list else None


def _texts(captions: Sequence[dict[str, str] | str | None] | None) -> list[str]:
    """The texts of a value of a column of several captions, without the prompt that the image was made from."""
    entries = [{"text": entry, "source": ""} if not isinstance(entry, dict) else entry for entry in captions or ()]
    return [entry["text"] for entry in entries if entry["text"] and entry["source"] != "prompt"]


def _table(opened: pq.ParquetFile, file: Path, request: Request) -> pa.Table:
    """The columns caption, person, camera and, where requested, attributes and SCORE of a file; UserError where one is malformed."""
    schema = opened.schema_arrow
    if "image" not in schema.names:
        raise UserError(f"{file} has no images: there is no column image, only {', '.join(schema.names)}")
    _check_kinds(file, schema)
    if request.classes is not None:
        check_classes(file, schema, request.classes)
    if request.confidence:
        check_column(file, schema, request.confidence)
    texts = ("caption", "person", "camera")
    names = [name for name in (*texts, *(["attributes"] if request.classes is not None else [])) if name in schema.names]
    table, rows = opened.read(columns=names), opened.metadata.num_rows
    columns = {name: table[name] for name in names}
    if "caption" in names and is_list_of_texts(schema.field("caption").type):  # the first one; see `_several_captions` for the others
        columns["caption"] = pa.chunked_array(
            [pa.array([next(iter(_texts(value)), None) for value in table["caption"].to_pylist()], STRING)]
        )
    for name in texts:
        columns[name] = columns[name].cast(STRING) if name in names else pa.chunked_array([pa.nulls(rows, STRING)])
    if request.confidence:
        columns[SCORE] = opened.read(columns=[request.confidence])[request.confidence].cast(pa.float64())
    return pa.table(columns | {"caption": checked_captions(columns["caption"], file, request)})


def _check_kinds(file: Path, schema: pa.Schema) -> None:
    """UserError where a column holds something that cannot be read as what its name says."""
    text = (pa.types.is_nested, "not texts")
    wrong: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
        "image": (lambda kind: not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0, "not images with their bytes"),
        "caption": (lambda kind: pa.types.is_nested(kind) and not is_list_of_texts(kind), "not texts"),
        "person": text,
        "camera": text,
        "captions": (lambda kind: not {"text", "source"} <= _fields(kind), "not texts with their source"),
    }
    for name, (is_wrong, reason) in wrong.items():
        if name in schema.names and is_wrong(schema.field(name).type):
            raise UserError(f"{file}: the column {name} holds {schema.field(name).type}, {reason}")


def _fields(kind: pa.DataType) -> set[str]:
    """What each element of a list of this type holds."""
    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else None
    return {field.name for field in inner} if inner is not None and pa.types.is_struct(inner) else set()


def split_names(path: Path) -> list[str]:
    """The splits of a packed folder, or of the run that it is in; none of a single file, and where there is no packed data set."""
    return sorted({_split(file) for folder in _folders(path) for file in folder.glob("*.parquet")})


def _folders(path: Path) -> tuple[Path, Path]:
    """Where the Parquet files of a packed folder, or of a run, are."""
    return path / "data", path / "dataset" / "data"


def _split(file: Path) -> str:
    return file.name.rsplit("-", 3)[0]


def _files(path: Path, split: str) -> list[Path]:
    """The Parquet files of a split of a packed folder, or of the run that it is in."""
    if path.suffix == ".parquet" and path.is_file():
        return [path]
    for folder in _folders(path):
        files = sorted(folder.glob("*.parquet"))
        splits = sorted({_split(file) for file in files})
        if own := [file for file in files if _split(file) == split]:
            return own
        if files:
            raise NoSplit(f"{path} has no split {split}, only {', '.join(splits)}")
    if not path.exists():
        raise UserError(f"there is no data set {path}")
    if path.is_file():
        raise UserError(f"{path} is no data set: give a folder that `mals pack` made, a .parquet file of one, or a JSON list (.json)")
    raise UserError(f"{path} holds no packed data set: there is no Parquet file in {path / 'data'}; `mals pack` makes them")
