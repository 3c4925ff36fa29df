"""Pictures as the towers see them: APTM's pipelines for training and test (aptm.md 1.7), functions of pixels and a generator."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

Pixels = NDArray[np.uint8]  # [h, w, 3], red first

FLIP = 0.5  # of the pictures
OPS, APPLIED = 2, 0.5  # of RandAugment: drawn with replacement, each applied with this chance
MAGNITUDE = 7 / 10
FACTOR = 1.8 * MAGNITUDE + 0.1  # of brightness and sharpness: 1.36, never less
SHEAR, SHIFT, TURN = 0.3 * MAGNITUDE, 10 * MAGNITUDE, 30 * MAGNITUDE  # 0.21, 7 pixels, 21 degrees, to either side
FILL = (128, 128, 128)
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


def train(picture: Pixels, settings: Augment, draw: Generator) -> tuple[Tensor, bool]:
    """A picture [h, w, 3] as [3, H, W], and whether it was flipped."""
    pixels = resized(picture, settings)
    flipped = settings.flip and draw.random() < FLIP
    if flipped:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    if settings.augment:
        pixels = rand_augment(pixels, draw)
    image = tensor(pixels, settings)
    if settings.erase and draw.random() < settings.erase:
        erase(image, draw)
    return image, bool(flipped)


def test(picture: Pixels, settings: Augment) -> Tensor:
    """A picture [h, w, 3] as [3, H, W], nothing left to chance."""
    return tensor(resized(picture, settings), settings)


def resized(picture: Pixels, settings: Augment) -> Pixels:
    """[h, w, 3] -> [H, W, 3], bicubic, whatever its aspect."""
    size = (settings.width, settings.height)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def tensor(pixels: Pixels, settings: Augment) -> Tensor:
    """[H, W, 3] of bytes -> [3, H, W] of mean 0 and deviation 1 over the data set."""
    image = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32)).div_(255)
    return image.sub_(torch.tensor(settings.mean)[:, None, None]).div_(torch.tensor(settings.std)[:, None, None])


def rand_augment(pixels: Pixels, draw: Generator) -> Pixels:
    """Two operations by chance, each applied by chance."""
    for number in draw.integers(len(OPERATIONS), size=OPS):
        if draw.random() < APPLIED:
            side = 1 if draw.random() < 0.5 else -1
            pixels = list(OPERATIONS.values())[number](pixels, side)
    return pixels


def erase(image: Tensor, draw: Generator) -> None:
    """A rectangle of [3, H, W] becomes 0, the mean colour; nothing where none of the drawn shapes fits."""
    height, width = image.shape[1:]
    for _ in range(TRIES):
        area, aspect = draw.uniform(*AREA) * height * width, draw.uniform(*ASPECT)
        high, wide = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if high < height and wide < width:
            top, left = draw.integers(height - high + 1), draw.integers(width - wide + 1)
            image[:, top : top + high, left : left + wide] = 0
            return


def _pil(function: Callable[[Image.Image], Image.Image]) -> Callable[[Pixels, int], Pixels]:
    """An operation of PIL, which has no side."""
    return lambda pixels, side: np.asarray(function(Image.fromarray(pixels)))


def _warp(pixels: Pixels, matrix: NDArray[np.float64]) -> Pixels:
    """Pixels moved by an affine matrix [2, 3], with grey where nothing was."""
    size = (pixels.shape[1], pixels.shape[0])
    return cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR, borderValue=FILL).astype(np.uint8)


def _affine(a: float, b: float, c: float, d: float) -> NDArray[np.float64]:
    """x + a y + b, c x + y + d."""
    return np.array([[1, a, b], [c, 1, d]], np.float64)


def _rotate(pixels: Pixels, side: int) -> Pixels:
    centre = (pixels.shape[1] / 2, pixels.shape[0] / 2)
    return _warp(pixels, cv2.getRotationMatrix2D(centre, side * TURN, 1).astype(np.float64))


OPERATIONS: dict[str, Callable[[Pixels, int], Pixels]] = {
    "identity": lambda pixels, side: pixels,
    "autocontrast": _pil(ImageOps.autocontrast),
    "equalize": _pil(ImageOps.equalize),
    "brightness": _pil(lambda picture: ImageEnhance.Brightness(picture).enhance(FACTOR)),
    "sharpness": _pil(lambda picture: ImageEnhance.Sharpness(picture).enhance(FACTOR)),
    "shear_x": lambda pixels, side: _warp(pixels, _affine(side * SHEAR, 0, 0, 0)),
    "shear_y": lambda pixels, side: _warp(pixels, _affine(0, 0, side * SHEAR, 0)),
    "translate_x": lambda pixels, side: _warp(pixels, _affine(0, side * SHIFT, 0, 0)),
    "translate_y": lambda pixels, side: _warp(pixels, _affine(0, 0, 0, side * SHIFT)),
    "rotate": _rotate,
}
