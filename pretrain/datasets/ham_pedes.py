"""HAM-PEDES: two captions for each of a million images of SYNTH-PEDES, whose images are not part of it.

The file is one object: path -> captions. The images are those of SYNTH-PEDES, with the folders `Part1`, `Part2` and so on.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mals.errors import quoted
from mals.planning.json_lists import stream_entries
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
)
from pretrain.datasets.long_lists import Irregularities, open_long_list

PART = re.compile(r"(?:^|.*/)(Part[0-9]+/.+)")  # an image of SYNTH-PEDES, wherever its folder lay when it was described
INFO = BenchmarkInfo(
    key="ham-pedes",
    name="HAM-PEDES",
    folder="HAM_PEDES",
    sizes={"train": SplitSize()},  # the authors round: 1 million images with 2 captions each
    annotation_files=("random100w_2HAMcaptions.json",),
    description="Captions of images of SYNTH-PEDES, by LLaVA-1.6 with learnt styles of annotators.",
    terms="Not known to us for the captions; those of SYNTH-PEDES for the images: research only, any commercial use is forbidden.",
    citation="J. Jiang, C. Ding, W. Tan, J. Wang, J. Tao, X. Xu: Modeling Thousands of Human Annotators for Generalizable Text-to-Image "
    "Person Re-identification. CVPR 2025.",
    url="https://github.com/sssaury/HAM",
    caption_source="LLaVA-1.6 (HAM)",
    captions_each="2",
    has_identities=False,
    images_elsewhere=True,
)


def read(folder: Path) -> Benchmark | None:
    """The data set in `folder`; None if it is not there."""
    file = first_file(place / name for place in annotation_folders(folder, INFO) for name in INFO.annotation_files)
    if file is None:
        return None
    rows, sample, notes = open_long_list(partial(_read_rows, file))
    images = find_image_folder(folder, INFO, file, sample, ("", "SYNTH-PEDES", "images", "imgs"))
    return Benchmark(INFO, images, {"train": rows}, notes)


READER = Reader(INFO, read)


def _read_rows(file: Path, odd: Irregularities) -> Iterator[BenchmarkRow]:
    for name, value in stream_entries(file):
        where = f"{file}: {quoted(name)}"
        part = PART.fullmatch(name.replace("\\", "/"))
        image = relative_path(where, part[1] if part else name)
        captions = present_captions(where, {"captions": value})
        if len(captions) != 2:
            odd.add("images that have not two captions", image)
        yield BenchmarkRow(id=image, image=image, captions=captions)
