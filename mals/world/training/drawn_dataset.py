"""Pictures to train on, drawn once into a folder: arrays that are mapped, not loaded, and can be made again from the seed.

Row i shows person i. Every tenth picture shows nobody, two of ten two people, one of ten a body that the border cuts; the rest is sound.
"""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mals.world.backdrop import PLACES
from mals.world.parts import part_map
from mals.world.person import Person, create_person
from mals.world.scene import draw_image

HEIGHT, WIDTH = 128, 64
BLOCK = 512
TURN = ("no_person", "two_persons", "two_persons", "cut")  # of every ten rows the first four; the others are sound
SHAPES = {
    "pixels": ((HEIGHT, WIDTH, 3), np.uint8),
    "keypoints": ((17, 3), np.float32),
    "boxes": ((2, 4), np.float32),
    "facts": ((3,), np.int16),
    "parts": ((HEIGHT, WIDTH), np.uint8),
}


class DrawnDataset:
    """The arrays of one folder: pixels [N, 128, 64, 3], keypoints [N, 17, 3], boxes [N, 2, 4] (zeros: nobody), facts [N, 3]
    (fault, walking, place) and parts [N, 128, 64]."""

    def __init__(self, folder: Path):
        facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        self.seed, self.count = int(facts["seed"]), int(facts["count"])
        self.pixels, self.keypoints, self.boxes, self.facts, self.parts = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in SHAPES
        )

    @property
    def sound(self) -> np.ndarray:
        """[S]: the rows with one whole person."""
        return np.flatnonzero(np.arange(self.count) % 10 >= len(TURN))

    @property
    def own(self) -> np.ndarray:
        """[S]: the rows without anybody of another world; the second of two people is of the world `seed` + 1."""
        return np.flatnonzero([fault_of(row) != "two_persons" for row in range(self.count)])

    def person(self, row: int) -> Person:
        return create_person(self.seed, row)

    def place(self, row: int) -> str:
        return PLACES[int(self.facts[row, 2])]

    def walking(self, row: int) -> bool:
        return bool(self.facts[row, 1])


def fault_of(row: int) -> str | None:
    return TURN[row % 10] if row % 10 < len(TURN) else None


def draw_dataset(folder: Path, seed: int, count: int, workers: int = 2) -> DrawnDataset:
    """Draws `count` pictures of the world `seed` unless the folder has them already."""
    done = folder / "dataset.json"
    whole = done.is_file() and all((folder / f"{name}.npy").is_file() for name in SHAPES)
    if not whole or json.loads(done.read_text(encoding="utf-8")) != {"seed": seed, "count": count}:
        folder.mkdir(parents=True, exist_ok=True)
        maps = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, (count, *shape)) for name, (shape, kind) in SHAPES.items()
        }
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            for start, found in zip(range(0, count, BLOCK), pool.map(_block, *zip(*_blocks(seed, count), strict=True)), strict=True):
                for name, values in found.items():
                    maps[name][start : start + len(values)] = values
        for array in maps.values():
            array.flush()
        done.write_text(json.dumps({"seed": seed, "count": count}), encoding="utf-8")
    return DrawnDataset(folder)


def _blocks(seed: int, count: int) -> list[tuple[int, int, int]]:
    return [(seed, start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]


def _block(seed: int, first: int, last: int) -> dict[str, np.ndarray]:
    rows = {name: np.zeros((last - first, *shape), kind) for name, (shape, kind) in SHAPES.items()}
    for at, row in enumerate(range(first, last)):
        drawn = draw_image(seed, row, row % 7, HEIGHT, fault_of(row))
        rows["pixels"][at] = drawn.pixels
        rows["keypoints"][at] = drawn.keypoints
        for place, box in enumerate([*([drawn.box] if drawn.box else []), *drawn.others][:2]):
            rows["boxes"][at, place] = box
        rows["parts"][at] = part_map(seed, row, row % 7, fault_of(row))
        rows["facts"][at] = (row % 10 if row % 10 < len(TURN) else -1, drawn.walking, PLACES.index(drawn.place))
    return rows
