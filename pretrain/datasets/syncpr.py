"""SynCPR: pairs of generated images of a person in other clothes, each with its caption, and the change in words.

An object is a pair in one direction: {reference_caption, target_caption, reference_image_path, target_image_path, edit_caption, cpr_id}.
Every pair occurs twice, swapped, so that each image is the target of an object: it is packed once, with its own caption. `cpr_id` numbers
the objects of one base text and one direction, so that the targets of one `cpr_id` were generated from the same caption: they are one
identity here.
"""

from array import array
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mals.dataset.features import value
from pretrain.datasets.layout import (
    Benchmark,
    BenchmarkInfo,
    BenchmarkRow,
    Placed,
    Reader,
    SplitSize,
    annotation_folders,
    find_image_folder,
    first_file,
    identity_number,
    optional_text,
    present_captions,
    relative_path,
    require_names,
    stream_placed,
)
from pretrain.datasets.long_lists import StreamedRows

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

NAME = "SynCPR.json"
REFERENCE = 1  # place of the reference image among the extra columns
SAMPLE = 500  # objects that are looked at to recognise the folder of the images
INFO = BenchmarkInfo(
    key="syncpr",
    name="SynCPR",
    folder="SynCPR",
    sizes={"train": SplitSize(1_153_220, 177_530, 1_153_220)},  # an image, the target, for each triplet
    annotation_files=(NAME,),
    description="Images of invented pedestrians by Flux.1 in pairs of one person in other clothes, with the captions that they were "
    "generated from, by a language model, and the change in words.",
    terms="Research purposes, as its authors' page says; it names no licence.",
    citation="D. Liu, H. Li, Z. Hou, Z. Zhao, F. Su, Y. Dong: Automatic Synthetic Data and Fine-grained Adaptive Feature Alignment for "
    "Composed Person Retrieval. NeurIPS 2025.",
    url="https://github.com/Delong-liu-bupt/Composed_Person_Retrieval",
    caption_source="Qwen2.5",
    synthetic=True,
    extra_columns={"cpr_id": value("string"), "reference_image": value("string"), "edit_caption": value("string")},
    column_notes=(
        "`person` is `cpr_id`: images that were generated from the same caption. The other image of a pair, in other clothes, has another.",
        "`reference_image` is the `id` of the other image of the pair, and `edit_caption` what is different in this one.",
    ),
)


def read(folder: Path) -> Benchmark | None:
    """The data set in `folder`; None if it is not there."""
    file = first_file(place / NAME for place in annotation_folders(folder, INFO))
    if file is None:
        return None
    targets, references = array("q"), array("q")  # hashes of paths
    for where, entry in _objects(file):
        row = _row(where, entry)
        targets.append(hash(row.image))
        references.append(hash(row.extras[REFERENCE]))
    lists = np.frombuffer(targets, np.int64), np.frombuffer(references, np.int64)
    first = np.zeros(len(targets), np.bool_)
    first[np.unique(lists[0], return_index=True)[1]] = True
    rows = StreamedRows(partial(_read_rows, file, first.tobytes()))
    images = [row.image for row in islice(rows, SAMPLE)]
    notes = _notes(file, first, ~np.isin(lists[1], lists[0]), lists[1])
    return Benchmark(INFO, find_image_folder(folder, INFO, file, images, ("", "images")), {"train": rows}, notes)


READER = Reader(INFO, read)


def _objects(file: Path) -> Iterator[Placed]:
    for where, entry in stream_placed(file):
        require_names(where, entry, ("reference_image_path", "target_image_path", "target_caption", "cpr_id"))
        yield where, entry


def _read_rows(file: Path, first: bytes) -> Iterator[BenchmarkRow]:
    """A row for each object whose target is that of no earlier object: those with a 1 in `first`."""
    return (_row(where, entry) for where, entry in compress(_objects(file), first))


def _row(where: str, entry: Mapping[str, Any]) -> BenchmarkRow:
    image = relative_path(where, entry["target_image_path"])
    reference = relative_path(where, entry["reference_image_path"])
    return BenchmarkRow(
        id=image,
        image=image,
        captions=present_captions(where, {"caption": entry["target_caption"]}),
        identity=identity_number(where, entry["cpr_id"]),
        extras=(str(entry["cpr_id"]), reference, optional_text(where, entry, "edit_caption")),
    )


def _notes(file: Path, first: BoolArray, lonely: BoolArray, references: IntArray) -> list[str]:
    """Sentences about images that are the target of several objects, and about references that are the target of none.

    Of each object: whether its target is new, whether its reference is the target of none, and the hash of its reference.
    """
    images = int(first.sum())
    notes = [f"objects: {len(first):,}, each pair in both directions; images: {images:,}, each packed once, where it is the target"]
    if doubled := len(first) - images:
        notes.append(f"objects whose target is that of an earlier object, left out: {doubled:,}")
    if lonely.any():
        _, entry = next(compress(_objects(file), lonely))
        example, count = entry["reference_image_path"], len(np.unique(references[lonely]))
        notes.append(f"references that are the target of no object, left out: {count:,}, such as {example}")
    return notes
