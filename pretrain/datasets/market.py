"""Market-1501 with the attributes of Lin et al.: images whose file names contain identity and camera, and `market_attribute.mat`.

The MAT file holds two structs, `train` and `test`. Each has a field for each attribute (in different orders) with one value for each
identity, and the identities in `image_index`. Values count from 1; the authors' page explains them, and the reader maps them to the
attribute space market1501. The four ages are kept in a column of their own: in the space, "young" and "teenager" are a child, "adult" and
"old" an adult.

Identities of `bounding_box_test` are the split `test`, and its images without a person (0000) the split `distractors`. Images that the
protocol ignores as neither good nor bad (-1) are left out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mals.attributes import load_space
from mals.dataset.features import class_label
from mals.errors import UserError
from pretrain.data.image_folder import ImageFolder
from pretrain.datasets.layout import (
    Benchmark,
    BenchmarkInfo,
    BenchmarkRow,
    Reader,
    SplitSize,
    annotation_folders,
    first_file,
    folder_contents,
    require_names,
)
from pretrain.datasets.matlab import cell_numbers, cell_texts, read_matlab

AGES = ("young", "teenager", "adult", "old")
INFO = BenchmarkInfo(
    key="market1501",
    name="Market-1501",
    folder="Market-1501-v15.09.15",
    sizes={
        "train": SplitSize(12_936, 751),
        "query": SplitSize(3_368, 750),
        "test": SplitSize(13_115, 750),
        "distractors": SplitSize(2_798),
    },
    annotation_files=("bounding_box_train/ and bounding_box_test/",),
    description="Photographs of pedestrians by six cameras in front of a supermarket, with 27 attributes of each person.",
    terms="Academic research only.",
    citation="L. Zheng, L. Shen, L. Tian, S. Wang, J. Wang, Q. Tian: Scalable Person Re-identification: A Benchmark. ICCV 2015. "
    "Attributes: Y. Lin, L. Zheng, Z. Zheng, Y. Wu, Z. Hu, C. Yan, Y. Yang: Improving Person Re-identification by Attribute and "
    "Identity Learning. Pattern Recognition 95, 2019.",
    url="https://github.com/vana77/Market-1501_Attribute",
    space="market1501",
    caption_source=None,
    has_cameras=True,
    extra_columns={"age": class_label(AGES)},
    column_notes=(
        '`age` has the four ages of the annotation; in `attributes.age`, "young" and "teenager" are a child, "adult" and "old" an adult.',
    ),
)
ATTRIBUTE_FILE = "market_attribute.mat"
FOLDERS = {"train": "bounding_box_train", "query": "query", "test": "bounding_box_test"}
FILE_NAME = re.compile(r"(-1|[0-9]{4})_c([0-9]{1,4})s\d+_.*\.jpe?g", re.IGNORECASE)
DISTRACTOR, JUNK = 0, -1

# Attribute of the space -> its field in the MAT file, and the values in the space of the field's values 1, 2, …
SAME, REVERSED = (0, 1), (1, 0)
FIELDS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "gender": ("gender", REVERSED),  # male, female
    "age": ("age", (0, 0, 1, 1)),  # young, teenager, adult, old
    "hair_length": ("hair", SAME),  # short, long
    **{name: (name, REVERSED) for name in ("hat", "backpack", "handbag", "bag")},  # no, yes
    "sleeve_length": ("up", SAME),  # long, short
    "lower_length": ("down", SAME),  # long, short
    "lower_type": ("clothes", SAME),  # dress, pants
    **{f"upper_{color}": (f"up{color}", REVERSED) for color in ("black", "white", "red", "purple", "yellow", "blue", "green", "gray")},
    **{
        f"lower_{color}": (f"down{color}", REVERSED)
        for color in ("black", "white", "purple", "yellow", "blue", "green", "pink", "gray", "brown")
    },
}


@dataclass(frozen=True)
class IdentityAttributes:
    """The annotation of one identity."""

    labels: tuple[int, ...]
    age: int | None  # index in AGES; None if unknown


def read(folder: Path) -> Benchmark | None:
    """The benchmark in `folder`; None if it is not there."""
    root = next((base for base in (folder, folder / INFO.folder, folder / "Market-1501") if (base / FOLDERS["train"]).is_dir()), None)
    if root is None or not (root / FOLDERS["test"]).is_dir():
        return None
    attributes, undescribed, unnamed = _read_attributes(_find_attribute_file(folder, root))
    splits: dict[str, list[BenchmarkRow]] = {}
    for split, name in FOLDERS.items():
        if (root / name).is_dir():
            splits[split] = _read_rows(root, name, attributes["train" if split == "train" else "test"])
    boxes = splits["test"]
    splits["test"] = [row for row in boxes if row.identity not in (None, JUNK)]
    splits["distractors"] = [row for row in boxes if row.identity is None]
    if empty := [FOLDERS[split] for split in FOLDERS if split in splits and not splits[split]]:
        contents = folder_contents(root / empty[0])
        raise UserError(f"{root / empty[0]} holds no image of a person, such as 0002_c1s1_000451_03.jpg, and saw {contents}")
    junk = len(boxes) - len(splits["test"]) - len(splits["distractors"])
    unknown = sum(row.labels is None for split in FOLDERS for row in splits.get(split, ()))
    notes = [
        (junk, "images left out as neither good nor bad (-1)"),
        (unknown, f"images of identities that {ATTRIBUTE_FILE} does not name, their attributes unknown"),
        (undescribed, f"values in {ATTRIBUTE_FILE} that are empty or that its authors do not describe, taken as unknown"),
        (unnamed, f"empty cells in {ATTRIBUTE_FILE} where an identity should be, left out with their attributes"),
    ]
    sentences = [f"{sentence}: {count:,}" for count, sentence in notes if count]
    return Benchmark(INFO, ImageFolder(root), {split: rows for split, rows in splits.items() if rows}, sentences)


READER = Reader(INFO, read)


def _find_attribute_file(folder: Path, root: Path) -> Path:
    """The attribute file, which is not in the archive of the images."""
    subfolders = ("", "attribute", "Market-1501_Attribute", "Market-1501_Attribute-master")
    places = (*annotation_folders(folder, INFO), root, root.parent)
    file = first_file(dict.fromkeys(place / name / ATTRIBUTE_FILE for place in places for name in subfolders))
    if file is None:
        raise UserError(f"{folder} has the images of {INFO.name} and no {ATTRIBUTE_FILE}; put that of {INFO.url} there")
    return file


def _read_attributes(file: Path) -> tuple[dict[str, dict[int, IdentityAttributes]], int, int]:
    """Split -> identity -> its attributes; the number of values that say nothing, and of identities whose cell is empty."""
    structs = read_matlab(file, "market_attribute")["market_attribute"]
    if not isinstance(structs, dict):
        raise UserError(f"{file}: market_attribute is no struct with train and test")
    require_names(f"{file}: market_attribute", structs, ("train", "test"))
    undescribed = unnamed = 0
    attributes: dict[str, dict[int, IdentityAttributes]] = {}
    for split in ("train", "test"):
        where = f"{file}: market_attribute.{split}"
        fields = structs[split] if isinstance(structs[split], dict) else {}
        require_names(where, fields, ("image_index", *(name for name, _ in FIELDS.values())))
        identities = _read_identities(f"{where}.image_index", fields["image_index"])
        columns = []
        for attribute in load_space("market1501").names:
            name, meaning = FIELDS[attribute]
            column = [-1 if at is None else meaning[at] for at in _read_field(where, fields, name, len(meaning), len(identities))]
            undescribed += column.count(-1)
            columns.append(column)
        ages = _read_field(where, fields, "age", len(AGES), len(identities))
        annotations = map(IdentityAttributes, zip(*columns, strict=True), ages)
        by_identity = dict(zip(identities, annotations, strict=True))
        unnamed += identities.count(None)
        attributes[split] = {identity: annotation for identity, annotation in by_identity.items() if identity is not None}
    return attributes, undescribed, unnamed


def _read_field(where: str, fields: Mapping[str, Any], name: str, values: int, count: int) -> list[int | None]:
    """A field of all identities, counted from 0; None where it is none of that many values."""
    numbers = cell_numbers(f"{where}.{name}", fields[name])
    if len(numbers) != count:
        raise UserError(f"{where} has {len(numbers):,} values of {name} for {count:,} identities")
    return [int(number) - 1 if number in range(1, values + 1) else None for number in numbers]


def _read_identities(where: str, index: Any) -> list[int | None]:
    """The identities, None for an empty cell."""
    texts = cell_texts(where, index)
    if bad := [text for text in texts if text is not None and not re.fullmatch("[0-9]{1,9}", text)]:
        raise UserError(f"{where} holds {bad[0][:60]!r}, which is no identity")
    return [None if text is None else int(text) for text in texts]


def _read_rows(root: Path, name: str, attributes: Mapping[int, IdentityAttributes]) -> list[BenchmarkRow]:
    """The images of a folder, by their names; the identity of distractors is None. Other files are ignored."""
    rows = []
    for file in sorted(entry.name for entry in (root / name).iterdir()):
        parts = FILE_NAME.fullmatch(file)
        if parts is None:
            continue
        identity, path = int(parts[1]), f"{name}/{file}"
        annotation = attributes.get(identity)
        rows.append(
            BenchmarkRow(
                id=path,
                image=path,
                identity=None if identity == DISTRACTOR else identity,
                camera=int(parts[2]),
                labels=annotation.labels if annotation else None,
                extras=(annotation.age if annotation else None,),
            )
        )
    return rows
