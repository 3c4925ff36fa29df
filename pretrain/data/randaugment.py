"""RandAugment (Cubuk et al., 2020) for batches of bytes, as in Yang et al., ACM MM 2023 (docs/papers/mals.md, section Images).

All arithmetic is exact (integers, or one float64 operation at a time), so every device computes the same bytes: those of Pillow's
operations of the same names; where pixels move, those of OpenCV's bilinear warp within one level of 255.

Shapes: B images, G of them that one operation changes, H x W pixels.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from pretrain.host import to_device

OPERATIONS_PER_IMAGE = 2  # drawn with replacement
APPLY_PROBABILITY = 0.5  # of each of them
MAGNITUDE = 7 / 10  # RandAugment's magnitude 7 of 10
PERCENT = round(100 * (1.8 * MAGNITUDE + 0.1))  # of brightness and sharpness: 136, never less
SHEAR, SHIFT, ANGLE = 0.3 * MAGNITUDE, round(10 * MAGNITUDE), 30 * MAGNITUDE  # 0.21, 7 pixels, 21 degrees, in either direction
GREY = 128  # fills the area that an image was moved away from
LEVELS = 256
SMOOTHING_SUM = 13  # of the weights of Pillow's smoothing kernel, ones around a 5
SUBPIXEL_BITS = 10  # positions are rounded to 1/1024 of a pixel
SUBPIXELS = 1 << SUBPIXEL_BITS


def draw_operations(random: NDArray[np.float64]) -> NDArray[np.int8]:
    """Random numbers in [0, 1), [B, OPERATIONS_PER_IMAGE, 3] -> operations [B, OPERATIONS_PER_IMAGE].

    0 is no operation, n or -n the n-th of OPERATIONS with a positive or a negative magnitude.
    """
    number = 1 + (random[..., 0] * len(OPERATIONS)).astype(np.int8)
    return np.where(random[..., 1] < APPLY_PROBABILITY, np.where(random[..., 2] < 0.5, number, -number), 0).astype(np.int8)


def rand_augment(images: Tensor, operations: NDArray[np.int8]) -> Tensor:
    """Apply operations [B, OPERATIONS_PER_IMAGE] to bytes [B, 3, H, W], in place and in their order; returns `images`."""
    functions = list(OPERATIONS.values())
    for column in operations.T:
        for number in np.unique(column[column != 0]).tolist():
            rows = to_device(torch.from_numpy((column == number).nonzero()[0]), images.device)
            images[rows] = functions[abs(number) - 1](images[rows], 1 if number > 0 else -1)
    return images


def _apply_table(images: Tensor, tables: Tensor) -> Tensor:
    """Replace the bytes of each channel by its own table, [G, 3, 256]."""
    return tables.clamp(0, LEVELS - 1).to(torch.uint8).gather(2, images.flatten(2).long()).view_as(images)


def _all_levels(images: Tensor, dtype: torch.dtype) -> Tensor:
    """[256]: 0, 1, ..., 255."""
    return torch.arange(LEVELS, device=images.device, dtype=dtype)


def _autocontrast(images: Tensor, sign: int) -> Tensor:
    low, high = (values[..., None].double() for values in images.flatten(2).aminmax(dim=2))
    span = (high - low).clamp(min=1)
    levels = _all_levels(images, torch.float64)
    scale = torch.full_like(span, LEVELS - 1) / span  # torch would compute 255 / span as 255 * (1 / span)
    return _apply_table(images, torch.where(high > low, levels * scale - low * scale, levels))


def _equalize(images: Tensor, sign: int) -> Tensor:
    levels, channels = _all_levels(images, torch.int64), len(images) * 3
    bins = (images.view(channels, -1) + LEVELS * torch.arange(channels, device=images.device)[:, None]).flatten()
    ones = torch.ones(1, dtype=torch.int64, device=images.device).expand(len(bins))
    counts = ones.new_zeros(LEVELS * channels).scatter_add_(0, bins, ones).view(-1, 3, LEVELS)
    last = counts.gather(2, (levels * (counts > 0)).amax(2, keepdim=True))
    step = (counts.sum(2, keepdim=True) - last) // (LEVELS - 1)
    before = step // 2 + counts.cumsum(2) - counts
    return _apply_table(images, torch.where(step > 0, before // step.clamp(min=1), levels))


def _brightness(images: Tensor, sign: int) -> Tensor:
    return _divide_to_bytes(images.float() * PERCENT, 100)


def _sharpness(images: Tensor, sign: int) -> Tensor:
    bytes_ = images.short()
    inner = bytes_[..., 1:-1, 1:-1]
    rows = bytes_[..., :-2, :] + bytes_[..., 1:-1, :] + bytes_[..., 2:, :]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner
    smooth = _divide_to_bytes(2.0 * sums + SMOOTHING_SUM, 2 * SMOOTHING_SUM)  # rounds to the nearest; 13 is odd, so there are no ties
    output = images.clone()
    output[..., 1:-1, 1:-1] = _divide_to_bytes(PERCENT * inner.float() - (PERCENT - 100.0) * smooth, 100)
    return output


def _divide_to_bytes(integers: Tensor, divisor: int) -> Tensor:
    """Divide integers, stored as floats, and round down to bytes; adding 0.5 first keeps another device's rounding in the same byte."""
    return integers.add_(0.5).div_(divisor).clamp_(0, LEVELS - 1).byte()


