"""Market-1501 with the attributes of Lin et al.: pictures whose names tell person and camera, and `market_attribute.mat`.

The MAT file holds two structs, `train` and `test`, each with a value a person under the name of an attribute (their order differs) and the
persons in `image_index`. Values count from 1; what they mean is told on its authors' page, and turned here into our space market1501.
Its four ages are kept in a column of their own: in the space "young" and "teenager" are a child, "adult" and "old" an adult.

Persons of `bounding_box_test` are the split `test`; its pictures of nobody (0000) are the split `distractors`, those that are neither good
nor bad (-1) are left out, as the protocol ignores them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mals.attributes import load_space
from mals.dataset.features import class_label
from mals.errors import UserError
from pretrain.datasets.layout import About, Benchmark, Row, Size, bases, first, matlab, require, seen

AGES = ("young", "teenager", "adult", "old")
ABOUT = About(
    key="market1501",
    name="Market-1501",
    folder="Market-1501-v15.09.15",
    sizes={"train": Size(12_936, 751), "query": Size(3_368, 750), "test": Size(13_115, 750), "distractors": Size(2_798)},
    looked=("bounding_box_train/ and bounding_box_test/",),
    kind="Photographs of pedestrians by six cameras before a supermarket, with 27 attributes of each person.",
    terms="Academic research only.",
    citation="L. Zheng, L. Shen, L. Tian, S. Wang, J. Wang, Q. Tian: Scalable Person Re-identification: A Benchmark. ICCV 2015. "
    "Attributes: Y. Lin, L. Zheng, Z. Zheng, Y. Wu, Z. Hu, C. Yan, Y. Yang: Improving Person Re-identification by Attribute and "
    "Identity Learning. Pattern Recognition 95, 2019.",
    url="https://github.com/vana77/Market-1501_Attribute",
    space="market1501",
    captions=None,
    camera=True,
    extras={"age": class_label(AGES)},
)
ATTRIBUTES = "market_attribute.mat"
FOLDERS = {"train": "bounding_box_train", "query": "query", "test": "bounding_box_test"}
NAME = re.compile(r"(-1|\d{4})_c(\d+)s\d+_.*\.jpe?g", re.IGNORECASE)
NOBODY, JUNK = 0, -1

# Attribute of the space -> its field, and what the values 1, 2, … of the field are in the space.
KEPT, TURNED = (0, 1), (1, 0)
FIELDS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "gender": ("gender", TURNED),  # male, female
    "age": ("age", (0, 0, 1, 1)),  # young, teenager, adult, old
    "hair_length": ("hair", KEPT),  # short, long
    **{name: (name, TURNED) for name in ("hat", "backpack", "handbag", "bag")},  # no, yes
    "sleeve_length": ("up", KEPT),  # long, short
    "lower_length": ("down", KEPT),  # long, short
    "lower_type": ("clothes", KEPT),  # dress, pants
    **{f"upper_{color}": (f"up{color}", TURNED) for color in ("black", "white", "red", "purple", "yellow", "blue", "green", "gray")},
    **{
        f"lower_{color}": (f"down{color}", TURNED)
        for color in ("black", "white", "purple", "yellow", "blue", "green", "pink", "gray", "brown")
    },
}


@dataclass(frozen=True)
class Told:
    """What the attribute file says of a person."""

    labels: tuple[int, ...]
    age: int | None


def read(folder: Path) -> Benchmark | None:
    """The data set as it lies in `folder`, None where it does not."""
    root = next((base for base in (folder, folder / ABOUT.folder, folder / "Market-1501") if (base / FOLDERS["train"]).is_dir()), None)
    if root is None or not (root / FOLDERS["test"]).is_dir():
        return None
    told, odd = _told(_attributes(folder, root))
    splits: dict[str, list[Row]] = {}
    for split, name in FOLDERS.items():
        if (root / name).is_dir():
            splits[split] = _rows(root, name, told["train" if split == "train" else "test"])
    found = splits["test"]
    splits["test"] = [row for row in found if row.person not in (None, JUNK)]
    splits["distractors"] = [row for row in found if row.person is None]
    if empty := [FOLDERS[split] for split in FOLDERS if split in splits and not splits[split]]:
        raise UserError(f"{root / empty[0]} holds no picture of a person, such as 0002_c1s1_000451_03.jpg, and saw {seen(root / empty[0])}")
    junk = len(found) - len(splits["test"]) - len(splits["distractors"])
    notes = [f"pictures left out as neither good nor bad (-1): {junk:,}"] if junk else []
    unknown = sum(row.labels is None for split in FOLDERS for row in splits.get(split, ()))
    notes += [f"pictures of persons whom {ATTRIBUTES} does not name, their attributes unknown: {unknown:,}"] if unknown else []
    notes += [f"values in {ATTRIBUTES} that its authors do not describe, taken as unknown: {odd:,}"] if odd else []
    return Benchmark(ABOUT, root, {split: rows for split, rows in splits.items() if rows}, notes)


READERS: dict[str, tuple[About, Callable[[Path], Benchmark | None]]] = {ABOUT.key: (ABOUT, read)}


def _attributes(folder: Path, root: Path) -> Path:
    """The attribute file, which comes apart from the pictures."""
    inner = ("", "attribute", "Market-1501_Attribute", "Market-1501_Attribute-master")
    places = [place / name / ATTRIBUTES for place in (*bases(folder, ABOUT), root, root.parent) for name in inner]
    found = first(dict.fromkeys(places))
    if found is None:
        raise UserError(f"{folder} has the pictures of {ABOUT.name} and no {ATTRIBUTES}; put that of {ABOUT.url} there")
    return found


def _told(file: Path) -> tuple[dict[str, dict[int, Told]], int]:
    """Split -> person -> what is said of them; and how many values mean nothing."""
    whole = matlab(file, "market_attribute")["market_attribute"]
    if not isinstance(whole, dict):
        raise UserError(f"{file}: market_attribute is no struct with train and test")
    require(f"{file}: market_attribute", whole, ("train", "test"))
    odd = 0
    found: dict[str, dict[int, Told]] = {}
    for split in ("train", "test"):
        where = f"{file}: market_attribute.{split}"
        part = whole[split] if isinstance(whole[split], dict) else {}
        require(where, part, ("image_index", *(name for name, _ in FIELDS.values())))
        persons = _persons(where, part["image_index"])
        columns = []
        for attribute in load_space("market1501").names:
            name, meaning = FIELDS[attribute]
            values = np.atleast_1d(part[name])
            if len(values) != len(persons):
                raise UserError(f"{where} has {len(values):,} values of {name} for {len(persons):,} persons")
            column = [meaning[int(value) - 1] if 1 <= value <= len(meaning) else -1 for value in values]
            odd += column.count(-1)
            columns.append(column)
        ages = [int(value) - 1 if 1 <= value <= len(AGES) else None for value in np.atleast_1d(part["age"])]
        found[split] = {person: Told(values, age) for person, values, age in zip(persons, zip(*columns, strict=True), ages, strict=True)}
    return found, odd


def _persons(where: str, index: Any) -> list[int]:
    texts = [str(text).strip() for text in np.atleast_1d(index)]
    if bad := [text for text in texts if not text.isdigit()]:
        raise UserError(f"{where}.image_index holds {bad[0]!r}, which is no person")
    return [int(text) for text in texts]


def _rows(root: Path, name: str, told: Mapping[int, Told]) -> list[Row]:
    """The pictures of a folder by their names; person None for pictures of nobody. What has another name is no picture of the data set."""
    found = []
    for file in sorted(entry.name for entry in (root / name).iterdir()):
        parts = NAME.fullmatch(file)
        if parts is None:
            continue
        person, path = int(parts[1]), f"{name}/{file}"
        said = told.get(person)
        known = None if person == NOBODY else person
        found.append(Row(path, path, (), known, int(parts[2]), said.labels if said else None, (said.age if said else None,)))
    return found
