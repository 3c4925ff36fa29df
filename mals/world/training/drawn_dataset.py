"""The drawn images that the embedded models are trained on: memory-mapped arrays in a folder, a function of the seed.

Row i shows person i. Of every ten rows one shows no person, two show two people, one shows a person cut by the border; six are sound.
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
BLOCK = 512  # rows that a worker draws at a time
CYCLE = 10
FAULTS = ("no_person", "two_persons", "two_persons", "cut")  # of the first rows of each cycle; the others are sound
ARRAYS = {  # name -> shape of a row, and type
    "pixels": ((HEIGHT, WIDTH, 3), np.uint8),
    "keypoints": ((17, 3), np.float32),
    "boxes": ((2, 4), np.float32),
    "facts": ((3,), np.int16),
    "parts": ((HEIGHT, WIDTH), np.uint8),
}


class DrawnDataset:
    """The arrays of one folder, memory-mapped.

    pixels [N, 128, 64, 3]; keypoints [N, 17, 3]; boxes [N, 2, 4] in xyxy, zeros for no person; facts [N, 3]: index in FAULTS or -1,
    walking, index in PLACES; parts [N, 128, 64], see `part_map`.
    """

    def __init__(self, folder: Path):
        header = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        self.seed, self.count = int(header["seed"]), int(header["count"])
        self.pixels, self.keypoints, self.boxes, self.facts, self.parts = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS
        )

    @property
    def sound_rows(self) -> np.ndarray:
        """[S]: the rows with one whole person."""
        return np.flatnonzero(np.arange(self.count) % CYCLE >= len(FAULTS))

    @property
    def rows_of_own_world(self) -> np.ndarray:
        """[S]: the rows without people of another world; the second of two people is of the world `seed` + 1."""
        return np.flatnonzero([fault_of(row) != "two_persons" for row in range(self.count)])

    def person(self, row: int) -> Person:
        return create_person(self.seed, row)

    def place(self, row: int) -> str:
        return PLACES[int(self.facts[row, 2])]

    def walking(self, row: int) -> bool:
        return bool(self.facts[row, 1])


def fault_of(row: int) -> str | None:
    """The fault of a row, None for a sound one."""
    return FAULTS[row % CYCLE] if row % CYCLE < len(FAULTS) else None


def draw_dataset(folder: Path, seed: int, count: int, workers: int = 2) -> DrawnDataset:
    """Draw `count` images of the world `seed` into `folder`, unless they are there already."""
    header_file, header = folder / "dataset.json", {"seed": seed, "count": count}
    complete = header_file.is_file() and all((folder / f"{name}.npy").is_file() for name in ARRAYS)
    if not complete or json.loads(header_file.read_text(encoding="utf-8")) != header:
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (count, *shape)) for name, (shape, dtype) in ARRAYS.items()
        }
        starts = range(0, count, BLOCK)
        ends = [min(start + BLOCK, count) for start in starts]
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            for start, block in zip(starts, pool.map(_draw_block, [seed] * len(ends), starts, ends), strict=True):
                for name, values in block.items():
                    arrays[name][start : start + len(values)] = values
        for array in arrays.values():
            array.flush()
        header_file.write_text(json.dumps(header), encoding="utf-8")
    return DrawnDataset(folder)


def _draw_block(seed: int, first: int, end: int) -> dict[str, np.ndarray]:
    """Array name -> values of the rows [first, end)."""
    block = {name: np.zeros((end - first, *shape), dtype) for name, (shape, dtype) in ARRAYS.items()}
    for index, row in enumerate(range(first, end)):
        fault, view = fault_of(row), row % 7
        drawn = draw_image(seed, row, view, HEIGHT, fault)
        block["pixels"][index] = drawn.pixels
        block["keypoints"][index] = drawn.keypoints
        for slot, box in enumerate([*([drawn.box] if drawn.box else []), *drawn.others][:2]):
            block["boxes"][index, slot] = box
        block["parts"][index] = part_map(seed, row, view, fault)
        block["facts"][index] = (row % CYCLE if fault else -1, drawn.walking, PLACES.index(drawn.place))
    return block
