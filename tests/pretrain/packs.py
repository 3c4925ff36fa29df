"""Small data sets to train on: a packed one, and lists as the public data sets have them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow.parquet as pq

from mals.dataset.pack import pack
from pretrain.datasets.importing import import_benchmark
from tests.pretrain.datasets import layouts
from tests.small.cells import attribute_values, small_jpeg, small_run


def packed(folder: Path, rows: int = 60, **settings) -> Path:
    """The `dataset` folder of a small run, most of its rows kept."""
    pack(small_run(folder, rows, **settings))
    return folder / "dataset"


def imported(folder: Path, layouts_of: Mapping[str, Callable[[Path], Path]]) -> dict[str, str]:
    """Miniatures of benchmarks, packed by `mals import`, by their names."""
    for name, make in layouts_of.items():
        import_benchmark(name, make(folder / "raw" / name), str(folder / name))
    return {name: str(folder / name) for name in layouts_of}


def pab(folder: Path) -> Path:
    """A miniature of PAB, packed: in its split train an image is missing, so that 14 of 15 have their hard partner."""
    (layouts.pab(folder / "raw") / "train" / "imgs_10" / "full" / "3.jpg").unlink()
    import_benchmark("pab", folder / "raw", str(folder / "packed"), rows_per_file=4)
    return folder / "packed"


def rewritten(folder: Path, change) -> Path:
    """Every file of a packed folder with its table changed, its schema's metadata kept."""
    for file in sorted((folder / "data").glob("*.parquet")):
        table = change(pq.read_table(file))
        pq.write_table(table, file, row_group_size=8)
    return folder


def pictures(folder: Path, count: int) -> list[str]:
    """Small JPEG files, by their names."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names = [f"{at}.jpg" for at in range(count)]
    for name in names:
        (folder / "images" / name).write_bytes(small_jpeg(name, 16, 32))
    return names


def mals_list(folder: Path, count: int = 12, sides: bool = False, **changes) -> Path:
    """A list of MALS; with `sides` every caption tells a left and a right."""
    caption = "a man with a bag in his left hand, number {} on the right" if sides else "a man in a red shirt, number {}"
    entries = [
        {"image": name, "caption": caption.format(at), "image_id": f"c_{at}", "label": attribute_values(at)} | changes
        for at, name in enumerate(pictures(folder, count))
    ]
    return written(folder / "g_attrs.json", entries)


def cuhk_list(folder: Path) -> Path:
    """A training list of CUHK-PEDES by the authors of MALS: four images of two persons, and each image twice, with two captions."""
    names = pictures(folder, 4)
    entries = [
        {"image": name, "caption": f"caption {turn} of picture {at}", "image_id": at // 2}
        for at, name in enumerate(names)
        for turn in range(2)
    ]
    return written(folder / "cuhk_train.json", entries)


def written(file: Path, entries: object) -> Path:
    file.write_text(json.dumps(entries))
    return file
