"""The contact sheets of the README: `python -m benchmarks.sheets [RUN]`, the second from a run's generated pictures where RUN is given.

Writes mals/world/drawn.jpg and mals/world/generated.jpg.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mals.grid.run import Run
from mals.stages.crop import decode
from mals.world.scene import draw_image

FOLDER = Path(__file__).parent.parent / "mals" / "world"
COLUMNS, ROWS, HEIGHT = 16, 3, 192
SEED = 2026


def sheet(pictures: list[np.ndarray], to: Path) -> None:
    """A grid of pictures [H, W, 3] as one JPEG."""
    size = (HEIGHT // 2, HEIGHT)
    cells = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC)) for one in pictures[: COLUMNS * ROWS]]
    rows = [np.hstack(cells[start : start + COLUMNS]) for start in range(0, len(cells), COLUMNS)]
    Image.fromarray(np.vstack(rows)).save(to, quality=85)
    print(f"{to}: {len(cells)} pictures, {to.stat().st_size:,} bytes")


def main() -> None:
    sheet([draw_image(SEED, number, number % 7, 256).pixels for number in range(COLUMNS * ROWS)], FOLDER / "drawn.jpg")
    if len(sys.argv) > 1:
        grid = Run.open(sys.argv[1]).grid
        rows = [row for shard in range(grid.shards) for row in grid.table(shard, ["image"]).to_pylist()]
        made = [decode(row["image"]) for row in rows if row["image"] and not row["reject"]]
        sheet(made[len(made) % (COLUMNS * ROWS) :], FOLDER / "generated.jpg")


if __name__ == "__main__":
    main()
