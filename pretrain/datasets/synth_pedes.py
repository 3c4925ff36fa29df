"""SYNTH-PEDES: 4.8 million crops of persons from videos, captions by the captioner SPAC, and six attributes as phrases.

An object of the list is an image: {id, file_path, attributes, captions, prompt_caption}. `attributes` is one text of six fields in a list,
`prompt_caption` a sentence that a template made of them.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mals.dataset.features import value
from pretrain.datasets.layout import (
    Benchmark,
    BenchmarkInfo,
    BenchmarkRow,
    Reader,
    SplitSize,
    annotation_folders,
    find_image_folder,
    first_file,
    present_captions,
    relative_path,
    require_names,
    stream_placed,
    whole_number,
)
from pretrain.datasets.long_lists import Irregularities, open_long_list

FIELDS = ("gender", "hair", "upper", "lower", "shoes", "belongings")
FROM_ATTRIBUTES = "SPAC attributes"  # the source of the captions that a template made of the attributes
INFO = BenchmarkInfo(
    key="synth-pedes",
    name="SYNTH-PEDES",
    folder="SYNTH-PEDES",
    sizes={"train": SplitSize(4_791_771, 312_321, 12_138_157)},
    annotation_files=("synthpedes_dataset.json", "synthpedes-dataset.json"),
    description="Crops of real pedestrians from videos with captions and attribute phrases that models made.",
    terms="Research only; any commercial use is forbidden.",
    citation="J. Zuo, J. Hong, F. Zhang, C. Yu, H. Zhou, C. Gao, N. Sang, J. Wang: PLIP: Language-Image Pre-training for Person "
    "Representation Learning. NeurIPS 2024.",
    url="https://github.com/Zplusdragon/PLIP",
    caption_source="SPAC",
    uncounted_source=FROM_ATTRIBUTES,
    extra_columns={name: value("string") for name in FIELDS},
    column_notes=(
        f"{', '.join(f'`{name}`' for name in FIELDS)} are phrases such as `brown hair`, null if unknown; the captions with the source "
        f"`{FROM_ATTRIBUTES}` were made of them.",
    ),
)


def read(folder: Path) -> Benchmark | None:
    """The data set in `folder`; None if it is not there."""
    file = first_file(place / name for place in annotation_folders(folder, INFO) for name in INFO.annotation_files)
    if file is None:
        return None
    rows, sample, notes = open_long_list(partial(_read_rows, file))
    return Benchmark(INFO, find_image_folder(folder, INFO, file, sample, ("", "imgs", "images")), {"train": rows}, notes)


READER = Reader(INFO, read)


def _read_rows(file: Path, odd: Irregularities) -> Iterator[BenchmarkRow]:
    for where, entry in stream_placed(file):
        require_names(where, entry, ("id", "file_path", "captions"))
        image = relative_path(where, entry["file_path"])
        captions = present_captions(where, {"captions": entry["captions"]})
        composed = present_captions(where, {"captions": entry.get("prompt_caption")})
        yield BenchmarkRow(
            id=image,
            image=image,
            captions=captions + composed,
            sources=("SPAC",) * len(captions) + (FROM_ATTRIBUTES,) * len(composed),
            identity=whole_number(where, entry["id"], "identity"),
            extras=_phrases(entry.get("attributes"), image, odd),
        )


def _phrases(attributes: Any, image: str, odd: Irregularities) -> tuple[str | None, ...]:
    """The six phrases, None for each that is unknown; all of them where they are not six."""
    text = attributes[0] if isinstance(attributes, list) and len(attributes) == 1 else attributes
    phrases = [phrase.strip() for phrase in text.split(",")] if isinstance(text, str) else []
    if len(phrases) != len(FIELDS):
        odd.add("images whose attributes are not six phrases, taken as unknown", image)
        return (None,) * len(FIELDS)
    return tuple(None if phrase.lower() in ("", "unknown") else phrase for phrase in phrases)
