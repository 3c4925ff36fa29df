"""JSON lists of public data sets: MALS, CUHK-PEDES, ICFG-PEDES, RSTPReid."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from mals.errors import UserError
from mals.planning import json_lists
from pretrain.data.columns import Columns, Request, Strings, checked_captions, person_numbers
from pretrain.data.labels import known_labels, list_labels


class Listed:
    """The image files of a JSON list, each once."""

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


def open_listed(file: Path, images: Path, request: Request) -> tuple[Listed, Columns]:
    """A list of MALS, CUHK-PEDES, ICFG-PEDES or RSTPReid: a row for each caption; an image without a person id is a person of its own."""
    objects = json_lists.read_objects(file)
    rows = list(json_lists.list_rows(file, objects, require_captions=False))
    captions = checked_captions(_texts([row.caption for row in rows]), file, request)
    images_of_rows = _texts([row.image for row in rows])
    paths = images_of_rows.combine_chunks().dictionary_encode()
    source = Listed(images, Strings(pa.chunked_array([paths.dictionary])))
    if not Path(source.location(0)).is_file():
        raise UserError(f"the images of {file} are not in {images}: there is no {source.location(0)}; give the folder that they are in")
    labels = None if request.classes is None else known_labels(list_labels(file, objects, request.classes), file)
    persons = _texts([row.person or f"\0{row.image}" for row in rows])  # no person id has a zero byte
    numbers = torch.from_numpy(paths.indices.to_numpy().astype(np.int64))
    return source, Columns(Strings(captions), person_numbers(persons), labels, numbers)


def _texts(values: Sequence[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.large_string())])
