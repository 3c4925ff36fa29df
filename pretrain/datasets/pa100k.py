"""PA-100K: pictures with 26 attributes, from `annotation.mat` as released or from APTM's lists; no captions, persons or cameras.

The MAT file holds the names of the attributes, and for each split the names of its pictures and a matrix of zeros and ones; APTM's lists
({image, label}) give the same 26 in the same order. They are the attributes of our space pa100k.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mals.attributes import load_space
from mals.errors import UserError
from pretrain.datasets.layout import About, Benchmark, Row, Size, bases, entries, first, inside, labels, matlab, pictures, require

ABOUT = About(
    key="pa100k",
    name="PA-100K",
    folder="pa100k",
    sizes={"train": Size(80_000), "val": Size(10_000), "test": Size(10_000)},
    looked=("annotation.mat", "annotation/annotation.mat", "PA100K_train.json, PA100K_val.json, PA100K_test.json"),
    kind="Photographs of pedestrians by outdoor surveillance cameras with 26 attributes each.",
    terms="Academic research; its authors' page names no licence, so ask them for anything else.",
    citation="X. Liu, H. Zhao, M. Tian, L. Sheng, J. Shao, S. Yi, J. Yan, X. Wang: HydraPlus-Net: Attentive Deep Features for "
    "Pedestrian Analysis. ICCV 2017.",
    url="https://github.com/xh-liu/HydraPlus-Net",
    space="pa100k",
    captions=None,
    person=False,
)
NAMES = {  # as released -> in our space; both in the native order
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
FOLDERS = ("data", "release_data", "release_data/release_data", "data/release_data/release_data", "data/release_data", "images", "")


def read(folder: Path) -> Benchmark | None:
    """The data set as it lies in `folder`, None where it does not."""
    places = bases(folder, ABOUT)
    annotation = first(base / "annotation.mat" for base in places)
    if annotation is not None:
        splits = _released(annotation)
    else:
        found = {split: first(base / f"PA100K_{split}.json" for base in places) for split in ABOUT.sizes}
        files = {split: file for split, file in found.items() if file is not None}
        if not files:
            return None
        splits, annotation = {split: _listed(file) for split, file in files.items()}, next(iter(files.values()))
    names = [row.picture for rows in splits.values() for row in rows]
    return Benchmark(ABOUT, pictures(folder, ABOUT, annotation, names, FOLDERS), splits)


READERS: dict[str, tuple[About, Callable[[Path], Benchmark | None]]] = {ABOUT.key: (ABOUT, read)}


def _released(file: Path) -> dict[str, list[Row]]:
    parts = [f"{split}_{part}" for split in ABOUT.sizes for part in ("images_name", "label")]
    found = matlab(file, "attributes", *parts)
    order = _order(file, [str(name) for name in np.atleast_1d(found["attributes"])])
    return {split: _split(file, split, found[f"{split}_images_name"], found[f"{split}_label"], order) for split in ABOUT.sizes}


def _order(file: Path, names: list[str]) -> list[int]:
    """The column of each attribute of our space."""
    if sorted(names) != sorted(NAMES):
        odd = [name for name in names if name not in NAMES] or [name for name in NAMES if name not in names]
        raise UserError(f"{file}: the attributes are {len(names)} and not the 26 of PA-100K ({odd[0] if odd else 'one is there twice'})")
    told = [NAMES[name] for name in names]
    return [told.index(name) for name in load_space("pa100k").names]


def _split(file: Path, split: str, pictures: Any, values: Any, order: list[int]) -> list[Row]:
    names, matrix = [str(name) for name in np.atleast_1d(pictures)], np.atleast_2d(values)
    if not names or not matrix.size:
        raise UserError(f"{file} lists no picture of the split {split}")
    if matrix.shape != (len(names), len(order)):
        raise UserError(f"{file}: {split}_label is {matrix.shape[0]} x {matrix.shape[1]}, where {len(names)} x {len(order)} are wanted")
    if not np.isin(matrix, (0, 1)).all():
        raise UserError(f"{file}: {split}_label holds other values than 0 and 1")
    rows = matrix.astype(np.int64)[:, order].tolist()
    where = f"{file}: {split}_images_name"
    return [_row(inside(where, name), tuple(row)) for name, row in zip(names, rows, strict=True)]


def _listed(file: Path) -> list[Row]:
    found = []
    for at, entry in enumerate(entries(file), 1):
        where = f"{file}: object {at}"
        require(where, entry, ("image", "label"))
        found.append(_row(inside(where, entry["image"]), labels(where, entry["label"], len(NAMES), (0, 1))))
    return found


def _row(picture: str, values: tuple[int, ...]) -> Row:
    return Row(picture, picture, labels=values)
