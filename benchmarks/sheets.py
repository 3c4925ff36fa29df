"""Draws the contact sheets of the documentation: `python -m benchmarks.sheets [RUN]`.

Writes mals/world/drawn.jpg and, for a RUN with generated images, mals/world/generated.jpg.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mals.grid.run import Run
from mals.images import decode_image
from mals.world.scene import draw_image

FOLDER = Path(__file__).parent.parent / "mals" / "world"
COLUMNS, ROWS, HEIGHT = 16, 3, 192
SEED = 2026


def write_sheet(images: list[np.ndarray], path: Path) -> None:
    """Write a grid of images [H, W, 3] as one JPEG."""
    size = (HEIGHT // 2, HEIGHT)
    cells = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) for image in images[: COLUMNS * ROWS]]
    rows = [np.hstack(cells[start : start + COLUMNS]) for start in range(0, len(cells), COLUMNS)]
    Image.fromarray(np.vstack(rows)).save(path, quality=85)
    print(f"{path}: {len(cells)} images, {path.stat().st_size:,} bytes")


def main() -> None:
    write_sheet([draw_image(SEED, number, number % 7, 256).pixels for number in range(COLUMNS * ROWS)], FOLDER / "drawn.jpg")
    if len(sys.argv) > 1:
        grid = Run.open(sys.argv[1]).grid
        rows = [row for shard in range(grid.shards) for row in grid.table(shard, ["image"]).to_pylist()]
        images = [decode_image(row["image"]) for row in rows if row["image"] and not row["reject"]]
        write_sheet(images[len(images) % (COLUMNS * ROWS) :], FOLDER / "generated.jpg")


if __name__ == "__main__":
    main()