def _translate(images: Tensor, sign: int, axis: int) -> Tensor:
    """Move images along an axis and fill with grey."""
    length = images.shape[axis]
    shift = min(SHIFT, length)
    kept = images.narrow(axis, 0 if sign > 0 else shift, length - shift)
    padding = [shift, 0] if sign > 0 else [0, shift]
    return pad(kept, padding if axis == 3 else [0, 0, *padding], value=GREY)


def _warp(images: Tensor, kind: str, sign: int) -> Tensor:
    """Move images by an affine map and fill with grey."""
    height, width = images.shape[2:]
    pixels = height * width
    sources, weights = _neighbours(kind, sign, height, width, images.device)
    padded = pad(images.flatten(2), (0, 1), value=GREY)
    output = torch.full((*images.shape[:2], pixels), SUBPIXELS * SUBPIXELS // 2, dtype=torch.int32, device=images.device)
    for source, weight in zip(sources, weights, strict=True):
        output.addcmul_(padded.gather(2, source.expand(output.shape)).int(), weight)
    return (output >> 2 * SUBPIXEL_BITS).byte().view_as(images)


@lru_cache(32)
def _neighbours(kind: str, sign: int, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The four source pixels of each pixel, [4, H * W], H * W for one outside the image; their weights sum to SUBPIXELS ** 2."""
    backwards = np.linalg.inv(np.vstack([MAPS[kind](sign, height, width), [0, 0, 1]]))[:2]
    columns, rows = np.arange(width), np.arange(height)[:, None]
    x, y = (np.rint((a * columns + b * rows + c) * SUBPIXELS).astype(np.int64) for a, b, c in backwards)
    sources, weights = [], []
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        row, column = y // SUBPIXELS + down, x // SUBPIXELS + right
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        sources.append(np.where(inside, row * width + column, height * width).ravel())
        weights.append((np.abs(SUBPIXELS * (1 - down) - y % SUBPIXELS) * np.abs(SUBPIXELS * (1 - right) - x % SUBPIXELS)).ravel())
    return torch.from_numpy(np.array(sources)).to(device), torch.from_numpy(np.array(weights, np.int32)).to(device)


def _rotation(sign: int, height: int, width: int) -> NDArray[np.float64]:
    """Counter-clockwise about the centre."""
    cos, sin = np.cos(np.radians(sign * ANGLE)), np.sin(np.radians(sign * ANGLE))
    x, y = width / 2, height / 2
    return np.array([[cos, sin, (1 - cos) * x - sin * y], [-sin, cos, sin * x + (1 - cos) * y]])


MAPS: dict[str, Callable[[int, int, int], NDArray[Any]]] = {  # affine matrices [2, 3] from source to output
    "shear_x": lambda sign, height, width: np.array([[1, sign * SHEAR, 0], [0, 1, 0]]),
    "shear_y": lambda sign, height, width: np.array([[1, 0, 0], [sign * SHEAR, 1, 0]]),
    "rotate": _rotation,
}

OPERATIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "identity": lambda images, sign: images,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear_x": lambda images, sign: _warp(images, "shear_x", sign),
    "shear_y": lambda images, sign: _warp(images, "shear_y", sign),
    "translate_x": lambda images, sign: _translate(images, sign, 3),
    "translate_y": lambda images, sign: _translate(images, sign, 2),
    "rotate": lambda images, sign: _warp(images, "rotate", sign),
}
