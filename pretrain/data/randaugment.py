"""RandAugment of APTM (docs/papers/mals.md, section Images) for batches of bytes, on the device that they are on.

All arithmetic that decides a byte is exact, that of whole numbers or of float64 one step at a time, so that every device gives the same:
those of Pillow's operations of the same names, and, where pixels move, those of OpenCV's bilinear warp within one level of 255.

Shapes: B pictures, G of them that one operation is applied to, H x W pixels.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

OPS, APPLIED = 2, 0.5  # operations a picture: drawn with replacement, each applied with this chance
MAGNITUDE = 7 / 10
PERCENT = round(100 * (1.8 * MAGNITUDE + 0.1))  # of brightness and sharpness: 136, never less
SHEAR, SHIFT, TURN = 0.3 * MAGNITUDE, round(10 * MAGNITUDE), 30 * MAGNITUDE  # 0.21, 7 pixels, 21 degrees, to either side
GREY = 128  # where a picture was moved away
LEVELS = 256
SMOOTH = 13  # the sum of Pillow's kernel, ones around a 5
BITS = 10  # pixels move in steps of a 1,024th
FINE = 1 << BITS


def draw_operations(chance: NDArray[np.float64]) -> NDArray[np.int8]:
    """Numbers in [0, 1), [B, OPS, 3] -> operations [B, OPS]: 0 for none, n or -n for the n-th, to one side or the other."""
    number = 1 + (chance[..., 0] * len(OPERATIONS)).astype(np.int8)
    return np.where(chance[..., 1] < APPLIED, np.where(chance[..., 2] < 0.5, number, -number), 0).astype(np.int8)


def rand_augment(pictures: Tensor, operations: NDArray[np.int8]) -> Tensor:
    """Bytes [B, 3, H, W] after the operations of each picture [B, OPS], in their order; `pictures` themselves are changed."""
    functions = list(OPERATIONS.values())
    for turn in operations.T:
        for number in np.unique(turn[turn != 0]).tolist():
            rows = torch.from_numpy((turn == number).nonzero()[0]).to(pictures.device, non_blocking=True)
            pictures[rows] = functions[abs(number) - 1](pictures[rows], 1 if number > 0 else -1)
    return pictures


def _mapped(pictures: Tensor, tables: Tensor) -> Tensor:
    """Each channel's bytes by its own table, [G, 3, 256]."""
    return tables.clamp(0, LEVELS - 1).to(torch.uint8).gather(2, pictures.flatten(2).long()).view_as(pictures)


