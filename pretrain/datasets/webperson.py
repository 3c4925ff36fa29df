"""WebPerson: crops of persons from the web with two captions each, as Parquet files with the images, or as JSON lists without them.

A list holds objects of one key, {path: {caption1, caption2}}; the paths are those of images in the folder `images`. The lists are called by
their length in units of ten thousand: `100w.json` has a million images. The tables have the columns image, image_path, caption1, caption2.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mals.errors import UserError
from mals.planning.json_lists import captions_of, key_names
from mals.planning.json_stream import PARTIAL
from pretrain.data.errors import first_line
from pretrain.data.image_folder import ImageFolder
from pretrain.datasets.layout import (
    Benchmark,
    BenchmarkInfo,
    BenchmarkRow,
    Reader,
    SplitSize,
    annotation_folders,
    find_image_folder,
    relative_path,
    require_names,
    stream_placed,
)
from pretrain.datasets.long_lists import Irregularities, open_long_list

CAPTIONS = ("caption1", "caption2")
BATCH = 64  # rows of a table that are read at a time
LINE_BREAK = re.compile(r"(?:^|(?<=[.!?,;:]))\s*(?:/n\s*)+|\s*(?:/n(?![a-z])\s*)+")  # "/n" for a line break; not that of "black/navy"
LIST = re.compile(r"([0-9]{1,9})w\.json")
INFO = BenchmarkInfo(
    key="webperson",
    name="WebPerson",
    folder="WebPerson",
    sizes={"train": SplitSize(5_002_723)},
    annotation_files=("100w.json", "the Parquet files of the hub"),  # whose names are those of any set
    description="Crops of persons from images of the web (COYO-700M) with two captions each by Qwen2.5-VL.",
    terms="Its authors' card of the Parquet files says CC BY 4.0; the images are of the web and keep their owners' rights.",
    citation="Gradient-Attention Guided Dual-Masking Synergetic Framework for Robust Text-based Person Retrieval (GA-DMS). 2025.",
    url="https://github.com/Multimodal-Representation-Learning-MRL/GA-DMS",
    caption_source="Qwen2.5-VL",
    captions_each="2",
    has_identities=False,
    images_elsewhere=True,
    column_notes=(
        "The sources `caption1` and `caption2` are the names in the list: a model of 7 and one of 32 billion parameters wrote them.",
    ),
)


def read(folder: Path) -> Benchmark | None:
    """The data set in `folder`, its tables or else the longest of its lists; None if it is not there."""
    places = annotation_folders(folder, INFO)
    lists = {file: int(length[1]) for place in places for file in place.glob("*w.json") if (length := LIST.fullmatch(file.name))}
    tables = next((files for place in places for inner in ("data", ".") if (files := _tables(place / inner))), [])
    if tables:
        rows, _, notes = open_long_list(partial(_read_tables, tables, False))
        images = ImageFolder(tables[0].parent)
        return Benchmark(INFO, images, {"train": replace(rows, read=partial(_read_tables, tables, True))}, notes)
    if not lists:
        return None
    file = max(lists, key=lambda file: lists[file])
    rows, sample, notes = open_long_list(partial(_read_list, file))
    if others := sorted({other.name for other in lists} - {file.name}):
        notes.append(f"the list that was read is {file.name}, not {', '.join(others)}")
    return Benchmark(INFO, find_image_folder(folder, INFO, file, sample, ("images", "", "imgs")), {"train": rows}, notes)


READER = Reader(INFO, read)


def _tables(folder: Path) -> list[Path]:
    """The Parquet files of a folder with columns of WebPerson, or that cannot be read; [] if the first one has other columns."""
    files = sorted(folder.glob("*.parquet"))
    with suppress(pa.ArrowException, OSError):
        return files if files and {"image_path", *CAPTIONS} & set(pq.read_schema(files[0]).names) else []
    return files


def _read_list(file: Path, odd: Irregularities) -> Iterator[BenchmarkRow]:
    for where, entry in stream_placed(file):
        (path, captions) = next(iter(entry.items())) if len(entry) == 1 else (None, None)
        if not isinstance(captions, dict):
            raise UserError(f"{where} has {key_names(entry)}, where one path with its captions is expected")
        yield _row(where, path, captions, None, odd)


def _read_tables(files: Sequence[Path], with_images: bool, odd: Irregularities) -> Iterator[BenchmarkRow]:
    """The rows of the tables; their images are read if that is requested."""
    columns = ["image_path", *CAPTIONS, *(["image"] if with_images else [])]
    for file in files:
        try:
            with pq.ParquetFile(file) as parquet:
                require_names(file, dict.fromkeys(parquet.schema_arrow.names), ("image", "image_path", *CAPTIONS))
                number = 0
                for batch in parquet.iter_batches(BATCH, columns=columns):
                    for entry in batch.to_pylist():
                        number += 1
                        yield _row(f"{file}: row {number}", entry["image_path"], entry, entry.get("image"), odd)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{file} is no readable Parquet file ({first_line(error)}); {PARTIAL}") from None


def _row(where: str, path: Any, captions: Mapping[str, Any], image: Any, odd: Irregularities) -> BenchmarkRow:
    """One image; `image` is the value of the column image of a table, bytes or a struct that has them."""
    name, texts = relative_path(where, path), {}
    for key in CAPTIONS:
        if text := captions_of(where, {"captions": captions.get(key)})[0]:
            texts[key] = LINE_BREAK.sub(" ", text).strip()
            if texts[key] != text.strip():
                odd.add('captions with "/n" for a line break, which was taken out', name)
    texts = {key: text for key, text in texts.items() if text}
    data = image.get("bytes") if isinstance(image, dict) else image
    if data is not None and not isinstance(data, bytes):
        raise UserError(f"{where} has an image that is not the bytes of a file")
    return BenchmarkRow(id=name, image=name, captions=tuple(texts.values()), sources=tuple(texts), data=data)
