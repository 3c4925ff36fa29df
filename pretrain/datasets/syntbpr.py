"""SynTBPR: generated persons with edited further images, and captions of large language models with their back translations.

An object is an image: {id, file_path, captions, captions_bt}; `captions_bt`, the captions translated to another language and back, may be
missing. Lists of its captioners have {image_path, captions, split} and no id: the identity is the first number of the image's name
(`images_7_123_2.jpg` is an image of person 7), and the path, which is absolute, is its name alone.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from mals.errors import UserError
from mals.planning.json_lists import image_path
from pretrain.datasets.layout import (
    Benchmark,
    BenchmarkInfo,
    BenchmarkRow,
    Reader,
    SplitSize,
    annotation_folders,
    find_image_folder,
    first_file,
    identity_number,
    present_captions,
    relative_path,
    require_names,
    stream_placed,
)
from pretrain.datasets.long_lists import Irregularities, open_long_list

SHARED_NAME = "train_reid.json"  # that of TAG-PEDES's list too
LISTS = ("SynTBPR.json", SHARED_NAME)
SAMPLE = 100  # objects of a list of that name by which it is told from others
BACK_TRANSLATION = "back translation"
NAME = re.compile(r"images_([0-9]{1,18})_")
INFO = BenchmarkInfo(
    key="syntbpr",
    name="SynTBPR",
    folder="SynTBPR",
    sizes={"train": SplitSize()},
    annotation_files=LISTS,
    description="Images of invented pedestrians by Stable Diffusion 1.5, several of a person by edits of background, weather, style and "
    "posture, with captions by large language models that see images.",
    terms="Not known to us: ask its authors.",
    citation="M. Cao, Z. Zeng, Y. Lu, M. Ye, D. Yi, J. Wang: An Empirical Study of Validating Synthetic Data for Text-Based Person "
    "Retrieval. arXiv 2503.22171, 2025.",
    url="https://github.com/Flame-Chasers/SynTBPR",
    caption_source="MLLM",
    captions_each="1 of each captioner",
    synthetic=True,
    column_notes=(f"Captions that were translated to another language and back have the source `{BACK_TRANSLATION}`.",),
)


def read(folder: Path) -> Benchmark | None:
    """The data set in `folder`; None if it is not there."""
    file = first_file(place / name for place in annotation_folders(folder, INFO) for name in LISTS)
    if file is None or (file.name == SHARED_NAME and not is_list(file)):
        return None
    rows, images, notes = open_long_list(partial(_read_rows, file))
    return Benchmark(INFO, find_image_folder(folder, INFO, file, images, ("images", "imgs", "")), {"train": rows}, notes)


READER = Reader(INFO, read)


def is_list(file: Path) -> bool:
    """Whether a list, whose name other sets use too, has keys of SynTBPR, or names images as it does."""
    first = (entry for _, entry in islice(stream_placed(file), SAMPLE))
    return any({"captions_bt", "image_path"} & set(entry) or NAME.match(_base_name(entry.get("file_path"))) for entry in first)


def _base_name(path: Any) -> str:
    return PurePosixPath(str(path).replace("\\", "/")).name


def _read_rows(file: Path, odd: Irregularities) -> Iterator[BenchmarkRow]:
    for where, entry in stream_placed(file):
        row = _row(where, entry)
        if entry.get("id") is None:
            odd.add("images whose object has no id, of the person in the image's name", row.image)
        yield row


def _row(where: str, entry: Mapping[str, Any]) -> BenchmarkRow:
    """One object; blank captions are left out."""
    if "file_path" in entry:
        image = relative_path(where, entry["file_path"])
    else:
        require_names(where, entry, ("image_path",))
        image = PurePosixPath(image_path(where, entry["image_path"], "image_path")).name
    captions = present_captions(where, entry)
    translated = present_captions(where, {"captions": entry.get("captions_bt")})
    return BenchmarkRow(
        id=image,
        image=image,
        captions=(*captions, *translated),
        identity=_identity(where, entry, image),
        sources=(*[str(INFO.caption_source)] * len(captions), *[BACK_TRANSLATION] * len(translated)),
    )


def _identity(where: str, entry: Mapping[str, Any], image: str) -> int:
    """The object's id, or that in the name of its image."""
    if entry.get("id") is not None:
        return identity_number(where, entry["id"])
    named = NAME.match(PurePosixPath(image).name)
    if named is None:
        raise UserError(f"{where} has no id, and its image {image} is not named as images_7_123_2.jpg, of the person 7")
    return int(named[1])