def _levels(pictures: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.arange(LEVELS, device=pictures.device, dtype=dtype)


def _autocontrast(pictures: Tensor, side: int) -> Tensor:
    low, high = (values[..., None].double() for values in pictures.flatten(2).aminmax(dim=2))
    span = (high - low).clamp(min=1)
    levels, scale = _levels(pictures, torch.float64), torch.full_like(span, LEVELS - 1) / span  # 255 / span is 255 times 1 / span to torch
    return _mapped(pictures, torch.where(high > low, levels * scale - low * scale, levels))


def _equalize(pictures: Tensor, side: int) -> Tensor:
    levels, channels = _levels(pictures, torch.int64), len(pictures) * 3
    apart = (pictures.view(channels, -1) + LEVELS * torch.arange(channels, device=pictures.device)[:, None]).flatten()
    one = torch.ones(1, dtype=torch.int64, device=pictures.device).expand(len(apart))
    counts = one.new_zeros(LEVELS * channels).scatter_add_(0, apart, one).view(-1, 3, LEVELS)
    last = counts.gather(2, (levels * (counts > 0)).amax(2, keepdim=True))
    step = (counts.sum(2, keepdim=True) - last) // (LEVELS - 1)
    before = step // 2 + counts.cumsum(2) - counts
    return _mapped(pictures, torch.where(step > 0, before // step.clamp(min=1), levels))


def _brightness(pictures: Tensor, side: int) -> Tensor:
    return _over(pictures.float() * PERCENT, 100)


def _sharpness(pictures: Tensor, side: int) -> Tensor:
    bytes_ = pictures.short()
    inner = bytes_[..., 1:-1, 1:-1]
    rows = bytes_[..., :-2, :] + bytes_[..., 1:-1, :] + bytes_[..., 2:, :]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner
    smooth = _over(2.0 * sums + SMOOTH, 2 * SMOOTH)  # to the nearest, of which there is always one
    found = pictures.clone()
    found[..., 1:-1, 1:-1] = _over(PERCENT * inner.float() - (PERCENT - 100.0) * smooth, 100)
    return found


def _over(whole: Tensor, divisor: int) -> Tensor:
    """Whole numbers, as floats, by another one, cut to bytes; the half keeps a device that rounds otherwise from the next byte."""
    return whole.add_(0.5).div_(divisor).clamp_(0, LEVELS - 1).byte()


def _shifted(pictures: Tensor, side: int, axis: int) -> Tensor:
    """Moved along an axis, with grey where nothing was."""
    length = pictures.shape[axis]
    most = min(SHIFT, length)
    kept = pictures.narrow(axis, 0 if side > 0 else most, length - most)
    around = [most, 0] if side > 0 else [0, most]
    return pad(kept, around if axis == 3 else [0, 0, *around], value=GREY)


def _moved(pictures: Tensor, kind: str, side: int) -> Tensor:
    """Moved by an affine map, with grey where nothing was."""
    height, width = pictures.shape[2:]
    outside = height * width
    places, weights = _neighbours(kind, side, height, width, pictures.device)
    known = pad(pictures.flatten(2), (0, 1), value=GREY)
    found = torch.full((*pictures.shape[:2], outside), FINE * FINE // 2, dtype=torch.int32, device=pictures.device)
    for place, weight in zip(places, weights, strict=True):
        found.addcmul_(known.gather(2, place.expand(found.shape)).int(), weight)
    return (found >> 2 * BITS).byte().view_as(pictures)


@lru_cache(32)
def _neighbours(kind: str, side: int, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The four places [4, H * W] that each pixel is made of, H * W for one outside, and what they weigh, FINE * FINE together."""
    backwards = np.linalg.inv(np.vstack([MAPS[kind](side, height, width), [0, 0, 1]]))[:2]
    columns, rows = np.arange(width), np.arange(height)[:, None]
    x, y = (np.rint((a * columns + b * rows + c) * FINE).astype(np.int64) for a, b, c in backwards)
    places, weights = [], []
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        row, column = y // FINE + down, x // FINE + right
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        places.append(np.where(inside, row * width + column, height * width).ravel())
        weights.append((np.abs(FINE * (1 - down) - y % FINE) * np.abs(FINE * (1 - right) - x % FINE)).ravel())
    found = torch.from_numpy(np.array(places)), torch.from_numpy(np.array(weights, np.int32))
    return found[0].to(device), found[1].to(device)


def _rotation(side: int, height: int, width: int) -> NDArray[np.float64]:
    """Counter-clockwise about the middle."""
    cos, sin = np.cos(np.radians(side * TURN)), np.sin(np.radians(side * TURN))
    x, y = width / 2, height / 2
    return np.array([[cos, sin, (1 - cos) * x - sin * y], [-sin, cos, sin * x + (1 - cos) * y]])


MAPS: dict[str, Callable[[int, int, int], NDArray[Any]]] = {  # [2, 3]: where a pixel goes to
    "shear_x": lambda side, height, width: np.array([[1, side * SHEAR, 0], [0, 1, 0]]),
    "shear_y": lambda side, height, width: np.array([[1, 0, 0], [side * SHEAR, 1, 0]]),
    "rotate": _rotation,
}

OPERATIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "identity": lambda pictures, side: pictures,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear_x": lambda pictures, side: _moved(pictures, "shear_x", side),
    "shear_y": lambda pictures, side: _moved(pictures, "shear_y", side),
    "translate_x": lambda pictures, side: _shifted(pictures, side, 3),
    "translate_y": lambda pictures, side: _shifted(pictures, side, 2),
    "rotate": lambda pictures, side: _moved(pictures, "rotate", side),
}
