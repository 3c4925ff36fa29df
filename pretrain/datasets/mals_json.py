"""MALS as its authors publish it: JSON lists of {image, caption, image_id, label} (`g_…_attrs.json`) and the images; and the output of
`mals export --format mals-json`, which has the same form with one list for each split.

MALS has 1.5 million rows: lists are read one after the other, each time that the rows are iterated.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from mals.attributes import load_space
from pretrain.datasets.layout import (
    Benchmark,
    BenchmarkInfo,
    BenchmarkRow,
    Reader,
    SplitSize,
    find_image_folder,
    label_values,
    numeric_key,
    present_captions,
    relative_path,
    require_names,
    stream_placed,
)
from pretrain.datasets.long_lists import Irregularities, open_long_lists

INFO = BenchmarkInfo(
    key="mals-json",
    name="MALS",
    folder="MALS",
    sizes={"train": SplitSize(1_510_330, None, 1_510_330)},
    annotation_files=("gene_attrs/g_*_attrs.json", "train.json"),
    description="Images of invented pedestrians by a diffusion model, with a caption by BLIP and 27 attributes from its words.",
    terms="Research only; any commercial use is forbidden.",
    citation="S. Yang, Y. Zhou, Y. Wang, Y. Wu, L. Zhu, Z. Zheng: Towards Unified Text-based Person Retrieval: A Large-scale "
    "Multi-Attribute and Language Search Benchmark. ACM MM 2023.",
    url="https://github.com/Shuyu-XJTU/APTM",
    space="market1501",
    caption_source="BLIP",
    has_identities=False,
    synthetic=True,
)


def read(folder: Path) -> Benchmark | None:
    """The data set in `folder`; None if it is not there."""
    lists = _find_lists(folder)
    if not lists:
        return None
    splits, images, notes = open_long_lists({split: partial(_read_rows, files) for split, files in lists.items()})
    first = next(iter(lists.values()))[0]
    return Benchmark(INFO, find_image_folder(folder, INFO, first, images, ("", "images", "MALS", "images/MALS")), splits, notes)


READER = Reader(INFO, read)


def _find_lists(folder: Path) -> dict[str, list[Path]]:
    """Split -> its lists, in the order of the numbers in their names."""
    for place in (folder / "gene_attrs", folder / "data" / "gene_attrs", folder, folder / "MALS", folder / "MALS" / "gene_attrs"):
        if files := sorted(place.glob("g_*_attrs.json"), key=numeric_key):
            return {"train": files}
    exported = {split: folder / f"{split}.json" for split in ("train", "val", "test")}
    return {split: [file] for split, file in exported.items() if file.is_file()}


def _read_rows(files: Sequence[Path], odd: Irregularities) -> Iterator[BenchmarkRow]:
    count = len(load_space("market1501").names)
    for where, entry in chain.from_iterable(map(stream_placed, files)):
        require_names(where, entry, ("image", "caption", "image_id", "label"))
        yield BenchmarkRow(
            id=str(entry["image_id"]),
            image=relative_path(where, entry["image"]),
            captions=present_captions(where, {"caption": entry["caption"]}),
            labels=label_values(where, entry["label"], count),
        )
