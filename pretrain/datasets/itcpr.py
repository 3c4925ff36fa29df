"""ITCPR, a test set of composed person retrieval, as one of text queries: which images show the clothes that a caption names.

`query.json` has a caption for each query, {file_path, datasets, person_id, instance_id, caption}, and `gallery.json` the images that are
searched, {file_path, datasets, person_id, instance_id}, most of them distractors, whose `instance_id` is -1. An image is right for a query
of its `instance_id`, which is the identity here. Person ids collide between the data sets that the images come from. The reference image of
a query, `file_path` in `query.json`, is of no use to a query by text, and is not packed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mals.dataset.features import value
from mals.errors import UserError
from mals.planning.json_lists import captions_of
from pretrain.data.image_folder import ImageFolder
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
    optional_text,
    placed_objects,
    relative_path,
    require_names,
    whole_number,
)
from pretrain.datasets.lists import with_unique_ids

GALLERY, QUERY = "gallery.json", "query.json"
DISTRACTOR = -1
INFO = BenchmarkInfo(
    key="itcpr",
    name="ITCPR",
    folder="ITCPR",
    sizes={"test": SplitSize(20_510, None, 2_202)},
    annotation_files=(f"{GALLERY}, {QUERY}",),
    description="Photographs of pedestrians from Celeb-reID, LAST and PRCC, with captions of what a person wears on another photograph.",
    terms="Not known to us; the terms of Celeb-reID, LAST and PRCC apply to the images.",
    citation="D. Liu, H. Li, Z. Hou, Z. Zhao, F. Su, Y. Dong: Automatic Synthetic Data and Fine-grained Adaptive Feature Alignment for "
    "Composed Person Retrieval. NeurIPS 2025.",
    url="https://github.com/Delong-liu-bupt/Composed_Person_Retrieval",
    captions_each="1 for each query",
    uncaptioned_splits=frozenset({"test"}),
    extra_columns={"source": value("string"), "source_person": value("int64")},
    column_notes=(
        "`person` is `instance_id`, a person in certain clothes, by which an image matches a caption; null for distractors.",
        "`source` is the data set that the image comes from, and `source_person` numbers the persons of all of them.",
        "Captions are those of the queries, beside the first image of their `instance_id`; `caption` of other images is null.",
    ),
)


def read(folder: Path) -> Benchmark | None:
    """The benchmark in `folder`; None if it is not there."""
    places = annotation_folders(folder, INFO)
    gallery, query = (first_file(place / name for place in places) for name in (GALLERY, QUERY))
    if gallery is None or query is None:
        return None
    captions, notes = _captions(query)
    objects = placed_objects(gallery)
    images = [relative_path(where, entry.get("file_path")) for where, entry in objects]
    image_folder = find_image_folder(folder, INFO, gallery, images, ("",))
    rows = _rows(objects, captions, image_folder)
    if unmatched := sum(map(len, captions.values())):
        notes.append(f"captions of {QUERY} whose instance_id no image has that is there, left out: {unmatched:,}")
    if doubled := len(images) - len(set(images)):
        notes.append(f"images that {GALLERY} lists again, packed for each time: {doubled:,}")
    return Benchmark(INFO, image_folder, with_unique_ids({"test": rows}), notes)


READER = Reader(INFO, read)


def _captions(file: Path) -> tuple[dict[int, list[str]], list[str]]:
    """Instance -> the captions of its queries, and sentences about queries without a caption."""
    captions: dict[int, list[str]] = {}
    blank = 0
    for where, entry in placed_objects(file):
        require_names(where, entry, ("caption", "instance_id"))
        (caption,) = captions_of(where, {"caption": entry["caption"]})
        instance = whole_number(where, entry["instance_id"], "instance_id")
        if instance == DISTRACTOR:
            raise UserError(f"{where} has the instance_id -1, which is that of images that no query asks for")
        if caption is None:
            blank += 1
        else:
            captions.setdefault(instance, []).append(caption)
    return captions, [f"queries without a caption, left out: {blank:,}"] if blank else []


def _rows(objects: Sequence[Placed], captions: dict[int, list[str]], images: ImageFolder) -> list[BenchmarkRow]:
    """The gallery; captions are taken out of `captions` for the first image of their instance that is in its folder."""
    persons: dict[tuple[str | None, int], int] = {}
    rows = []
    for where, entry in objects:
        require_names(where, entry, ("file_path", "datasets", "person_id", "instance_id"))
        image, instance = relative_path(where, entry["file_path"]), whole_number(where, entry["instance_id"], "instance_id")
        person = _person(where, entry)
        number = persons.setdefault(person, len(persons))
        rows.append(
            BenchmarkRow(
                id=image,
                image=image,
                captions=tuple(captions.pop(instance, ())) if images.find(image) is not None else (),
                identity=None if instance == DISTRACTOR else instance,
                extras=(person[0], number),
            )
        )
    return rows


def _person(where: str, entry: Mapping[str, object]) -> tuple[str | None, int]:
    """The data set and its number of the person."""
    return optional_text(where, entry, "datasets"), whole_number(where, entry["person_id"], "person_id")
