"""MALS as its authors publish it: JSON lists of {image, caption, image_id, label} (`g_…_attrs.json`) and the pictures; and what
`mals export --format mals-json` writes in the same form, a list a split.

A million and a half rows: lists are read one after the other, as often as they are gone through.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mals.attributes import load_space
from mals.errors import UserError
from pretrain.datasets.layout import About, Benchmark, Row, Size, entries, inside, labels, pictures, require

ABOUT = About(
    key="mals-json",
    name="MALS",
    folder="MALS",
    sizes={"train": Size(1_510_330, None, 1_510_330)},
    looked=("gene_attrs/g_*_attrs.json", "train.json"),
    kind="Pictures of invented pedestrians by a diffusion model, with a caption by BLIP and 27 attributes from its words.",
    terms="Research only; any commercial use is forbidden.",
    citation="S. Yang, Y. Zhou, Y. Wang, Y. Wu, L. Zhu, Z. Zheng: Towards Unified Text-based Person Retrieval: A Large-scale "
    "Multi-Attribute and Language Search Benchmark. ACM MM 2023.",
    url="https://github.com/Shuyu-XJTU/APTM",
    space="market1501",
    captions="BLIP",
    person=False,
    synthetic=True,
)
SAMPLE = 5  # pictures of a list by which their folder is told


@dataclass(frozen=True)
class Lists:
    """The rows of several lists."""

    files: tuple[Path, ...]

    def __iter__(self) -> Iterator[Row]:
        for file in self.files:
            yield from _rows(file)


def read(folder: Path) -> Benchmark | None:
    """The data set as it lies in `folder`, None where it does not."""
    splits = _lists(folder)
    if not splits:
        return None
    files = [file for lists in splits.values() for file in lists.files]
    names = [inside(str(file), entry.get("image")) for file in files for entry in entries(file)[:SAMPLE]]
    root = pictures(folder, ABOUT, files[0], names, ("", "images", "MALS", "images/MALS"))
    return Benchmark(ABOUT, root, splits)


READERS: dict[str, tuple[About, Callable[[Path], Benchmark | None]]] = {ABOUT.key: (ABOUT, read)}


def _lists(folder: Path) -> dict[str, Lists]:
    """Split -> its lists, in the order of the numbers in their names."""
    for base in (folder / "gene_attrs", folder / "data" / "gene_attrs", folder, folder / "MALS", folder / "MALS" / "gene_attrs"):
        if files := sorted(base.glob("g_*_attrs.json"), key=_natural):
            return {"train": Lists(tuple(files))}
    named = {split: folder / f"{split}.json" for split in ("train", "val", "test")}
    return {split: Lists((file,)) for split, file in named.items() if file.is_file()}


def _natural(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def _rows(file: Path) -> Iterator[Row]:
    count = len(load_space("market1501").names)
    for at, entry in enumerate(entries(file), 1):
        where = f"{file}: object {at}"
        require(where, entry, ("image", "caption", "image_id", "label"))
        if not isinstance(entry["caption"], str):
            raise UserError(f"{where} has a caption that is no text")
        said = (entry["caption"],) if entry["caption"].strip() else ()
        yield Row(str(entry["image_id"]), inside(where, entry["image"]), said, labels=labels(where, entry["label"], count))
