"""Tables of the positions of an image's patches, resized once, when weights are loaded.

Shapes: N patches, in rows, C channels.
"""

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def grid_of(patches: int, like: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of a table of positions: of a square, else of the shape of another grid; None where neither fits."""
    side = round(patches**0.5)
    if side * side == patches:
        return side, side
    columns = round((patches * like[1] / like[0]) ** 0.5)
    if columns and patches % columns == 0 and patches * like[1] == columns * columns * like[0]:
        return patches // columns, columns
    return None


def resize_positions(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """A table of positions [1 + N, C], the global token first, of an old grid for a new one, bilinearly, as IRRA and LGUR do."""
    if old == new:
        return table
    first, rest = table[:1], table[1:].unflatten(0, old).permute(2, 0, 1)
    resized = interpolate(rest[None], new, mode="bilinear", align_corners=False)[0]
    return torch.cat([first, resized.permute(1, 2, 0).flatten(0, 1)])
