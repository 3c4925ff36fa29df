"""Images with captions, of one or several data sets, by row: packed data sets of `mals pack`, JSON lists of public data sets, and folders
of image files.

Captions, persons and labels are in memory that the workers of a loader share; images are read where they lie, one row at a time.

Shapes: N rows of all data sets together, A attributes.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mals.errors import UserError
from mals.planning.json_lists import is_list
from pretrain import ranks
from pretrain.data.columns import Columns, Request, Source, number_through
from pretrain.data.confidence import check_scores, row_weights
from pretrain.data.labels import Classes
from pretrain.data.listed import open_listed
from pretrain.data.packed import open_packed
from pretrain.data.plain_folder import is_plain_folder, open_folder
from pretrain.data.sources import DatasetAddress, local_path
from pretrain.data.strings import SeveralTexts, Strings

log = logging.getLogger(__name__)


class ImageTextPairs:
    """Rows of one or several data sets: each an image with a caption, a person and perhaps labels; persons of different sets differ."""

    def __init__(self, parts: Sequence[tuple[Source, Columns]]) -> None:
        columns = [columns for _, columns in parts]
        self.sources = [source for source, _ in parts]
        self.starts = np.cumsum([0, *(len(part.captions) for part in columns)])
        self.persons = number_through([part.persons for part in columns])  # [N] int64
        self.images = number_through([part.images for part in columns])  # [N] int64: rows of one number show the same image
        self.labels = _joined([part.labels for part in columns])  # [N, A] int8, -1 unknown
        self.cameras = _joined([part.cameras for part in columns])  # [N] int64, -1 unknown
        self.splits = _joined([part.splits for part in columns])  # [N] int64: positions in the splits that were opened, if several were
        self.scores = _joined([part.scores for part in columns])  # [N] float64, NaN unknown: what the rows are weighed by
        self.weights: Tensor | None = None  # [N] float32: how much each row counts in the losses; None: all the same
        self.columns = [replace(part, labels=None, cameras=None, splits=None, scores=None) for part in columns]

    @classmethod
    def open(
        cls,
        places: Sequence[DatasetAddress],
        split: str | Sequence[str] = "train",
        classes: Classes | None = None,
        every: bool = False,
        captions: bool = True,
        confidence: str | None = None,
        drawn: bool = False,
        partners: bool = False,
    ) -> "ImageTextPairs":
        """The rows of a split of every data set, of JSON lists all rows, with labels where `classes` are given.

        Of several splits the persons are numbered jointly, and `splits` says which row is of which. A packed image is one row, with `every`
        one for each of its captions, and with `drawn` one that has them all; a list has a row for each caption anyway. Raises UserError
        where there is no row, NoCaptions where not every row has a caption, NoLabels where the labels are missing. Without `captions` rows
        need none: a missing one is "". `confidence` names the column of the `scores`, UserError where a set has none of numbers. With
        `partners` packed rows have the hard partners that they name. What is irregular in the data is logged, and is an error where images
        of a list are missing.
        """
        if not places:
            raise UserError("there is no data set to train on")
        splits = (split,) if isinstance(split, str) else tuple(split)
        pairs = cls([_open(place, splits, Request(classes, every, captions, confidence, drawn, partners)) for place in places])
        for note in [note for source in pairs.sources for note in source.notes] if ranks.is_main() else ():
            log.warning("%s", note)
        return pairs

    def __len__(self) -> int:
        return int(self.starts[-1])

    def image_bytes(self, row: int) -> bytes:
        """A whole image file; raises what reading it raises."""
        number, at = self._place(row)
        return self.sources[number].image_bytes(int(self.columns[number].images[at]))

    def caption(self, row: int) -> str:
        number, at = self._place(row)
        return self.columns[number].captions[at]

    def all_captions(self, row: int) -> list[str]:
        """The row's caption, or all of its image if the rows were opened with `drawn`, the row's own first."""
        number, at = self._place(row)
        several = self.columns[number].several
        return [self.columns[number].captions[at]] if several is None else several[at]

    def other_captions(self, row: int) -> list[str]:
        """Further captions of the same image, by other captioners."""
        number, at = self._place(row)
        own = self.columns[number].captions[at]
        return [text for text in self.sources[number].other_captions(int(self.columns[number].images[at])) if text != own]

    def partner(self, row: int) -> tuple[bytes, str] | None:
        """The image file and the caption of the row's hard partner, None where it has none; raises what reading the file raises."""
        number, at = self._place(row)
        partners = self.columns[number].partners
        image = -1 if partners is None else int(partners.images[at])
        return None if partners is None or image < 0 else (self.sources[number].image_bytes(image), partners.captions[at])

    def partnered_rows(self) -> int:
        """How many rows have a hard partner."""
        return sum(int((columns.partners.images >= 0).sum()) for columns in self.columns if columns.partners is not None)

    def location(self, row: int) -> str:
        """The place of the row's image, for messages."""
        number, at = self._place(row)
        return self.sources[number].location(int(self.columns[number].images[at]))

    def image_id(self, row: int) -> str:
        """The id of the row's image."""
        number, at = self._place(row)
        return self.sources[number].image_id(int(self.columns[number].images[at]))

    def stamp(self, row: int) -> str:
        """A text that changes where the file of the row's image does; raises OSError where there is none."""
        number, at = self._place(row)
        return self.sources[number].stamp(int(self.columns[number].images[at]))

    def captions(self) -> Iterator[str]:
        """All captions in the order of the rows."""
        for columns in self.columns:
            texts = columns.captions if columns.several is None else columns.several.texts
            yield from (texts[at] for at in range(len(texts)))

    def captioned_rows(self) -> Tensor:
        """The rows whose caption is not empty: int64, ascending."""
        lengths = [columns.captions.ends.diff() for columns in self.columns]
        return torch.cat(lengths).nonzero()[:, 0]

    def tensors(self) -> list[Tensor]:
        """All columns in memory, which worker processes share."""
        columns = [self.persons, self.images, self.labels, self.cameras, self.splits, self.scores, self.weights]
        for part in self.columns:
            columns += [*part.captions.tensors(), part.persons, part.images]
            columns += [tensor for texts in (part.several, part.partners) if texts is not None for tensor in texts.tensors()]
        return [column for column in columns if column is not None]

    def digest(self, number: int) -> str:
        """A hash of the rows of one data set: captions, persons, labels, scores and the numbers of their images, not what these show."""
        columns, first = self.columns[number], int(self.starts[number])
        more = [column[first : first + len(columns.captions)] for column in (self.labels, self.scores) if column is not None]
        more += [tensor for texts in (columns.several, columns.partners) if texts is not None for tensor in texts.tensors()]
        digest = hashlib.sha256()
        for tensor in (columns.captions.data, columns.captions.ends, columns.persons, columns.images, *more):
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()

    def subset(self, chosen: Tensor) -> "ImageTextPairs":
        """The rows of which `chosen` [N] is True; every data set must keep some."""
        parts: list[tuple[Source, Columns]] = []
        for source, columns, first in zip(self.sources, self.columns, self.starts.tolist(), strict=False):
            (own,) = chosen[first : first + len(columns.captions)].nonzero(as_tuple=True)
            kept = [None if column is None else column[first + own] for column in (self.labels, self.cameras, self.splits, self.scores)]
            rows = columns.take(own, columns.captions.take(own))
            parts.append((source, replace(rows, labels=kept[0], cameras=kept[1], splits=kept[2], scores=kept[3])))
        smaller = ImageTextPairs(parts)
        smaller.images = smaller.images.unique(return_inverse=True)[1]
        return smaller

    def with_captions_of(self, rows: Tensor) -> "ImageTextPairs":
        """The same rows, row i with the caption of row `rows[i]` [N]."""
        changed = copy(self)
        changed.columns = []
        for columns, first in zip(self.columns, self.starts.tolist(), strict=False):
            own = rows[first : first + len(columns.captions)].tolist()
            several = None if columns.several is None else SeveralTexts([self.all_captions(at) for at in own])
            changed.columns.append(replace(columns, captions=Strings.of(map(self.caption, own)), several=several))
        return changed

    def with_images_per_person(self, least: int) -> "ImageTextPairs":
        """Without the persons that have fewer than `least` images; UserError where none is left."""
        if least <= 1:
            return self
        together = torch.stack([self.persons, self.images], 1).unique(dim=0)[:, 0]
        chosen = together.bincount(minlength=int(self.persons.max()) + 1)[self.persons] >= least
        if not chosen.any():
            raise UserError(f"no person of the data has {least} images, which the method needs")
        return self if chosen.all() else self.subset(chosen)

    @property
    def person_count(self) -> int:
        """How many identities there are, or would be if their numbers had no gap: the highest number + 1."""
        return int(self.persons.max()) + 1

    def weigh(self, column: str, lowest: float) -> None:
        """Set the `weights` by the `scores`, which are of this column, see `pretrain.data.confidence`; rows without any are logged."""
        assert self.scores is not None
        if (note := check_scores(self.scores, self.starts.tolist(), column)) is not None and ranks.is_main():
            log.warning("%s", note)
        self.weights = row_weights(self.scores, self.starts.tolist(), lowest)

    def renumber_persons(self) -> None:
        """Give the persons the numbers 0 ... P-1, in their present order."""
        self.persons = self.persons.unique(return_inverse=True)[1]

    def _place(self, row: int) -> tuple[int, int]:
        """The data set and the row in it."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        return number, row - int(self.starts[number])


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    """A column of all data sets; None where one does not have it."""
    known = [part for part in parts if part is not None]
    return torch.cat(known) if len(known) == len(parts) else None


def _open(place: DatasetAddress, splits: Sequence[str], request: Request) -> tuple[Source, Columns]:
    path, images = local_path(place)
    if request.confidence and (is_list(path) or is_plain_folder(path)):
        raise UserError(f"{path} has no column {request.confidence}, which data.confidence names: packed data sets alone have columns")
    if is_list(path):
        return open_listed(path, images or path.parent, request)
    if is_plain_folder(path):
        return open_folder(path, request)
    if images:
        raise UserError(f"{path} is no JSON list: its images are in its own files, not in {images}")
    return open_packed(path, splits, request)
