"""TAG-PEDES: aerial and ground images of pedestrians with captions and identities, in one list for each split.

An object is an image, {file_path, id, captions} and in some objects `cam_id`. There is no split to select with.
"""

from dataclasses import replace
from pathlib import Path

from mals.errors import UserError
from pretrain.datasets import syntbpr
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
    placed_objects,
    whole_number,
)
from pretrain.datasets.lists import read_row, shared_images, with_unique_ids

MODEL, CORRECTED = "MLLM", "MLLM, corrected by annotators"  # who wrote the captions of train and of test
INFO = BenchmarkInfo(
    key="tag-pedes",
    name="TAG-PEDES",
    folder="TAG-PEDES",
    sizes={"train": SplitSize(19_954, 4_840, 39_908), "test": SplitSize(8_252, 2_000, 16_504)},
    annotation_files=("train_reid.json, test_reid.json",),
    description="Aerial and ground photographs of pedestrians from five re-identification data sets, with two captions each by a language "
    "model that sees images; those of the test split are corrected by annotators.",
    terms="Not known to us; the terms of the five data sets that its images come from apply.",
    citation="X. Zhou, Y. Wu, J. Ma, W. Wang, M. Cao, M. Ye: Text-based Aerial-Ground Person Retrieval. AAAI 2026.",
    url="https://github.com/Flame-Chasers/TAG-PR",
    caption_source=MODEL,
    published_captions="punctuation",
    galleries={"test": "the aerial and the ground images of the split"},
    has_cameras=True,
    camera_source="cam_id of the annotation",
)
CAMERAS = 2**31  # cameras are packed in 32 bits


def read(folder: Path) -> Benchmark | None:
    """The data set in `folder`; None if it is not there."""
    places = [*annotation_folders(folder, INFO), folder / "anno_dir", folder / INFO.folder / "anno_dir"]
    lists = {split: first_file(place / f"{split}_reid.json" for place in places) for split in INFO.sizes}
    files = {split: file for split, file in lists.items() if file is not None}
    if not files or any(map(syntbpr.is_list, files.values())):
        return None
    writers = {"train": MODEL, "test": CORRECTED}
    splits = {split: [_read_row(placed, writers[split]) for placed in placed_objects(file)] for split, file in files.items()}
    images = [row.image for rows in splits.values() for row in rows]
    image_folder = find_image_folder(folder, INFO, next(iter(files.values())), images, ("images", "imgs", ""))
    return Benchmark(INFO, image_folder, with_unique_ids(splits), shared_images(splits))


READER = Reader(INFO, read)


def _read_row(placed: Placed, writer: str) -> BenchmarkRow:
    where, entry = placed
    row = read_row(INFO, where, entry)
    row = replace(row, sources=(writer,) * len(row.captions))
    if entry.get("cam_id") is None:
        return row
    camera = whole_number(where, entry["cam_id"], "cam_id")
    if not 0 <= camera < CAMERAS:
        raise UserError(f"{where} has {camera} as its cam_id, not a number from 0 to {CAMERAS - 1}")
    return replace(row, camera=camera)
