"""CUHK-PEDES, ICFG-PEDES and RSTPReid: images with captions and identities, in the released list or the MALS authors' lists.

In a released list, an object is an image ({split, captions, file_path or img_path, id}). The MALS authors have one list
for each split (`cuhk_train.json`); in that of the training split an object is a caption ({image, caption, image_id}), so that each image
has several objects; the reader joins their captions. The `image_id` there is the identity. CUHK-PEDES has another file, see `caption_all`.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mals.errors import UserError, quoted
from mals.planning.json_lists import key_names
from pretrain.datasets import caption_all
from pretrain.datasets.caption_faults import caption_faults
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

SPLITS = ("train", "val", "test")

CUHK = BenchmarkInfo(
    key="cuhk-pedes",
    name="CUHK-PEDES",
    folder="CUHK-PEDES",
    sizes={"train": SplitSize(34_054, 11_003, 68_126), "val": SplitSize(3_078, 1_000, 6_158), "test": SplitSize(3_074, 1_000, 6_156)},
    annotation_files=("reid_raw.json", "cuhk_train.json, cuhk_val.json, cuhk_test.json"),
    description="Photographs of pedestrians from five re-identification data sets, most with two captions each by crowd workers.",
    terms="Academic research only; its authors send it to members of universities on request.",
    citation="S. Li, T. Xiao, H. Li, B. Zhou, D. Yue, X. Wang: Person Search with Natural Language Description. CVPR 2017.",
    url="https://github.com/ShuangLI59/Person-Search-with-Natural-Language-Description",
)
ICFG = BenchmarkInfo(
    key="icfg-pedes",
    name="ICFG-PEDES",
    folder="ICFG-PEDES",
    sizes={"train": SplitSize(34_674, 3_102, 34_674), "test": SplitSize(19_848, 1_000, 19_848)},
    annotation_files=("ICFG-PEDES.json", "icfg_train.json, icfg_test.json"),
    description="Photographs of pedestrians from MSMT17 with one fine-grained caption each.",
    terms="Academic research only; its authors send it on request, and the terms of MSMT17 apply to the images.",
    citation="Z. Ding, C. Ding, Z. Shao, D. Tao: Semantically Self-Aligned Network for Text-to-Image Part-aware Person "
    "Re-identification. arXiv 2107.12666, 2021.",
    url="https://github.com/zifyloo/SSAN",
    has_cameras=True,
    published_captions="letters",  # at test time only (docs/papers)
)
RSTP = BenchmarkInfo(
    key="rstpreid",
    name="RSTPReid",
    folder="RSTPReid",
    sizes={"train": SplitSize(18_505, 3_701, 37_010), "val": SplitSize(1_000, 200, 2_000), "test": SplitSize(1_000, 200, 2_000)},
    annotation_files=("data_captions.json", "rstp_train.json, rstp_val.json, rstp_test.json"),
    description="Photographs of pedestrians from MSMT17, five of each person by different cameras, with two captions each.",
    terms="Academic research only; the terms of MSMT17 apply to the images.",
    citation="A. Zhu, Z. Wang, Y. Li, X. Wan, J. Jin, T. Wang, F. Hu, G. Hua: DSSL: Deep Surroundings-person Separation Learning for "
    "Text-based Person Retrieval. ACM MM 2021.",
    url="https://github.com/NjtechCVLab/RSTPReid-Dataset",
    has_cameras=True,
    published_captions="letters",  # at test time only (docs/papers)
)
RELEASED_LISTS = {
    "cuhk-pedes": ("reid_raw.json",),
    "icfg-pedes": ("ICFG-PEDES.json", "ICFG_PEDES.json"),
    "rstpreid": ("data_captions.json",),
}
SPLIT_LIST_PREFIXES = {"cuhk-pedes": "cuhk", "icfg-pedes": "icfg", "rstpreid": "rstp"}
CAMERA_PATTERNS = {
    "icfg-pedes": re.compile(r"[0-9]{4}_[0-9]{3}_([0-9]{2})_"),  # MSMT17's names: identity, image, camera, time
    "rstpreid": re.compile(r"[0-9]+_c([0-9]{1,4})_"),
}


def read(info: BenchmarkInfo, folder: Path) -> Benchmark | None:
    """The benchmark in `folder`; None if it is not there."""
    places = annotation_folders(folder, info)
    released = first_file(place / name for place in places for name in RELEASED_LISTS[info.key])
    without_splits = first_file(place / caption_all.NAME for place in places) if info is CUHK else None
    lists = {split: first_file(place / f"{SPLIT_LIST_PREFIXES[info.key]}_{split}.json" for place in places) for split in SPLITS}
    files = {split: file for split, file in lists.items() if file is not None}
    notes: list[str] = []
    if released is not None:
        objects, annotation = placed_objects(released), released
        if without_splits is not None:
            objects, notes = caption_all.join(objects, without_splits)
        splits = read_released(info, objects)
        notes += unlisted_splits(info, released.name, splits)
    elif files:
        splits, annotation = {split: _read_split_list(info, file) for split, file in files.items()}, next(iter(files.values()))
    elif without_splits is not None:
        raise caption_all.refuse_alone(without_splits)
    else:
        return None
    if info is RSTP:
        notes += caption_faults(splits)
    images = [row.image for rows in splits.values() for row in rows]
    return Benchmark(info, find_image_folder(folder, info, annotation, images), with_unique_ids(splits), [*notes, *shared_images(splits)])


READERS = tuple(Reader(info, partial(read, info)) for info in (CUHK, ICFG, RSTP))


def read_released(info: BenchmarkInfo, objects: Iterable[Placed]) -> dict[str, list[BenchmarkRow]]:
    """Split -> its rows, one for each object; splits without any are left out."""
    splits: dict[str, list[BenchmarkRow]] = {split: [] for split in SPLITS}
    for where, entry in objects:
        require_names(where, entry, ("split",))
        split = entry["split"]
        if split not in SPLITS:
            raise UserError(f"{where} is of the split {quoted(split)}, not {', '.join(SPLITS)}")
        splits[split].append(read_row(info, where, entry))
    return {split: rows for split, rows in splits.items() if rows}


def unlisted_splits(info: BenchmarkInfo, name: str, splits: Mapping[str, Collection[BenchmarkRow]]) -> list[str]:
    """A sentence about the splits of which the annotation `name` lists no image, if there are any."""
    empty = [split for split in info.sizes if not splits.get(split)]
    if not empty:
        return []
    return [f"{name} lists no image of {' and '.join(empty)}, which the released file does; the same command packs them once that is there"]


def _read_split_list(info: BenchmarkInfo, file: Path) -> list[BenchmarkRow]:
    """The images of a list of captions, in the order of their first captions."""
    rows: dict[tuple[str, int | None], BenchmarkRow] = {}
    for where, entry in placed_objects(file):
        row = read_row(info, where, entry)
        earlier = rows.get((row.image, row.identity))
        captions = (*earlier.captions, *row.captions) if earlier else row.captions
        rows[row.image, row.identity] = replace(row, captions=captions)
    return list(rows.values())


def read_row(info: BenchmarkInfo, where: str, entry: Mapping[str, Any]) -> BenchmarkRow:
    """One object; blank captions are left out."""
    path = next((entry[name] for name in ("file_path", "img_path", "image") if name in entry), None)
    image = relative_path(where, path)
    if "captions" not in entry and "caption" not in entry:
        raise UserError(f"{where} has no captions, only {key_names(entry)}")
    require_names(where, entry, ("id",) if "image_id" not in entry else ())
    identity = whole_number(where, entry.get("id", entry.get("image_id")), "identity")
    pattern = CAMERA_PATTERNS.get(info.key)
    camera = pattern.match(Path(image).name) if pattern else None
    return BenchmarkRow(
        id=image,
        image=image,
        captions=present_captions(where, entry),
        identity=identity,
        camera=int(camera[1]) if camera else None,
    )


def with_unique_ids(splits: Mapping[str, list[BenchmarkRow]]) -> dict[str, list[BenchmarkRow]]:
    """The same rows, each with its own id: an image that is listed again has a number appended."""
    counts: Counter[str] = Counter()

    def renamed(rows: list[BenchmarkRow]) -> Iterator[BenchmarkRow]:
        for row in rows:
            counts[row.id] += 1
            yield row if counts[row.id] == 1 else replace(row, id=f"{row.id}#{counts[row.id]}")

    return {split: list(renamed(rows)) for split, rows in splits.items()}


def shared_images(splits: Mapping[str, list[BenchmarkRow]]) -> list[str]:
    """Sentences about images of several persons, and of several splits, if there are any."""
    persons: dict[str, set[int | None]] = {}
    places: dict[str, set[str]] = {}
    for split, rows in splits.items():
        for row in rows:
            persons.setdefault(row.image, set()).add(row.identity)
            places.setdefault(row.image, set()).add(split)
    groups: list[tuple[str, Mapping[str, Collection[object]]]] = [("persons", persons), ("splits", places)]
    notes = []
    for name, values_of in groups:
        if shared := [image for image, values in values_of.items() if len(values) > 1]:
            values = " and ".join(sorted(map(str, values_of[shared[0]])))
            notes.append(f"images listed under several {name}, packed once for each: {len(shared):,}, such as {shared[0]} ({values})")
    return notes
