"""PAB, the Pedestrian Anomaly Behaviour benchmark: images of pedestrians in usual and unusual actions, with captions, in JSON Lines.

A line is an image ({image, caption, image_id}, of the training split also its action, its scene and its hard partner: another image of the
same video sentence, in which another thing happens). There are 75 lists of the training split, each in lines, so that rows are read again
in each iteration and never kept. UCC, images of UCF-Crime, is a split of its own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mals.dataset.features import value
from mals.errors import UserError
from mals.planning.json_lines import read_lines
from mals.planning.json_stream import PARTIAL
from pretrain.data import partners
from pretrain.datasets.layout import (
    Benchmark,
    BenchmarkInfo,
    BenchmarkRow,
    Reader,
    SplitSize,
    find_image_folder,
    first_file,
    identity_number,
    numeric_key,
    optional_text,
    present_captions,
    relative_path,
    require_names,
)
from pretrain.datasets.long_lists import Irregularities, open_long_lists

TEXTS = ("image_id", "normal", "anomaly", "scene", "source_id", "source_caption")
PARTNER_ID = "hard_image_id"  # a column beside those of pretrain.data.partners
LISTS = 75  # of the training split, attr_0.json to attr_74.json
INFO = BenchmarkInfo(
    key="pab",
    name="PAB",
    folder="PAB",
    sizes={
        "train": SplitSize(1_013_605, None, 1_013_605),
        "test": SplitSize(1_978, None, 1_978),
        "ucc": SplitSize(5_320, None, 5_320),
    },
    annotation_files=("annotation/train/attr_*.json", "annotation/test/attr.json"),
    description="Images of pedestrians in usual and unusual actions with a caption each: a training split by generative models, a test "
    "split of real videos, and UCC, key frames of UCF-Crime, as a test split from elsewhere.",
    terms="Research only; any commercial use is forbidden.",
    citation="S. Yang, Y. Wang, L. Zhu, Z. Zheng: Beyond Walking: A Large-Scale Image-Text Benchmark for Text-based Person Anomaly "
    "Search. ICCV 2025.",
    url="https://github.com/Shuyu-XJTU/CMP",
    caption_source="PAB",
    other_tests={"ucc": "UCC"},
    extra_columns={name: value("string") for name in (*TEXTS, partners.IMAGE, partners.CAPTION, PARTNER_ID)},
    column_notes=(
        "`person` is a number of `image_id`, which is a text: images of one `image_id` match each other's captions.",
        "`normal` or `anomaly` names the action, `scene` the place; `source_id` and `source_caption` are the video and its sentence.",
        "`hard_image` is the `id` of the hard partner, `hard_caption` its caption and `hard_image_id` its `image_id`.",
        "`synthetic` is true in the split train alone.",
    ),
)
TRAIN = re.compile(r"(attr|imgs)_[0-9]+\.json")  # "imgs_0.json" in the files of the challenge of 2026, without partners


def read(folder: Path) -> Benchmark | None:
    """The benchmark in `folder`; None if it is not there."""
    lists = _find_lists(folder)
    if not lists:
        return None
    splits, images, notes = open_long_lists({split: partial(_read_rows, split, files) for split, files in lists.items()})
    first = next(iter(lists.values()))[0]
    return Benchmark(INFO, find_image_folder(folder, INFO, first, images, ("",)), splits, [*_missing_lists(lists), *notes])


READER = Reader(INFO, read)


def _find_lists(folder: Path) -> dict[str, list[Path]]:
    """Split -> its lists, those of the training split in the order of their numbers."""
    places = (folder, folder / INFO.folder)
    lists: dict[str, list[Path]] = {"train": []}
    for place in places:
        present = [file for file in (place / "annotation" / "train").glob("*.json") if TRAIN.fullmatch(file.name)]
        lists["train"] = lists["train"] or sorted(present, key=numeric_key)
    for split, name in {"test": "attr.json", "ucc": "ucc.json"}.items():
        file = first_file(place / "annotation" / "test" / name for place in places)
        lists[split] = [] if file is None else [file]
    return {split: files for split, files in lists.items() if files}


def _read_rows(split: str, files: Sequence[Path], odd: Irregularities) -> Iterator[BenchmarkRow]:
    for file in files:
        empty = True
        for where, entry in read_lines(file):
            empty = False
            yield _row(split, where, entry)
        if empty:
            raise UserError(f"{file} is empty; {PARTIAL}")


def _missing_lists(lists: Mapping[str, Sequence[Path]]) -> list[str]:
    """A sentence about lists of the training split that are not there, if it is there in part."""
    if "train" not in lists:
        return []
    numbers = {int(re.sub(r"\D", "", file.name)) for file in lists["train"]}
    missing = [number for number in range(LISTS) if number not in numbers]
    if not missing:
        return []
    names = ", ".join(f"attr_{number}.json" for number in missing[:3]) + (", ..." if len(missing) > 3 else "")
    return [f"lists of train that are not there: {len(missing)} of {LISTS} ({names}); the same command packs their images once they are"]


def _row(split: str, where: str, entry: Mapping[str, Any]) -> BenchmarkRow:
    """One line; the hard partner's path lacks the folder `train` that the image's path has."""
    require_names(where, entry, ("image", "caption", "image_id"))
    image = relative_path(where, entry["image"])
    partner = None if entry.get("hard_i") is None else f"train/{relative_path(where, entry['hard_i']).removeprefix('train/')}"
    texts = [optional_text(where, entry, name) for name in TEXTS]
    return BenchmarkRow(
        id=image,
        image=image,
        captions=present_captions(where, entry),
        identity=identity_number(where, entry["image_id"]),
        extras=(*texts, partner, optional_text(where, entry, "hard_c"), optional_text(where, entry, "hard_i_id")),
        synthetic=split == "train",
    )
