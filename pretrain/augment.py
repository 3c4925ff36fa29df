"""Pictures as the towers see them: APTM's pipelines for training and test (aptm.md 1.7), functions of pixels and a generator.

Operations of RandAugment give what Pillow's of the same name give, to the bit, in a fraction of the time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

Pixels = NDArray[np.uint8]  # [h, w, 3], red first
Box = tuple[int, int, int, int]  # top, left, height and width in pixels

FLIP = 0.5  # of the pictures
OPS, APPLIED = 2, 0.5  # of RandAugment: drawn with replacement, each applied with this chance
MAGNITUDE = 7 / 10
FACTOR = 1.8 * MAGNITUDE + 0.1  # of brightness and sharpness: 1.36, never less
SHEAR, SHIFT, TURN = 0.3 * MAGNITUDE, round(10 * MAGNITUDE), 30 * MAGNITUDE  # 0.21, 7 pixels, 21 degrees, to either side
NOTHING: Box = (0, 0, 0, 0)
GREY = 128  # where a picture was moved away
LEVELS = np.arange(256)
BRIGHTER = (LEVELS.astype(np.float32) * np.float32(FACTOR)).clip(0, 255).astype(np.uint8)
SMOOTH = 13  # the sum of Pillow's kernel, ones around a 5
ROUND_DOWN = -0.48  # makes rounding of multiples of 0.04, which FACTOR gives, the cutting that Pillow does
AREA, ASPECT, TRIES = (0.02, 0.4), (0.3, 1 / 0.3), 100  # of random erasing: share of the picture, height by width


@dataclass(frozen=True)
class Augment:
    """What is done to a picture in training; mean and std are those of MALS by default."""

    height: int = 384  # pixels
    width: int = 128
    mean: tuple[float, float, float] = (0.4416847, 0.41812873, 0.4237452)
    std: tuple[float, float, float] = (0.3088255, 0.29743394, 0.301009)
    flip: bool = True  # half of the pictures
    augment: bool = True  # RandAugment
    erase: float = 0.6  # of the pictures
    shrink: float = 0.0  # each side by up to this share


@dataclass(frozen=True)
class Varied:
    """A picture as chance has changed it, not normalised yet."""

    pixels: Pixels  # [H, W, 3]
    erased: Box  # what is to be the mean colour
    flipped: bool


def train(picture: Pixels, settings: Augment, draw: Generator) -> Varied:
    """A picture [h, w, 3] as it is shown in training."""
    pixels = resized(picture, settings)
    if settings.shrink:
        pixels = shrunk(pixels, settings.shrink, draw)
    flipped = settings.flip and draw.random() < FLIP
    if flipped:
        pixels = np.asarray(cv2.flip(pixels, 1), np.uint8)
    if settings.augment:
        pixels = rand_augment(pixels, draw)
    box = erasing(settings, draw) if settings.erase and draw.random() < settings.erase else NOTHING
    return Varied(pixels, box, bool(flipped))


def test(picture: Pixels, settings: Augment) -> Tensor:
    """A picture [h, w, 3] as [3, H, W], nothing left to chance."""
    return normalised(torch.from_numpy(planes(resized(picture, settings))[None]), settings)[0]


def normalised(pictures: Tensor, settings: Augment, erased: Tensor | None = None) -> Tensor:
    """Bytes [B, 3, H, W] as float32 of mean 0 and deviation 1 over the data set, 0 in boxes [B, 4], on the device where they are."""
    mean, std = _scale(settings.mean, settings.std, pictures.device)
    found = pictures.float().div_(255).sub_(mean).div_(std)
    if erased is not None:
        inside = []
        for first, side, size in zip(erased.T[:2, :, None], erased.T[2:, :, None], found.shape[2:], strict=True):
            at = torch.arange(size, device=found.device)
            inside.append((at >= first) & (at < first + side))
        found.masked_fill_(inside[0][:, None, :, None] & inside[1][:, None, None, :], 0)
    return found


@lru_cache
def _scale(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Both as [3, 1, 1]."""
    first, second = (torch.tensor(values, device=device)[:, None, None] for values in (mean, std))
    return first, second


def resized(picture: Pixels, settings: Augment) -> Pixels:
    """[h, w, 3] -> [H, W, 3], bicubic, whatever its aspect: Pillow's within one level of 255, in a fifth of the time."""
    size = (settings.height, settings.width)
    if picture.shape[:2] == size:
        return picture
    channels_last = torch.from_numpy(picture if picture.flags.writeable else picture.copy())[None].permute(0, 3, 1, 2)
    return np.ascontiguousarray(interpolate(channels_last, size, mode="bicubic", antialias=True)[0].permute(1, 2, 0).numpy())


def shrunk(pixels: Pixels, most: float, draw: Generator) -> Pixels:
    """Both sides made smaller by chance, each by a share of its own, and put anywhere; the edges are repeated around."""
    scale = 1 - most * draw.random(2)
    width, height = pixels.shape[1::-1]
    shift = (1 - scale) * (width, height) * draw.random(2)
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    return _warp(pixels, matrix, cv2.BORDER_REPLICATE)


