"""WebPerson: crops of persons from the web with two captions each, in the form of JSON lists.

A list holds objects of one key, {path: {caption1, caption2}}; the paths are those of images in the folder `images`. The lists are called by
their length in units of ten thousand: `100w.json` has a million images.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mals.errors import UserError
from mals.planning.json_lists import captions_of, key_names, stream_objects
from pretrain.datasets.layout import (
    Benchmark,
    BenchmarkInfo,
    BenchmarkRow,
    Reader,
    SplitSize,
    annotation_folders,
    find_image_folder,
    relative_path,
)
from pretrain.datasets.long_lists import Irregularities, open_long_list

CAPTIONS = ("caption1", "caption2")
LINE_BREAK = re.compile(r"\s*/n(?![a-z])\s*")  # "/n" for a line break; not that of "black/navy"
INFO = BenchmarkInfo(
    key="webperson",
    name="WebPerson",
    folder="WebPerson",
    sizes={"train": SplitSize(5_002_723)},
    annotation_files=("100w.json",),
    description="Crops of persons from images of the web (COYO-700M) with two captions each by Qwen2.5-VL.",
    terms="Its authors' card of the Parquet files says CC BY 4.0; the images are of the web and keep their owners' rights.",
    citation="Gradient-Attention Guided Dual-Masking Synergetic Framework for Robust Text-based Person Retrieval (GA-DMS). 2025.",
    url="https://github.com/Multimodal-Representation-Learning-MRL/GA-DMS",
    caption_source="Qwen2.5-VL",
    has_identities=False,
    images_elsewhere=True,
    column_notes=(
        "The sources `caption1` and `caption2` are the names in the list: a model of 7 and one of 32 billion parameters wrote them.",
    ),
)


def read(folder: Path) -> Benchmark | None:
    """The data set in `folder`, the longest of its lists; None if it is not there."""
    lists = [file for place in annotation_folders(folder, INFO) for file in place.glob("*w.json") if file.stem[:-1].isdigit()]
    if not lists:
        return None
    file = max(lists, key=lambda file: int(file.stem[:-1]))
    rows, sample, notes = open_long_list(partial(_read_rows, file))
    if others := sorted({other.name for other in lists} - {file.name}):
        notes.append(f"the list that was read is {file.name}, not {', '.join(others)}")
    return Benchmark(INFO, find_image_folder(folder, INFO, file, sample, ("images", "", "imgs")), {"train": rows}, notes)


READER = Reader(INFO, read)


def _read_rows(file: Path, odd: Irregularities) -> Iterator[BenchmarkRow]:
    for number, entry in enumerate(stream_objects(file), 1):
        where = f"{file}: object {number}"
        (path, captions) = next(iter(entry.items())) if len(entry) == 1 else (None, None)
        if not isinstance(captions, dict):
            raise UserError(f"{where} has {key_names(entry)}, where one path with its captions is expected")
        image, texts = relative_path(where, path), {}
        for name in CAPTIONS:
            if text := captions_of(where, {"captions": captions.get(name)})[0]:
                texts[name] = LINE_BREAK.sub(" ", text).strip()
                if texts[name] != text.strip():
                    odd.add('captions with "/n" for a line break, which was taken out', image)
        texts = {name: text for name, text in texts.items() if text}
        yield BenchmarkRow(id=image, image=image, captions=tuple(texts.values()), sources=tuple(texts))
