"""Pictures with captions, of one or several data sets, as rows at random: what `mals pack` writes, and the JSON lists of public data sets.

Captions, persons and labels are in memory that the workers of a loader share; pictures are read where they lie, one row at a time.

Shapes: N rows of all data sets together, A attributes.
"""

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mals.errors import UserError
from mals.planning import caption_files as lists
from pretrain.data.labels import Classes, check_classes, column_labels, known_labels, list_labels
from pretrain.data.sources import Place, local_path
from pretrain.data.spans import spans
from pretrain.method import NEED

OPEN = 128  # files that a worker holds open
ADDRESS = re.compile(r"\s*<\S+ object at 0x[0-9a-f]+>")
SAID = ["captions.list.element.text", "captions.list.element.source"]  # of the column captions


@dataclass(frozen=True)
class Asked:
    """What rows have to have, and who wants it; see `ImageTextPairs.open`."""

    classes: Classes | None
    need: str
    every: bool
    captions: bool
    need_captions: str


class NoSplit(UserError):
    """A data set has other splits."""


class NoCaptions(UserError):
    """The pictures of a data set have no caption, not one of them."""


class Strings:
    """Texts in two tensors, which processes share rather than copy."""

    def __init__(self, texts: pa.ChunkedArray) -> None:
        whole = pa.concat_arrays([chunk.cast(pa.large_string()) for chunk in texts.chunks] or [pa.array([], pa.large_string())])
        _, ends, data = whole.buffers()
        found = np.frombuffer(ends, np.int64)[whole.offset : whole.offset + len(whole) + 1] if len(whole) else np.zeros(1, np.int64)
        self.ends = torch.from_numpy(found - found[0])
        self.data = torch.from_numpy(np.frombuffer(data or b"", np.uint8)[found[0] : found[-1]].copy())

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, at: int) -> str:
        first, end = self.ends[at : at + 2].tolist()
        return self.data[first:end].numpy().tobytes().decode()


@dataclass
class Columns:
    """What is in memory of one data set."""

    captions: Strings
    persons: Tensor  # [n] int64, from 0 on; a row without a person is a person of its own
    labels: Tensor | None  # [n, A] int8
    images: Tensor  # [n] int64, from 0 on: the row's picture in its source


class Source(Protocol):
    """Pictures of one data set."""

    def image_bytes(self, at: int) -> bytes:
        """A whole picture file."""
        ...

    def other_captions(self, at: int) -> list[str]:
        """All captions of a picture."""
        ...

    def location(self, at: int) -> str:
        """The picture's place, for people."""
        ...

    def image_id(self, at: int) -> str:
        """The picture's id, or its path where it has none."""
        ...


