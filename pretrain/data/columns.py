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
from pretrain.data.partners import Partners
from pretrain.data.strings import SeveralTexts, Strings


@dataclass(frozen=True)
class Request:
    """What the rows of a data set must have; see `ImageTextPairs.open`."""

    classes: Classes | None
    every: bool
    captions: bool
    confidence: str | None = None  # the column of numbers that weigh the rows
    drawn: bool = False  # a row has all captions of its image
    partners: bool = False  # rows have their hard partners


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
    partners: Partners | None = None  # the rows' hard partners, where they are requested

    def take(self, rows: Tensor, captions: Strings) -> "Columns":
        """These rows [m], with the captions [m]."""
        others = [None if column is None else column[rows] for column in (self.labels, self.cameras, self.splits, self.scores)]
        labels, cameras, splits, scores = others
        several = None if self.several is None else self.several.take(rows)
        images = self.images[rows]
        partners = None if self.partners is None else self.partners.take(rows, images)
        return Columns(captions, self.persons[rows], labels, images, cameras, splits, scores, several, partners)


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
