"""UFine6926 and UFine3C (UFineBench): images with long captions and identities, each set in one list of the released form.

An object is an image, {split, id, file_path, captions}; in UFine3C, which is a test set, also `source`: the data set that it came from.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

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
    require_names,
)
from pretrain.datasets.lists import read_released, read_row, shared_images, unlisted_splits, with_unique_ids

URL = "https://github.com/Zplusdragon/UFineBench"
TERMS = "A licence agreement, which is to be signed and sent to its authors, who answer with the download; we have not read it."
CITATION = (
    "J. Zuo, H. Zhou, Y. Nie, F. Zhang, T. Guo, N. Sang, Y. Wang, C. Gao: UFineBench: Towards Text-based Person Retrieval with Ultra-fine "
    "Granularity. CVPR 2024."
)
UFINE6926 = BenchmarkInfo(
    key="ufine6926",
    name="UFine6926",
    folder="UFine6926",
    sizes={"train": SplitSize(), "test": SplitSize()},
    total=SplitSize(26_206, 6_926, 52_412),
    annotation_files=("UFine6926.json", "UFine6926_Annotations*.json"),
    description="Photographs of pedestrians with two long captions each by annotators, 80.8 words on average.",
    terms=TERMS,
    citation=CITATION,
    url=URL,
)
UFINE3C = BenchmarkInfo(
    key="ufine3c",
    name="UFine3C",
    folder="UFine3C",
    sizes={"test": SplitSize(7_446, 2_250, 37_939)},
    annotation_files=("UFine3C_Annotations*.json", "UFine3C.json"),
    description="A test set of photographs of pedestrians from several data sets, with captions of several lengths and styles.",
    terms=TERMS,
    citation=CITATION,
    url=URL,
    caption_source="its authors",  # annotators, and models that wrote their captions anew; the list does not say which
    similarity_distribution=True,
    extra_columns={"source": value("string")},
    column_notes=("`source` is the data set that the image comes from.",),
)


def read_ufine6926(folder: Path) -> Benchmark | None:
    """UFine6926 in `folder`; None if it is not there."""
    annotation = _annotation(folder, UFINE6926)
    if annotation is None:
        return None
    splits = read_released(UFINE6926, placed_objects(annotation))
    notes = [*unlisted_splits(UFINE6926, annotation.name, splits), *_gaps(splits.get("train", ()))]
    return _benchmark(UFINE6926, folder, annotation, splits, notes)


def read_ufine3c(folder: Path) -> Benchmark | None:
    """UFine3C in `folder`; None if it is not there."""
    annotation = _annotation(folder, UFINE3C)
    if annotation is None:
        return None
    rows, notes = _apart([_read_ufine3c(placed) for placed in placed_objects(annotation)])
    return _benchmark(UFINE3C, folder, annotation, {"test": rows}, notes)


READERS = (Reader(UFINE6926, read_ufine6926), Reader(UFINE3C, read_ufine3c))


def _annotation(folder: Path, info: BenchmarkInfo) -> Path | None:
    """The list, whose name differs between copies: UFine6926.json, UFine6926_Annotations_1024.json, UFine3C_Annotations.json."""
    inner = [folder / info.folder / info.folder, folder / "UFineBench", folder / "UFineBench" / info.folder]
    places = [*annotation_folders(folder, info), *inner]
    return first_file(file for place in places for pattern in info.annotation_files for file in sorted(place.glob(pattern)))


def _benchmark(
    info: BenchmarkInfo, folder: Path, annotation: Path, splits: dict[str, list[BenchmarkRow]], notes: Sequence[str]
) -> Benchmark:
    images = [row.image for rows in splits.values() for row in rows]
    image_folder = find_image_folder(folder, info, annotation, images)
    return Benchmark(info, image_folder, with_unique_ids(splits), [*notes, *shared_images(splits)])


def _gaps(rows: Sequence[BenchmarkRow]) -> list[str]:
    """A sentence if the training identities are not 1, 2, 3 ..., as the readers of the set's users expect."""
    numbers = {row.identity for row in rows if row.identity is not None}
    missing = sorted(set(range(1, max(numbers, default=0) + 1)) - numbers)
    outside = sorted(number for number in numbers if number < 1)
    if not missing and not outside:
        return []
    first = f"such as {missing[0]}, are missing" if missing else f"such as {outside[0]}, are below 1"
    return [f"training identities are not numbered from 1 without gaps, as in the released file: {len(missing) + len(outside):,}, {first}"]


def _read_ufine3c(placed: Placed) -> BenchmarkRow:
    where, entry = placed
    require_names(where, entry, ("source",))
    source, split = entry["source"], entry.get("split", "test")
    if not isinstance(source, str) or not source.strip():
        raise UserError(f"{where} has {quoted(source)} as its source, not the name of a data set")
    if split != "test":
        raise UserError(f"{where} is of the split {quoted(split)}, where UFine3C has test alone")
    return replace(read_row(UFINE3C, where, entry), extras=(source,))


def _apart(rows: list[BenchmarkRow]) -> tuple[list[BenchmarkRow], list[str]]:
    """The rows with a person's number of its own where two sources have the same one, and a sentence about these numbers.

    The authors number the persons of all sources jointly, up to 2,250: a number that two sources share is not as in their file.
    """
    persons = list(dict.fromkeys((row.identity, row.extras) for row in rows))  # in the order of their first images
    free = max((identity for identity, _ in persons if identity is not None), default=0) + 1
    numbers: dict[tuple[int | None, tuple[int | str | None, ...]], int | None] = {}
    taken: set[int | None] = set()
    for identity, source in persons:
        if identity in taken:
            numbers[identity, source], free = free, free + 1
        else:
            numbers[identity, source] = identity
        taken.add(identity)
    count = len(persons) - len(taken)
    notes = [f"identities of one source that another source has too, taken for other persons: {count:,}"] if count else []
    return [replace(row, identity=numbers[row.identity, row.extras]) for row in rows], notes
