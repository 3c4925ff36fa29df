"""AERI-PEDES: aerial images of pedestrians with captions and identities, and ground images of the same persons.

An object of `train_caption.json` is an aerial image with a ground image of the person and one caption, {split, pid, aerial_img,
ground_img, caption}; one of `test_caption.json` is a person, {split, pid, captions, file_paths, ground_file_paths}. The test's queries are
all captions, its gallery the aerial images alone, so the ground images are splits of their own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mals.dataset.features import value
from mals.errors import UserError, quoted
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
    present_captions,
    relative_path,
    require_names,
    whole_number,
)
from pretrain.datasets.lists import shared_images, with_unique_ids

MODEL, ANNOTATOR = "MLLM", "annotator"  # who wrote the captions of train and of test
INFO = BenchmarkInfo(
    key="aeri-pedes",
    name="AERI-PEDES",
    folder="AERI-PEDES",
    sizes={"train": SplitSize(), "ground_train": SplitSize(), "test": SplitSize(captions=6_141), "ground_test": SplitSize()},
    annotation_files=("train_caption.json, test_caption.json", "complete_caption.json"),
    description="Aerial photographs of pedestrians from three re-identification data sets with captions, in training by a language model "
    "that sees images and in the test by annotators, and ground photographs of the same persons.",
    terms="Not known to us; the terms of the three data sets that its images come from apply.",
    citation="Y. Deng, C. Li, Y. Zhang, G. Hu, J. Tang: Cross-modal Fuzzy Alignment Network for Text-Aerial Person Retrieval and A "
    "Large-scale Benchmark. CVPR 2026.",
    url="https://github.com/Yifei-AHU/AERI-PEDES",
    caption_source=f"{MODEL} in training, {ANNOTATOR} in the test",
    captions_each="1 or more",
    uncaptioned_splits=frozenset({"ground_train", "test", "ground_test"}),
    galleries={"test": "the aerial images of the test alone"},
    has_cameras=True,
    camera_source="the view (0 aerial, 1 ground), since no camera is named",
    extra_columns={"view": value("string"), "ground_image": value("string")},
    column_notes=(
        "`view` is aerial or ground; `ground_image` is the ground image of the person that the training list pairs with an aerial image.",
        "Captions of the test are of a person, not of one of its images; its images beyond the number of its captions have none.",
    ),
)
PREFIX = "AERI-PEDES/"  # of the paths of train_caption.json, of which the authors' code cuts off eleven characters whatever they are
TRAIN, COMPLETE, TEST = "train_caption.json", "complete_caption.json", "test_caption.json"
AERIAL, GROUND = 0, 1


@dataclass
class ListedSplit:
    """The images of a split by their path and identity, in the order in which they are first named."""

    aerial: dict[tuple[str, int], BenchmarkRow] = field(default_factory=dict)
    ground: dict[tuple[str, int], BenchmarkRow] = field(default_factory=dict)

    def add_ground(self, image: str, person: int) -> None:
        row = BenchmarkRow(image, image, identity=person, camera=GROUND, extras=("ground", None))
        self.ground.setdefault((image, person), row)

    def add_aerial(self, image: str, person: int, captions: Sequence[str], writer: str, ground: str | None = None) -> None:
        """An aerial image; one that is named again gets further captions."""
        first = BenchmarkRow(image, image, identity=person, camera=AERIAL, extras=("aerial", ground))
        row = self.aerial.setdefault((image, person), first)
        sources = (*row.sources, *(writer for _ in captions))
        self.aerial[image, person] = replace(row, captions=(*row.captions, *captions), sources=sources)


def read(folder: Path) -> Benchmark | None:
    """The data set in `folder`; None if it is not there."""
    places = annotation_folders(folder, INFO)
    train = first_file(place / name for name in (TRAIN, COMPLETE) for place in places)
    test = first_file(place / TEST for place in places)
    files = [file for file in (train, test) if file is not None]
    if not files:
        return None
    listed = {
        "train": ListedSplit() if train is None else _read_train(placed_objects(train)),
        "test": ListedSplit() if test is None else _read_test(placed_objects(test)),
    }
    splits: dict[str, list[BenchmarkRow]] = {}
    for split, rows in listed.items():
        splits |= {split: list(rows.aerial.values()), f"ground_{split}": list(rows.ground.values())}
    splits = {split: rows for split, rows in splits.items() if rows}
    images = [row.image for rows in splits.values() for row in rows]
    image_folder = find_image_folder(folder, INFO, files[0], images, ("", "images", "imgs"))
    notes = [f"the training captions are all those of {COMPLETE}: there is no {TRAIN}"] if train and train.name == COMPLETE else []
    absent = [name for name, file in ((TRAIN, train), (TEST, test)) if file is None]
    notes += [f"there is no {name}; the same command packs the images that it lists once it is there" for name in absent]
    return Benchmark(INFO, image_folder, with_unique_ids(splits), [*notes, *shared_images(splits)])


READER = Reader(INFO, read)


def _read_train(objects: Iterable[Placed]) -> ListedSplit:
    """The pairs of an aerial and a ground image; objects of another split are left out, as the authors do."""
    pairs = []
    for where, entry in objects:
        require_names(where, entry, ("split",))
        if entry["split"] != "train":
            continue
        require_names(where, entry, ("pid", "aerial_img", "ground_img", "caption"))
        person = whole_number(where, entry["pid"], "pid")
        captions = present_captions(where, {"caption": entry["caption"]})
        pairs.append((person, relative_path(where, entry["aerial_img"]), relative_path(where, entry["ground_img"]), captions))
    prefix = _prefix([path for _, *images, _ in pairs for path in images])
    rows = ListedSplit()
    for person, aerial, ground, captions in pairs:
        rows.add_aerial(aerial.removeprefix(prefix), person, captions, MODEL, ground.removeprefix(prefix))
        rows.add_ground(ground.removeprefix(prefix), person)
    return rows


def _read_test(objects: Iterable[Placed]) -> ListedSplit:
    """The persons of the test, without those that have no aerial image or no caption, as the authors leave them out.

    A caption is of a person and of none of its images: the n-th belongs to the n-th image, those beyond the last image to the first again.
    """
    rows = ListedSplit()
    for where, entry in objects:
        require_names(where, entry, ("split",))
        if entry["split"] != "test":
            continue
        require_names(where, entry, ("pid", "captions", "file_paths"))
        person = whole_number(where, entry["pid"], "pid")
        aerial, ground = (_paths(where, entry.get(name, [])) for name in ("file_paths", "ground_file_paths"))
        captions = present_captions(where, {"captions": entry["captions"]})
        if not aerial or not captions:
            continue
        for number, image in enumerate(dict.fromkeys(aerial)):
            rows.add_aerial(image, person, captions[number :: len(set(aerial))], ANNOTATOR)
        for image in ground:
            rows.add_ground(image, person)
    return rows


def _prefix(paths: Sequence[str]) -> str:
    """What is cut off the paths of the training list: the first eleven characters if all begin with the same folder of that length."""
    first = paths[0][: len(PREFIX)] if paths else ""
    return first if first.endswith("/") and all(path.startswith(first) for path in paths) else PREFIX


def _paths(where: str, paths: Any) -> list[str]:
    if not isinstance(paths, list):
        raise UserError(f"{where} has {quoted(paths)} where a list of images should be")
    return [_path(where, path) for path in paths]


def _path(where: str, path: Any) -> str:
    return relative_path(where, path).removeprefix(PREFIX)