def rand_augment(pixels: Pixels, draw: Generator) -> Pixels:
    """Two operations by chance, each applied by chance."""
    for number in draw.integers(len(OPERATIONS), size=OPS):
        if draw.random() < APPLIED:
            side = 1 if draw.random() < 0.5 else -1
            pixels = list(OPERATIONS.values())[number](pixels, side)
    return pixels


def erasing(settings: Augment, draw: Generator) -> Box:
    """The rectangle of a picture that is to be erased; none where no shape that was drawn fits."""
    height, width = settings.height, settings.width
    for _ in range(TRIES):
        area, aspect = draw.uniform(*AREA) * height * width, draw.uniform(*ASPECT)
        high, wide = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if high < height and wide < width:
            return int(draw.integers(height - high + 1)), int(draw.integers(width - wide + 1)), high, wide
    return NOTHING


def planes(pixels: Pixels, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """[h, w, 3] -> [3, h, w], in `out` where that is given."""
    found = np.empty((3, *pixels.shape[:2]), np.uint8) if out is None else out
    cv2.split(pixels, list(found))
    return found


def _table(values: NDArray[Any]) -> NDArray[np.uint8]:
    """What each byte becomes [256], cut to bytes."""
    return np.asarray(values.clip(0, 255), np.uint8)


def _mapped(channels: NDArray[np.uint8], tables: list[NDArray[Any]]) -> Pixels:
    """Each channel's bytes [3, h, w] by its own table."""
    return np.asarray(cv2.merge([np.asarray(cv2.LUT(one, _table(table))) for one, table in zip(channels, tables, strict=True)]), np.uint8)


def _autocontrast(pixels: Pixels, side: int) -> Pixels:
    tables, channels = [], planes(pixels)
    for channel in channels:
        low, high, _, _ = cv2.minMaxLoc(channel)
        scale = 255 / max(1, high - low)
        tables.append(LEVELS * scale - low * scale if high > low else LEVELS)
    return _mapped(channels, tables)


def _equalize(pixels: Pixels, side: int) -> Pixels:
    tables, channels = [], planes(pixels)
    for channel in channels:
        counts = cv2.calcHist([channel], [0], None, [256], [0, 256]).ravel().astype(np.int64)
        step = int(counts.sum() - counts[counts.nonzero()[0][-1]]) // 255
        tables.append((step // 2 + counts.cumsum() - counts) // step if step else LEVELS)
    return _mapped(channels, tables)


def _brightness(pixels: Pixels, side: int) -> Pixels:
    return np.asarray(cv2.LUT(pixels, BRIGHTER), np.uint8)


def _sharpness(pixels: Pixels, side: int) -> Pixels:
    sums = cv2.boxFilter(pixels, cv2.CV_16S, (3, 3), normalize=False)
    sums += 4 * pixels.astype(np.int16)
    smooth = cv2.convertScaleAbs(sums, alpha=1 / SMOOTH)
    smooth[0], smooth[-1], smooth[:, 0], smooth[:, -1] = pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]
    return np.asarray(cv2.addWeighted(pixels, FACTOR, smooth, 1 - FACTOR, ROUND_DOWN), np.uint8)


def _shifted(pixels: Pixels, side: int, axis: int) -> Pixels:
    """Moved along an axis, with grey where nothing was."""
    found = np.full_like(pixels, GREY)
    here, there = found.swapaxes(0, axis), pixels.swapaxes(0, axis)
    if side > 0:
        here[SHIFT:] = there[:-SHIFT]
    else:
        here[:-SHIFT] = there[SHIFT:]
    return found


def _warp(pixels: Pixels, matrix: NDArray[np.float64], border: int = cv2.BORDER_CONSTANT) -> Pixels:
    """Pixels moved by an affine matrix [2, 3], with grey where nothing was, or what another border gives.

    With a fourth channel, which OpenCV moves, to the same bytes, in half the time of three.
    """
    four, size = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA), (pixels.shape[1], pixels.shape[0])
    moved = cv2.warpAffine(four, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border, borderValue=(GREY, GREY, GREY, GREY))
    return np.asarray(cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB), np.uint8)


def _affine(a: float, c: float) -> NDArray[np.float64]:
    """x + a y, c x + y."""
    return np.array([[1, a, 0], [c, 1, 0]], np.float64)


def _rotate(pixels: Pixels, side: int) -> Pixels:
    centre = (pixels.shape[1] / 2, pixels.shape[0] / 2)
    return _warp(pixels, cv2.getRotationMatrix2D(centre, side * TURN, 1).astype(np.float64))


OPERATIONS: dict[str, Callable[[Pixels, int], Pixels]] = {
    "identity": lambda pixels, side: pixels,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear_x": lambda pixels, side: _warp(pixels, _affine(side * SHEAR, 0)),
    "shear_y": lambda pixels, side: _warp(pixels, _affine(0, side * SHEAR)),
    "translate_x": lambda pixels, side: _shifted(pixels, side, 1),
    "translate_y": lambda pixels, side: _shifted(pixels, side, 0),
    "rotate": _rotate,
}