class ImageTextPairs:
    """Rows of one or several data sets, numbered through; persons of different ones are different."""

    def __init__(self, parts: Sequence[tuple[Source, Columns]]) -> None:
        self.sources = [source for source, _ in parts]
        self.columns = [columns for _, columns in parts]
        self.starts = np.cumsum([0, *(len(columns.captions) for columns in self.columns)])
        self.persons = _through([columns.persons for columns in self.columns])  # [N] int64
        self.images = _through([columns.images for columns in self.columns])  # [N] int64: rows of one number show one picture
        labels = [columns.labels for columns in self.columns if columns.labels is not None]
        self.labels = torch.cat(labels) if len(labels) == len(parts) else None  # [N, A] int8
        for columns in self.columns:
            columns.labels = None

    @classmethod
    def open(
        cls,
        places: Sequence[Place],
        split: str = "train",
        classes: Classes | None = None,
        need: str = NEED,
        every: bool = False,
        captions: bool = True,
        need_captions: str = NEED,
    ) -> "ImageTextPairs":
        """The rows of a split of every place, JSON lists whole, with labels where `classes` are given.

        A packed picture is one row, with `every` one for each of its captions; a list has a row a caption anyway. UserError where there is
        no row, no caption, or not these labels; `need` says then who wants labels, "the loss iac needs", and `need_captions` who wants
        captions. Without `captions` a picture needs none, and one without has the caption "".
        """
        if not places:
            raise UserError("there is no data set to train on")
        asked = Asked(classes, need, every, captions, need_captions)
        return cls([_opened(place, split, asked) for place in places])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def image_bytes(self, row: int) -> bytes:
        """A whole picture file; raises what reading it raises."""
        number, at = self._place(row)
        return self.sources[number].image_bytes(int(self.columns[number].images[at]))

    def caption(self, row: int) -> str:
        number, at = self._place(row)
        return self.columns[number].captions[at]

    def other_captions(self, row: int) -> list[str]:
        """Further captions of the same picture, by other captioners."""
        number, at = self._place(row)
        said = self.columns[number].captions[at]
        return [text for text in self.sources[number].other_captions(int(self.columns[number].images[at])) if text != said]

    def location(self, row: int) -> str:
        """The place of the row's picture, for people."""
        number, at = self._place(row)
        return self.sources[number].location(int(self.columns[number].images[at]))

    def image_id(self, row: int) -> str:
        """The id of the row's picture."""
        number, at = self._place(row)
        return self.sources[number].image_id(int(self.columns[number].images[at]))

    def captions(self) -> Iterator[str]:
        """All captions in the order of the rows."""
        for columns in self.columns:
            yield from (columns.captions[at] for at in range(len(columns.captions)))

    def digest(self, number: int) -> str:
        """A hash of the rows of one data set: captions, persons, labels and the numbers of their pictures, not what these show."""
        columns, first = self.columns[number], int(self.starts[number])
        labels = [] if self.labels is None else [self.labels[first : first + len(columns.captions)]]
        found = hashlib.sha256()
        for tensor in (columns.captions.data, columns.captions.ends, columns.persons, columns.images, *labels):
            found.update(tensor.contiguous().numpy().data)
        return found.hexdigest()

    def subset(self, chosen: Tensor) -> "ImageTextPairs":
        """The rows of which `chosen` [N] is True, some of every data set."""
        parts: list[tuple[Source, Columns]] = []
        for source, columns, first in zip(self.sources, self.columns, self.starts.tolist(), strict=False):
            (own,) = chosen[first : first + len(columns.captions)].nonzero(as_tuple=True)
            said = pa.array([columns.captions[at] for at in own.tolist()], pa.large_string())
            labels = None if self.labels is None else self.labels[first + own]
            parts.append((source, Columns(Strings(pa.chunked_array([said])), columns.persons[own], labels, columns.images[own])))
        found = ImageTextPairs(parts)
        found.images = found.images.unique(return_inverse=True)[1]
        return found

    def _place(self, row: int) -> tuple[int, int]:
        """The data set and the row in it."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        return number, row - int(self.starts[number])


def decode_image(file: bytes) -> NDArray[np.uint8]:
    """A picture file as pixels [h, w, 3], red first; a JPEG by the faster library, which gives the same bits and leaves faulty ones."""
    if simplejpeg.is_jpeg(file):
        with suppress(ValueError):
            return simplejpeg.decode_jpeg(file)
    with Image.open(io.BytesIO(file)) as picture:
        return np.asarray(picture.convert("RGB"))


def first_line(error: BaseException) -> str:
    """The first line of what an error says, without the addresses of objects, which tell a person nothing."""
    said = ADDRESS.sub("", (str(error).splitlines() or [""])[0]).strip()
    return said or type(error).__name__


class Decoder:
    """`decode_image` for pictures that are done with before the next: all in the same memory, which takes a tenth less time."""

    def __init__(self) -> None:
        self.room = bytearray(1)

    def __call__(self, file: bytes) -> NDArray[np.uint8]:
        """[h, w, 3], until the next call."""
        if simplejpeg.is_jpeg(file):
            with suppress(ValueError):  # a faulty one, or one that wants more room
                return simplejpeg.decode_jpeg(file, buffer=self.room)
        pixels = decode_image(file)
        if pixels.nbytes > len(self.room):
            self.room = bytearray(pixels.nbytes)
        return pixels


def _through(parts: Sequence[Tensor]) -> Tensor:
    """Numbers of several data sets, each from 0 on, numbered through: [N]."""
    found, seen = [], 0
    for part in parts:
        found.append(part + seen)
        seen += int(part.max()) + 1
    return torch.cat(found)


def _opened(place: Place, split: str, asked: Asked) -> tuple[Source, Columns]:
    path, images = local_path(place)
    if path.suffix == ".json":
        return _listed(path, images or path.parent, asked)
    if images:
        raise UserError(f"{path} is no JSON list: its pictures are in its own files, not in {images}")
    return _packed(path, split, asked)


class Packed:
    """The pictures of Parquet files; a process opens each file when it first needs it."""

    def __init__(self, files: Sequence[Path], groups: NDArray[np.int64]) -> None:
        self.files, self.groups = list(files), groups  # [G, 3]: the file's number, the row group's in it, the first row
        self.firsts = np.ascontiguousarray(groups[:, 2])
        self._opened: dict[int, pq.ParquetFile] = {}
        self._spans: dict[int, NDArray[np.int64] | None] = {}  # of the row groups seen so far

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_opened": {}, "_spans": {}}

    def image_bytes(self, at: int) -> bytes:
        group = self._group(at)
        number, of_file, first = (int(number) for number in self.groups[group])
        if group not in self._spans:
            self._spans[group] = spans(self._file(number), self.files[number], of_file, "image.bytes")
        known = self._spans[group]
        if known is None:
            (found,) = self._read(at, ["image.bytes"], "image")
            data = found and found["bytes"]
        else:
            start, length = known[at - first].tolist()
            with self.files[number].open("rb", buffering=0) as file:
                file.seek(max(0, start))
                data = file.read(length) if length >= 0 else None
        if data is None:
            raise ValueError("there is none")
        return data

    def other_captions(self, at: int) -> list[str]:
        file = self._file(int(self.groups[self._group(at), 0]))
        if "captions" not in file.schema_arrow.names:
            return []
        (found,) = self._read(at, SAID, "captions")
        return _said(found)

    def location(self, at: int) -> str:
        number = int(self.groups[self._group(at), 0])
        first = int(self.groups[np.searchsorted(self.groups[:, 0], number), 2])
        return f"{self.files[number]}, row {at - first}"

    def image_id(self, at: int) -> str:
        file = self._file(int(self.groups[self._group(at), 0]))
        return str(self._read(at, ["id"], "id")[0]) if "id" in file.schema_arrow.names else self.location(at)

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


def _said(captions: list[dict[str, str]] | None) -> list[str]:
    """The texts of a value of `captions`, but those that the picture was made from."""
    return [caption["text"] for caption in captions or () if caption["text"] and caption["source"] != "prompt"]


def _packed(path: Path, split: str, asked: Asked) -> tuple[Source, Columns]:
    files, rows, classes = _files(path, split), 0, asked.classes
    groups: list[tuple[int, int, int]] = []
    said: list[pa.Array] = []
    persons: list[pa.Array] = []
    labels: list[NDArray[np.int8]] = []
    for number, file in enumerate(files):
        try:
            opened = pq.ParquetFile(file, memory_map=True)
            table = _table(opened, file, asked)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{file} is not a readable Parquet file: {str(error).splitlines()[0]}") from None
        said += table["caption"].chunks
        persons += table["person"].chunks
        if classes is not None and len(table):
            labels.append(np.stack([column_labels(pc.struct_field(table["attributes"], [name]), name, file) for name in classes], 1))
        for group in range(opened.num_row_groups):
            groups.append((number, group, rows))
            rows += opened.metadata.row_group(group).num_rows
    if not rows:
        raise UserError(f"{path} is empty: its split {split} has no row")
    known = None if classes is None else known_labels(np.concatenate(labels), path, asked.need)
    found = Columns(Strings(pa.chunked_array(said)), _numbers(pa.chunked_array(persons)), known, torch.arange(rows))
    return Packed(files, np.array(groups, np.int64)), _each(found, files) if asked.every else found


def _each(columns: Columns, files: Sequence[Path]) -> Columns:
    """A row for each caption of a picture, the first one first, each once."""
    said: list[list[str]] = []
    for file in files:
        opened = pq.ParquetFile(file, memory_map=True)
        several = "captions" in opened.schema_arrow.names
        more = opened.read(columns=SAID)["captions"].to_pylist() if several else [None] * opened.metadata.num_rows
        said += [list(dict.fromkeys([columns.captions[len(said) + at], *_said(found)])) for at, found in enumerate(more)]
    pictures = columns.images.repeat_interleave(torch.tensor([len(texts) for texts in said]))
    texts = pa.chunked_array([pa.array([text for texts in said for text in texts], pa.large_string())])
    labels = None if columns.labels is None else columns.labels[pictures]
    return Columns(Strings(texts), columns.persons[pictures], labels, pictures)


def _table(opened: pq.ParquetFile, file: Path, asked: Asked) -> pa.Table:
    """The columns caption, person and, where labels are wanted, attributes of a file; UserError where one is not as it should be."""
    schema = opened.schema_arrow
    if "image" not in schema.names:
        raise UserError(f"{file} has no pictures: there is no column image, only {', '.join(schema.names)}")
    _check_kinds(file, schema)
    if asked.classes is not None:
        check_classes(file, schema, asked.classes, asked.need)
    wanted = [name for name in ("caption", "person", *(["attributes"] if asked.classes is not None else [])) if name in schema.names]
    table, rows = opened.read(columns=wanted), opened.metadata.num_rows
    found = {name: table[name] for name in wanted}
    for name in ("caption", "person"):
        found[name] = found[name].cast(pa.large_string()) if name in wanted else pa.chunked_array([pa.nulls(rows, pa.large_string())])
    return pa.table(found | {"caption": _captions(found["caption"], file, asked)})


def _captions(found: pa.ChunkedArray, file: Path, asked: Asked) -> pa.ChunkedArray:
    """Captions, "" where there is none; UserError where each row has to have one."""
    without = pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(found)), 0), True)
    empty, rows = pc.sum(without).as_py(), len(found)
    if asked.captions and empty == rows > 0:
        raise NoCaptions(f"{file} has no captions, which {asked.need_captions}")
    if asked.captions and empty:
        first = pc.index(without, True).as_py()
        told = f"{empty:,} of {rows:,} rows have no caption (row {first} is the first)"
        raise UserError(f"{file}: {told}, which {asked.need_captions}")
    return pc.fill_null(found, "")


def _check_kinds(file: Path, schema: pa.Schema) -> None:
    """UserError where a column holds something that cannot be read as what its name says."""
    text = (pa.types.is_nested, "not texts")
    wrong = {
        "image": (lambda kind: not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0, "not pictures with their bytes"),
        "caption": text,
        "person": text,
        "captions": (lambda kind: not {"text", "source"} <= _parts(kind), "not texts with their source"),
    }
    for name, (is_wrong, wanted) in wrong.items():
        if name in schema.names and is_wrong(schema.field(name).type):
            raise UserError(f"{file}: the column {name} holds {schema.field(name).type}, {wanted}")


def _parts(kind: pa.DataType) -> set[str]:
    """What each element of a list of this type holds."""
    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else None
    return {field.name for field in inner} if inner is not None and pa.types.is_struct(inner) else set()


def _files(path: Path, split: str) -> list[Path]:
    """The Parquet files of a split of a packed folder, or of the run that it is in."""
    if path.suffix == ".parquet" and path.is_file():
        return [path]
    for folder in (path / "data", path / "dataset" / "data"):
        files = sorted(folder.glob("*.parquet"))
        splits = sorted({file.name.rsplit("-", 3)[0] for file in files})
        if found := [file for file in files if file.name.rsplit("-", 3)[0] == split]:
            return found
        if files:
            raise NoSplit(f"{path} has no split {split}, only {', '.join(splits)}")
    if not path.exists():
        raise UserError(f"there is no data set {path}")
    raise UserError(f"{path} holds no packed data set: there is no Parquet file in {path / 'data'}; `mals pack` makes them")


def _numbers(persons: pa.ChunkedArray) -> Tensor:
    """[n] int64: the same number for the same name, another one for each null."""
    coded = persons.combine_chunks().dictionary_encode()
    found = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    alone = found < 0
    found[alone] = len(coded.dictionary) + np.arange(alone.sum())
    return torch.from_numpy(found)


class Listed:
    """The picture files of a JSON list, each once."""

    def __init__(self, images: Path, paths: Strings) -> None:
        self.images, self.paths = images, paths

    def image_bytes(self, at: int) -> bytes:
        return (self.images / self.paths[at]).read_bytes()

    def other_captions(self, at: int) -> list[str]:
        return []

    def location(self, at: int) -> str:
        return str(self.images / self.paths[at])

    def image_id(self, at: int) -> str:
        return self.paths[at]


def _listed(file: Path, images: Path, asked: Asked) -> tuple[Source, Columns]:
    """A list of MALS, CUHK-PEDES, ICFG-PEDES or RSTPReid: a row a caption; without a person the picture is one."""
    table = pa.concat_tables(lists.read(file, captions=False))
    said = _captions(table["caption"], file, asked)
    paths = table["init_image"].combine_chunks().dictionary_encode()
    source = Listed(images, Strings(pa.chunked_array([paths.dictionary])))
    if not Path(source.location(0)).is_file():
        raise UserError(f"the pictures of {file} are not in {images}: there is no {source.location(0)}; give the folder that they are in")
    labels = None if asked.classes is None else known_labels(list_labels(file, asked.classes, asked.need), file, asked.need)
    persons = pc.coalesce(table["person"], pc.binary_join_element_wise("picture", table["init_image"], " "))
    pictures = torch.from_numpy(paths.indices.to_numpy().astype(np.int64))
    return source, Columns(Strings(said), _numbers(persons), labels, pictures)
