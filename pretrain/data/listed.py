"""JSON lists of public data sets: MALS, CUHK-PEDES, ICFG-PEDES, RSTPReid."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from mals.errors import quoted
from mals.planning import json_lists
from mals.planning.json_lists import ListRow
from pretrain.data.columns import Columns, Request, checked_captions, file_stamp, person_numbers
from pretrain.data.image_folder import locate_images
from pretrain.data.labels import known_labels, list_labels
from pretrain.data.strings import Strings

NAMED = 5  # splits that a sentence names


class Listed:
    """The image files of a JSON list, each once."""

    def __init__(self, images: Path, paths: Strings, notes: Sequence[str] = (), name: str = "") -> None:
        self.images, self.paths, self.notes, self.name = images, paths, notes, name

    def image_bytes(self, at: int) -> bytes:
        return (self.images / self.paths[at]).read_bytes()

    def other_captions(self, at: int) -> list[str]:
        return []

    def location(self, at: int) -> str:
        return str(self.images / self.paths[at])

    def image_id(self, at: int) -> str:
        return self.paths[at]

    def stamp(self, at: int) -> str:
        return f"{self.paths[at]} {file_stamp((self.images / self.paths[at]).stat())}"

    @property
    def home(self) -> Path:
        return self.images


def open_listed(file: Path, images: Path, request: Request) -> tuple[Listed, Columns]:
    """A list of MALS, CUHK-PEDES, ICFG-PEDES or RSTPReid: a row for each caption; an image without a person id is a person of its own.

    Raises UserError, before any image is read, where one is not in the folder `images`.
    """
    objects = json_lists.read_objects(file)
    rows = list(json_lists.list_rows(file, objects, require_captions=False))
    captions = checked_captions(_texts([row.caption for row in rows]), file, request)
    labels = None if request.classes is None else known_labels(list_labels(file, objects, request.classes), file)
    distinct = list(dict.fromkeys(row.image for row in rows))
    located, notes = locate_images(file, images, distinct)
    actual = dict(zip(distinct, located, strict=True))
    paths = pa.array([actual[row.image] for row in rows], pa.large_string()).dictionary_encode()
    persons = person_numbers(_texts([row.person or f"\0{row.image}" for row in rows]))  # no person id has a zero byte
    numbers = torch.from_numpy(paths.indices.to_numpy().astype(np.int64))
    notes = [*notes, *_splits(file, objects), *_shared(file, rows, numbers, persons)]
    source = Listed(images, Strings(pa.chunked_array([paths.dictionary])), notes, file.name)
    return source, Columns(Strings(captions), persons, labels, numbers)


def _splits(file: Path, objects: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence about a list whose images are of several splits, if they are: it is read whole."""
    names = sorted({quoted(str(entry["split"]), 20) for entry in objects if entry.get("split") is not None})
    if len(names) < 2:
        return []
    listed = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return [
        f"{file} is read whole, images of all splits that it names ({listed}): `mals import` keeps them apart, and so do lists of one each"
    ]


def _shared(file: Path, rows: Sequence[ListRow], images: Tensor, persons: Tensor) -> list[str]:
    """A sentence about images that a list names under several persons, if there are any."""
    _, counts = torch.stack([images, persons], 1).unique(dim=0)[:, 0].unique(return_counts=True)
    shared = set((counts > 1).nonzero()[:, 0].tolist())
    if not shared:
        return []
    first = next(row for row, image in zip(rows, images.tolist(), strict=True) if image in shared)
    names = sorted({quoted(row.person, 20) for row in rows if row.image == first.image})
    return [
        f"{len(shared):,} of the {len(counts):,} images of {file} are listed under several persons, such as {first.image} "
        f"({' and '.join(names)}); in a gallery an image is of the person that is listed first"
    ]


def _texts(values: Sequence[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.large_string())])
