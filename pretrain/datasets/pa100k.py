"""PA-100K: images with 26 attributes, from `annotation.mat` as released or the MALS authors' lists; no captions, identities or cameras.

The MAT file holds the names of the attributes, and for each split the names of its images and a matrix of zeros and ones. The MALS authors'
lists ({image, label}) hold the same 26 values in the same order. They are the attributes of the space pa100k.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mals.attributes import load_space
from mals.errors import UserError
from pretrain.datasets.layout import (
    Benchmark,
    BenchmarkInfo,
    BenchmarkRow,
    Reader,
    SplitSize,
    annotation_folders,
    find_image_folder,
    first_file,
    label_values,
    placed_objects,
    relative_path,
    require_names,
)
from pretrain.datasets.matlab import cell_texts, read_matlab

INFO = BenchmarkInfo(
    key="pa100k",
    name="PA-100K",
    folder="pa100k",
    sizes={"train": SplitSize(80_000), "val": SplitSize(10_000), "test": SplitSize(10_000)},
    annotation_files=("annotation.mat", "annotation/annotation.mat", "PA100K_train.json, PA100K_val.json, PA100K_test.json"),
    description="Photographs of pedestrians by outdoor surveillance cameras with 26 attributes each.",
    terms="Academic research; the authors' page names no licence, so ask them about other uses.",
    citation="X. Liu, H. Zhao, M. Tian, L. Sheng, J. Shao, S. Yi, J. Yan, X. Wang: HydraPlus-Net: Attentive Deep Features for "
    "Pedestrian Analysis. ICCV 2017.",
    url="https://github.com/xh-liu/HydraPlus-Net",
    space="pa100k",
    caption_source=None,
    has_identities=False,
)
ATTRIBUTES = {  # name in annotation.mat -> name in the space pa100k; both in the released order
    "Female": "female",
    "AgeOver60": "age_over_60",
    "Age18-60": "age_18_to_60",
    "AgeLess18": "age_under_18",
    "Front": "front",
    "Side": "side",
    "Back": "back",
    "Hat": "hat",
    "Glasses": "glasses",
    "HandBag": "handbag",
    "ShoulderBag": "shoulder_bag",
    "Backpack": "backpack",
    "HoldObjectsInFront": "holds_object",
    "ShortSleeve": "short_sleeves",
    "LongSleeve": "long_sleeves",
    "UpperStride": "upper_stripe",
    "UpperLogo": "upper_logo",
    "UpperPlaid": "upper_plaid",
    "UpperSplice": "upper_splice",
    "LowerStripe": "lower_stripe",
    "LowerPattern": "lower_pattern",
    "LongCoat": "long_coat",
    "Trousers": "trousers",
    "Shorts": "shorts",
    "Skirt&Dress": "skirt_or_dress",
    "boots": "boots",
}
IMAGE_FOLDERS = ("data", "release_data", "release_data/release_data", "data/release_data/release_data", "data/release_data", "images", "")


def read(folder: Path) -> Benchmark | None:
    """The benchmark in `folder`; None if it is not there."""
    places = annotation_folders(folder, INFO)
    annotation = first_file(place / "annotation.mat" for place in places)
    notes: list[str] = []
    if annotation is not None:
        splits, notes = _read_released(annotation)
    else:
        lists = {split: first_file(place / f"PA100K_{split}.json" for place in places) for split in INFO.sizes}
        files = {split: file for split, file in lists.items() if file is not None}
        if not files:
            return None
        splits, annotation = {split: _read_split_list(file) for split, file in files.items()}, next(iter(files.values()))
    images = [row.image for rows in splits.values() for row in rows]
    return Benchmark(INFO, find_image_folder(folder, INFO, annotation, images, IMAGE_FOLDERS), splits, notes)


READER = Reader(INFO, read)


def _read_released(file: Path) -> tuple[dict[str, list[BenchmarkRow]], list[str]]:
    """The rows of each split, and sentences about what the file lacks."""
    names = [f"{split}_{variable}" for split in INFO.sizes for variable in ("images_name", "label")]
    variables = read_matlab(file, "attributes", *names)
    order = _column_order(file, cell_texts(f"{file}: attributes", variables["attributes"]))
    splits, notes = {}, []
    for split in INFO.sizes:
        rows = _read_split(file, split, variables[f"{split}_images_name"], variables[f"{split}_label"], order)
        splits[split] = [row for row in rows if row is not None]
        if unnamed := rows.count(None):
            first = rows.index(None) + 1
            notes.append(f"empty cells in {file.name} where an image of {split} should be named, left out: {unnamed:,}, row {first} first")
    return splits, notes


def _column_order(file: Path, names: list[str | None]) -> list[int]:
    """The column of each attribute of the space."""
    if set(names) != set(ATTRIBUTES) or len(names) != len(ATTRIBUTES):
        odd = [name or "an empty cell" for name in names if name not in ATTRIBUTES] or [name for name in ATTRIBUTES if name not in names]
        raise UserError(f"{file}: the attributes are {len(names)} and not the 26 of PA-100K ({odd[0] if odd else 'a name comes twice'})")
    columns = [ATTRIBUTES[str(name)] for name in names]
    return [columns.index(name) for name in load_space("pa100k").names]


def _read_split(file: Path, split: str, images: Any, values: Any, order: list[int]) -> list[BenchmarkRow | None]:
    """A row for each image of a split, None where its name is an empty cell."""
    where = f"{file}: {split}_images_name"
    names, matrix = cell_texts(where, images), np.atleast_2d(values)
    if not names or not matrix.size:
        raise UserError(f"{file} lists no image of the split {split}")
    if matrix.shape != (len(names), len(order)):
        size = " x ".join(map(str, matrix.shape))
        raise UserError(f"{file}: {split}_label is {size}, where {len(names)} x {len(order)} is expected")
    if not np.issubdtype(matrix.dtype, np.number) or not np.isin(matrix, (0, 1)).all():
        raise UserError(f"{file}: {split}_label holds other values than 0 and 1")
    rows = matrix.astype(np.int64)[:, order].tolist()
    return [None if name is None else _row(relative_path(where, name), tuple(row)) for name, row in zip(names, rows, strict=True)]


def _read_split_list(file: Path) -> list[BenchmarkRow]:
    rows = []
    for where, entry in placed_objects(file):
        require_names(where, entry, ("image", "label"))
        labels = label_values(where, entry["label"], len(ATTRIBUTES), (0, 1))
        rows.append(_row(relative_path(where, entry["image"]), labels))
    return rows


def _row(image: str, labels: tuple[int, ...]) -> BenchmarkRow:
    return BenchmarkRow(id=image, image=image, labels=labels)
