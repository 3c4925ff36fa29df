"""What is in memory of a data set, and where its images are read.

Shapes: n rows of one data set, A attributes.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from mals.planning.column_texts import is_blank
from pretrain.data.errors import NoCaptions
from pretrain.data.labels import Classes


@dataclass(frozen=True)
class Request:
    """What the rows of a data set must have; see `ImageTextPairs.open`."""

    classes: Classes | None
    every: bool
    captions: bool
    confidence: str | None = None  # the column of numbers that weigh the rows
    partners: bool = False  # the hard partners of the rows
    drawn: bool = False  # a row has all captions of its image


class Strings:
    """Texts in two tensors, which processes share rather than copy."""

    def __init__(self, texts: pa.ChunkedArray) -> None:
        whole = pa.concat_arrays([chunk.cast(pa.large_string()) for chunk in texts.chunks] or [pa.array([], pa.large_string())])
        _, ends, data = whole.buffers()
        offsets = np.frombuffer(ends, np.int64)[whole.offset : whole.offset + len(whole) + 1] if len(whole) else np.zeros(1, np.int64)
        self.ends = torch.from_numpy(offsets - offsets[0])
        self.data = torch.from_numpy(np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]].copy())

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, at: int) -> str:
        first, end = self.ends[at : at + 2].tolist()
        return self.data[first:end].numpy().tobytes().decode()


class SeveralTexts:
    """One or more texts of each row, in memory that processes share."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self.texts = Strings(pa.chunked_array([pa.array([text for own in texts for text in own], pa.large_string())]))
        self.ends = torch.tensor([0, *(len(own) for own in texts)]).cumsum(0)  # [n+1] int64

    def __getitem__(self, at: int) -> list[str]:
        first, end = self.ends[at : at + 2].tolist()
        return [self.texts[number] for number in range(first, end)]

    def take(self, rows: Tensor) -> "SeveralTexts":
        """Those of these rows [m]."""
        return SeveralTexts([self[at] for at in rows.tolist()])

    def tensors(self) -> list[Tensor]:
        """What is in memory."""
        return [self.ends, self.texts.ends, self.texts.data]


@dataclass(frozen=True)
class Partners:
    """The hard partners of rows: images that are near and show something else, and their captions."""

    images: Tensor  # [n] int64: numbers in the source; -1 where a row has none
    captions: Strings

    def take(self, rows: Tensor) -> "Partners":
        """Those of these rows [m]."""
        texts = pa.array([self.captions[at] for at in rows.tolist()], pa.large_string())
        return Partners(self.images[rows], Strings(pa.chunked_array([texts])))

    def tensors(self) -> list[Tensor]:
        """What is in memory."""
        return [self.images, self.captions.ends, self.captions.data]


@dataclass(frozen=True)
class Columns:
    """The columns of one data set."""

    captions: Strings
    persons: Tensor  # [n] int64, from 0 on; a row without a person id is a person of its own
    labels: Tensor | None  # [n, A] int8
    images: Tensor  # [n] int64, from 0 on: the row's image in its source
    cameras: Tensor | None = None  # [n] int64, -1 unknown
    splits: Tensor | None = None  # [n] int64: positions in the splits that were opened; None where it was one
    scores: Tensor | None = None  # [n] float64: the numbers that weigh the rows, NaN unknown
    several: SeveralTexts | None = None  # all captions of each row's image, where epochs draw one
    partners: Partners | None = None  # the rows' hard partners, where they are needed

    def take(self, rows: Tensor, captions: Strings) -> "Columns":
        """These rows [m], with the captions [m]."""
        others = [None if column is None else column[rows] for column in (self.labels, self.cameras, self.splits, self.scores)]
        labels, cameras, splits, scores = others
        several = None if self.several is None else self.several.take(rows)
        partners = None if self.partners is None else self.partners.take(rows)
        return Columns(captions, self.persons[rows], labels, self.images[rows], cameras, splits, scores, several, partners)


class Source(Protocol):
    """The images of one data set, by their numbers."""

    @property
    def home(self) -> Path:
        """The folder of the set, in which what is computed from it may be kept."""
        ...

    @property
    def name(self) -> str:
        """Which of the sets with this home it is."""
        ...

    notes: Sequence[str]  # sentences about irregularities

    def image_bytes(self, at: int) -> bytes:
        """A whole image file."""
        ...

    def other_captions(self, at: int) -> list[str]:
        """All captions of an image."""
        ...

    def location(self, at: int) -> str:
        """The image's file, and its row in it, for messages."""
        ...

    def image_id(self, at: int) -> str:
        """The image's id, or its path where it has none."""
        ...

    def stamp(self, at: int) -> str:
        """A text that changes where the image's file does; raises OSError where there is none."""
        ...


def file_stamp(status: os.stat_result) -> str:
    """Size, inode, and the times of the last change of a file's content and of its entry, in ns: they change with the file."""
    return f"{status.st_size} {status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}"


def checked_captions(captions: pa.ChunkedArray, name: object, request: Request) -> pa.ChunkedArray:
    """Captions, "" where there is none; NoCaptions, which names the file, where each row must have one."""
    without = _blank(captions)
    empty, rows = pc.sum(without).as_py(), len(captions)
    if request.captions and empty == rows > 0:
        raise NoCaptions(f"{name} has no captions")
    if request.captions and empty:
        raise NoCaptions(f"{name}: {empty:,} of {rows:,} rows have no caption (row {pc.index(without, True).as_py()} is the first)", False)
    return pc.if_else(without, "", captions)


def _blank(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether each text shows nothing: it is null, or has only spaces, controls and the like."""
    blank = ~pc.fill_null(pc.match_substring_regex(texts, "[A-Za-z0-9]"), False).to_numpy()
    for at in np.flatnonzero(blank).tolist():  # few: almost every caption has a plain letter
        blank[at] = is_blank(texts[at].as_py())
    return pa.chunked_array([pa.array(blank)])


def person_numbers(persons: pa.ChunkedArray) -> Tensor:
    """[n] int64: the same number for the same person id, another one for each null."""
    numbers = id_numbers(persons)
    alone = numbers < 0
    numbers[alone] = int(numbers.max()) + 1 + torch.arange(int(alone.sum()))
    return numbers


def id_numbers(ids: pa.ChunkedArray) -> Tensor:
    """[n] int64: the same number for the same id, from 0 on in the order of their first rows; -1 for null."""
    coded = ids.combine_chunks().dictionary_encode()
    return torch.from_numpy(pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64))


def number_through(parts: Sequence[Tensor]) -> Tensor:
    """Numbers of several data sets, each from 0 on, made different: [N]."""
    shifted, seen = [], 0
    for part in parts:
        shifted.append(part + seen)
        seen += int(part.max()) + 1
    return torch.cat(shifted)
