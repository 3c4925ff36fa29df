"""CUHK-PEDES, ICFG-PEDES and RSTPReid: pictures with captions and persons, in one list as released, or in a list a split as APTM has them.

As released, an object is a picture ({split, captions, file_path or img_path, id}). In APTM's lists (`cuhk_train.json`) a training object is
a caption ({image, caption, image_id}), so that a picture comes once for each: its captions are gathered. Their `image_id` is the person.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mals.errors import UserError
from pretrain.datasets.layout import About, Benchmark, Row, Size, bases, entries, first, inside, number, pictures, require

SPLITS = ("train", "val", "test")

CUHK = About(
    key="cuhk-pedes",
    name="CUHK-PEDES",
    folder="CUHK-PEDES",
    sizes={"train": Size(34_054, 11_003, 68_126), "val": Size(3_078, 1_000, 6_158), "test": Size(3_074, 1_000, 6_156)},
    looked=("reid_raw.json", "cuhk_train.json, cuhk_val.json, cuhk_test.json"),
    kind="Photographs of pedestrians from five re-identification data sets, most with two captions each by crowd workers.",
    terms="Academic research only; its authors give it to people who write from a university.",
    citation="S. Li, T. Xiao, H. Li, B. Zhou, D. Yue, X. Wang: Person Search with Natural Language Description. CVPR 2017.",
    url="https://github.com/ShuangLI59/Person-Search-with-Natural-Language-Description",
)
ICFG = About(
    key="icfg-pedes",
    name="ICFG-PEDES",
    folder="ICFG-PEDES",
    sizes={"train": Size(34_674, 3_102, 34_674), "test": Size(19_848, 1_000, 19_848)},
    looked=("ICFG-PEDES.json", "icfg_train.json, icfg_test.json"),
    kind="Photographs of pedestrians from MSMT17 with one fine-grained caption each.",
    terms="Academic research only; its authors give it on request, and the terms of MSMT17 hold for the pictures.",
    citation="Z. Ding, C. Ding, Z. Shao, D. Tao: Semantically Self-Aligned Network for Text-to-Image Part-aware Person "
    "Re-identification. arXiv 2107.12666, 2021.",
    url="https://github.com/zifyloo/SSAN",
    camera=True,
)
RSTP = About(
    key="rstpreid",
    name="RSTPReid",
    folder="RSTPReid",
    sizes={"train": Size(18_505, 3_701, 37_010), "val": Size(1_000, 200, 2_000), "test": Size(1_000, 200, 2_000)},
    looked=("data_captions.json", "rstp_train.json, rstp_val.json, rstp_test.json"),
    kind="Photographs of pedestrians from MSMT17, five of each person by different cameras, with two captions each.",
    terms="Academic research only; the terms of MSMT17 hold for the pictures.",
    citation="A. Zhu, Z. Wang, Y. Li, X. Wan, J. Jin, T. Wang, F. Hu, G. Hua: DSSL: Deep Surroundings-person Separation Learning for "
    "Text-based Person Retrieval. ACM MM 2021.",
    url="https://github.com/NjtechCVLab/RSTPReid-Dataset",
    camera=True,
)
WHOLE = {"cuhk-pedes": ("reid_raw.json",), "icfg-pedes": ("ICFG-PEDES.json", "ICFG_PEDES.json"), "rstpreid": ("data_captions.json",)}
PREFIX = {"cuhk-pedes": "cuhk", "icfg-pedes": "icfg", "rstpreid": "rstp"}
CAMERA = {
    "icfg-pedes": re.compile(r"\d{4}_\d{3}_(\d{2})_"),  # MSMT17's names: person, picture, camera, time
    "rstpreid": re.compile(r"\d+_c(\d+)_"),
}


def read(about: About, folder: Path) -> Benchmark | None:
    """The data set as it lies in `folder`, None where it does not."""
    places = bases(folder, about)
    whole = first(base / name for base in places for name in WHOLE[about.key])
    if whole is not None:
        splits, annotation = _released(about, whole), whole
    else:
        lists = {split: first(base / f"{PREFIX[about.key]}_{split}.json" for base in places) for split in SPLITS}
        files = {split: file for split, file in lists.items() if file is not None}
        if not files:
            return None
        splits, annotation = {split: _gathered(about, file) for split, file in files.items()}, next(iter(files.values()))
    names = [row.picture for rows in splits.values() for row in rows]
    return Benchmark(about, pictures(folder, about, annotation, names), _distinct(splits))


READERS: dict[str, tuple[About, Callable[[Path], Benchmark | None]]] = {
    about.key: (about, partial(read, about)) for about in (CUHK, ICFG, RSTP)
}


def _released(about: About, file: Path) -> dict[str, list[Row]]:
    """The rows of a split, an object each; UserError where a split has none."""
    found: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for at, entry in enumerate(entries(file), 1):
        where = f"{file}: object {at}"
        require(where, entry, ("split",))
        if entry["split"] not in found:
            raise UserError(f"{where} is of the split {entry['split']!r}, not {', '.join(SPLITS)}")
        found[entry["split"]].append(_row(about, where, entry))
    if empty := [split for split in about.sizes if not found[split]]:
        raise UserError(f"{file} lists no picture of the split {empty[0]}; perhaps it is not the file that was released")
    return {split: rows for split, rows in found.items() if rows}


def _gathered(about: About, file: Path) -> list[Row]:
    """The pictures of a list of captions, in the order of their first ones."""
    found: dict[tuple[str, int | None], Row] = {}
    for at, entry in enumerate(entries(file), 1):
        row = _row(about, f"{file}: object {at}", entry)
        before = found.get((row.picture, row.person))
        captions = (*before.captions, *row.captions) if before else row.captions
        found[row.picture, row.person] = Row(row.id, row.picture, captions, row.person, row.camera)
    return list(found.values())


def _row(about: About, where: str, entry: Mapping[str, Any]) -> Row:
    """One object; captions that say nothing are left out."""
    path = next((entry[name] for name in ("file_path", "img_path", "image") if name in entry), None)
    picture = inside(where, path)
    said = entry.get("captions", entry.get("caption"))
    captions = said if isinstance(said, list) else [said]
    if not all(isinstance(text, str) for text in captions):
        raise UserError(f"{where} has no captions, only {', '.join(entry)}")
    require(where, entry, ("id",) if "image_id" not in entry else ())
    person = number(where, entry.get("id", entry.get("image_id")), "person")
    name = CAMERA[about.key].match(Path(picture).name) if about.camera else None
    return Row(picture, picture, tuple(text for text in captions if text.strip()), person, int(name[1]) if name else None)


def _distinct(splits: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    """The same rows, each with an id of its own: a picture that is listed again is numbered."""
    count: Counter[str] = Counter()

    def named(rows: list[Row]) -> Iterator[Row]:
        for row in rows:
            count[row.id] += 1
            again = count[row.id]
            name = row.id if again == 1 else f"{row.id}#{again}"
            yield Row(name, row.picture, row.captions, row.person, row.camera)

    return {split: list(named(rows)) for split, rows in splits.items()}
