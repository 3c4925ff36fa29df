"""TBAPR (also TBAGPR): aerial images of pedestrians with captions, each with a ground image of the person, from AG-ReID and G2APS.

Each of the two sets has a folder with a list for each split. A training list has a list for each pair, [person, number, [folder, file],
[folder, file], caption], the aerial image before the ground image; a list of val or test is one object of parallel lists {image_pids,
img_paths, pair_img_paths, caption_pids, captions}. Persons are numbered anew in every list. The gallery has the aerial images alone, so the
ground images are splits of their own.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from mals.dataset.features import value
from mals.errors import UserError, quoted
from mals.planning.json_lists import refuse_surrogates
from mals.planning.json_stream import PARTIAL, open_json
from pretrain.datasets.layout import (
    Benchmark,
    BenchmarkInfo,
    BenchmarkRow,
    Reader,
    SplitSize,
    find_image_folder,
    first_file,
    present_captions,
    relative_path,
    require_names,
    whole_number,
)
from pretrain.datasets.lists import shared_images, with_unique_ids
from pretrain.datasets.long_lists import Irregularities

SPLITS = ("train", "val", "test")
SOURCES = {"AG-ReID": (("AG-ReID",), "agtext"), "G2APS": (("G2APS-AG", "G2APS"), "g2aps")}  # set -> its folder, and how its lists begin
OF_IMAGES, OF_CAPTIONS = ("image_pids", "img_paths", "pair_img_paths"), ("caption_pids", "captions")  # parallel lists
PAIR = 5  # values of a pair in a training list
AERIAL, GROUND = 0, 1
INFO = BenchmarkInfo(
    key="tbapr",
    name="TBAPR",
    folder="TBAGPR",
    sizes={
        "train": SplitSize(31_340, 1_180, 31_340),
        "val": SplitSize(9_255, 529, 9_255),
        "test": SplitSize(3_200, 529, 3_200),
        **{f"ground_{split}": SplitSize() for split in SPLITS},
    },
    annotation_files=("AG-ReID/agtext_*.json", "G2APS*/g2aps_*.json"),
    description="Aerial photographs of pedestrians from AG-ReID and G2APS with a caption each by a language model, and ground photographs "
    "of the same persons.",
    terms="Not known to us; the terms of AG-ReID and G2APS apply to the images.",
    citation="AEA-FIRM: Adaptive Elastic Alignment With Fine-Grained Representation Mining for Text-Based Aerial Pedestrian Retrieval. "
    "IEEE Transactions on Circuits and Systems for Video Technology, 2025, doi 10.1109/TCSVT.2025.3586601.",
    url="https://github.com/xbdxwyh/AEA-FIRM-main",
    caption_source="ChatGLM",
    captions_each="1",
    uncaptioned_splits=frozenset({"val", "test", *(f"ground_{split}" for split in SPLITS)}),
    galleries={"val": "the aerial images of val alone", "test": "the aerial images of the test alone"},
    has_cameras=True,
    camera_source="the view (0 aerial, 1 ground), since no camera is named",
    extra_columns={"view": value("string"), "ground_image": value("string"), "source": value("string"), "source_person": value("int64")},
    column_notes=(
        "`view` is aerial or ground; `ground_image` is the ground image of the person that the list pairs with an aerial image.",
        "`source` is the data set that the image comes from, and `source_person` its number of the person, anew in each split.",
        "`person` counts the persons of both sets and all splits; whether one of val is one of the test too the lists do not say.",
    ),
)


class Pair(NamedTuple):
    """An aerial image of a list, with the captions that belong to it and its ground image."""

    person: int  # in its list
    aerial: str
    ground: str
    captions: tuple[str, ...]


@dataclass
class NumberedRows:
    """The rows of all splits, and the numbers of the persons over all lists."""

    splits: dict[str, dict[tuple[str, int], BenchmarkRow]] = field(default_factory=dict)  # split -> image and person -> its row
    persons: dict[tuple[str, str, int], int] = field(default_factory=dict)  # split, set, its number of a person -> ours

    def add(self, split: str, source: str, pair: Pair) -> None:
        """Both images of a pair; an image that comes again gets further captions."""
        number = self.persons.setdefault((split, source, pair.person), len(self.persons))
        own = (source, pair.person)
        self._add(split, BenchmarkRow(pair.aerial, pair.aerial, pair.captions, (), number, AERIAL, None, ("aerial", pair.ground, *own)))
        self._add(f"ground_{split}", BenchmarkRow(pair.ground, pair.ground, (), (), number, GROUND, None, ("ground", None, *own)))

    def _add(self, split: str, row: BenchmarkRow) -> None:
        rows, key = self.splits.setdefault(split, {}), (row.image, row.identity or 0)
        earlier = rows.get(key)
        rows[key] = row if earlier is None else replace(earlier, captions=(*earlier.captions, *row.captions))


def read(folder: Path) -> Benchmark | None:
    """The data set in `folder`, of those of its lists that are there; None if none is."""
    lists = next((lists for name in ("", INFO.folder, INFO.name, "data") if (lists := _find_lists(folder / name))), None)
    if lists is None:
        return None
    numbered, odd = NumberedRows(), Irregularities()
    for (split, source), file in lists.items():
        for pair in _train_pairs(file) if split == "train" else _listed_pairs(file, odd):
            numbered.add(split, source, pair)
    order = [*SPLITS, *(f"ground_{split}" for split in SPLITS)]
    splits = {split: list(numbered.splits[split].values()) for split in order if split in numbered.splits}
    images = [row.image for rows in splits.values() for row in rows]
    first = next(iter(lists.values()))
    image_folder = find_image_folder(first.parent.parent, INFO, first, images, ("",))
    absent = [f"{prefix}_{split}.json" for source, (_, prefix) in SOURCES.items() for split in SPLITS if (split, source) not in lists]
    notes = [f"lists that are not there: {', '.join(absent)}; the same command packs their images once they are"] if absent else []
    return Benchmark(INFO, image_folder, with_unique_ids(splits), [*notes, *odd.notes(), *shared_images(splits)])


READER = Reader(INFO, read)


def _find_lists(folder: Path) -> dict[tuple[str, str], Path]:
    """Split and set -> its list, of those that are there."""
    lists = {}
    for split in SPLITS:
        for source, (names, prefix) in SOURCES.items():
            file = first_file(folder / name / f"{prefix}_{split}.json" for name in names)
            if file is not None:
                lists[split, source] = file
    return lists


def _train_pairs(file: Path) -> Iterator[Pair]:
    """The pairs of a training list; UserError if it has another form."""
    with open_json(file) as stream:
        if stream.peek() != "[":
            raise UserError(f"{file} holds no list of pairs, as that of the training split does")
        for number, entry in enumerate(stream.members(), 1):
            where = f"{file}: pair {number}"
            refuse_surrogates(where, entry)
            if not isinstance(entry, list) or len(entry) != PAIR:
                raise UserError(f"{where} is not a list of person, number, aerial image, ground image and caption")
            person, _, aerial, ground, caption = entry
            captions = present_captions(where, {"caption": caption})
            yield Pair(whole_number(where, person, "person"), _path(file, where, aerial), _path(file, where, ground), captions)


def _parallel_lists(file: Path) -> dict[str, list[Any]]:
    """The lists of val or test; UserError if the file has another form."""
    with open_json(file) as stream:
        lists = stream.value()
    refuse_surrogates(str(file), lists)
    if not isinstance(lists, dict):
        raise UserError(f"{file} holds no object of parallel lists, as those of val and test do")
    require_names(file, lists, (*OF_IMAGES, *OF_CAPTIONS))
    for names in (OF_IMAGES, OF_CAPTIONS):
        if bad := [name for name in names if not isinstance(lists[name], list)]:
            raise UserError(f"{file} has {quoted(lists[bad[0]])} as its {bad[0]}, not a list")
        if len({len(lists[name]) for name in names}) > 1:
            counts = ", ".join(f"{len(lists[name]):,} {name}" for name in names)
            raise UserError(f"{file} has lists of different lengths: {counts}; {PARTIAL}")
    return lists


def _listed_pairs(file: Path, odd: Irregularities) -> Iterator[Pair]:
    """The images of a list of val or test.

    The n-th caption of a person belongs to its n-th image, those beyond its last image to its first ones again.
    """
    lists = _parallel_lists(file)
    captions: dict[int, list[str]] = {}
    for number, (pid, caption) in enumerate(zip(*(lists[name] for name in OF_CAPTIONS), strict=True), 1):
        where = f"{file}: caption {number}"
        captions.setdefault(whole_number(where, pid, "person"), []).extend(present_captions(where, {"caption": caption}))
    persons = [whole_number(f"{file}: image {number}", pid, "person") for number, pid in enumerate(lists["image_pids"], 1)]
    counts, seen = Counter(persons), Counter[int]()
    for number, (person, aerial, ground) in enumerate(zip(persons, lists["img_paths"], lists["pair_img_paths"], strict=True), 1):
        where, own = f"{file}: image {number}", captions.get(person, [])[seen[person] :: counts[person]]
        seen[person] += 1
        yield Pair(person, _path(file, where, aerial), _path(file, where, ground), tuple(own))
    for person in captions.keys() - counts.keys():
        odd.add("persons with captions and no aerial image, left out", f"{person} of {file.name}")


def _path(file: Path, where: str, parts: Any) -> str:
    """The path of an image, from the folder that both sets lie in."""
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise UserError(f"{where} has {quoted(parts)} as an image, not a list of its folder and its file")
    return f"{file.parent.name}/{relative_path(where, '/'.join(parts))}"
