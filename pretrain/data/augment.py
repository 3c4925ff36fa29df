"""Pictures as the towers see them: APTM's pipelines for training and test (aptm.md 1.7).

The loader's workers resize (and shrink) pictures; what else chance does to them happens where the training is, a batch at a time.

Shapes: B pictures, H x W pixels.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from pretrain.data.randaugment import OPS, drawn, rand_augment

Pixels = NDArray[np.uint8]  # [h, w, 3], red first

FLIP = 0.5  # of the pictures
AREA, ASPECT, TRIES = (0.02, 0.4), (0.3, 1 / 0.3), 100  # of random erasing: share of the picture, height by width
CHANCES = (1, 4, 3 * OPS, 1 + 4 * TRIES)  # numbers of a picture: of flip, shrinking, RandAugment, erasing
NUMBERS = sum(CHANCES)


@dataclass(frozen=True)
class ImageTransform:
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
class Changes:
    """What chance does to the pictures of a batch."""

    shrunk: NDArray[np.float64]  # [B, 4]: what is left of width and height, and how far right and down of the rest
    flipped: NDArray[np.bool_]  # [B]
    operations: NDArray[np.int8]  # [B, OPS], see `randaugment.drawn`
    erased: NDArray[np.int32]  # [B, 4]: top, left, height and width in pixels of what is to be the mean colour


def draw_changes(settings: ImageTransform, chance: NDArray[np.float64]) -> Changes:
    """What numbers in [0, 1), [B, NUMBERS], do to pictures: each kind has numbers of its own, so that none moves the others."""
    flip, shrink, ops, erase = np.split(chance, np.cumsum(CHANCES)[:-1], axis=1)
    scale = 1 - settings.shrink * shrink[:, :2]
    applied = drawn(ops.reshape(-1, OPS, 3)) if settings.augment else np.zeros((len(ops), OPS), np.int8)
    boxes = np.where(erase[:, :1] < settings.erase, _boxes(settings, erase[:, 1:].reshape(-1, TRIES, 4)), 0)
    return Changes(np.concatenate([scale, shrink[:, 2:]], 1), (flip[:, 0] < FLIP) & settings.flip, applied, boxes.astype(np.int32))


def _boxes(settings: ImageTransform, chance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Of tries [B, TRIES, 4] the first rectangle that fits [B, 4]; an empty one where none does."""
    (least, most), (flat, tall) = AREA, ASPECT
    area = (least + (most - least) * chance[..., 0]) * settings.height * settings.width
    aspect = flat + (tall - flat) * chance[..., 1]
    high, wide = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (high < settings.height) & (wide < settings.width)
    top, left = chance[..., 2] * (settings.height - high + 1), chance[..., 3] * (settings.width - wide + 1)
    found = np.stack([top, left, high, wide], -1)[np.arange(len(chance)), fits.argmax(1)]
    return np.where(fits.any(axis=1, keepdims=True), found, 0).astype(np.int64)


def fit(picture: Pixels, settings: ImageTransform, shrink: NDArray[np.float64]) -> Pixels:
    """A picture [h, w, 3] at the size of the batch, made smaller in it as `Changes` says of it: [H, W, 3]."""
    pixels = resize(picture, settings)
    return shrink_image(pixels, shrink) if settings.shrink else pixels


def apply_changes(pictures: Tensor, done: Changes, settings: ImageTransform) -> Tensor:
    """Bytes [B, H, W, 3] as they are shown in training, as float32 [B, 3, H, W], on the device where they are."""
    device, planes = pictures.device, pictures.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)
    flipped = torch.from_numpy(done.flipped.nonzero()[0]).to(device, non_blocking=True)
    planes[flipped] = planes[flipped].flip(3)
    erased = torch.from_numpy(done.erased).to(device, non_blocking=True)
    return normalize(rand_augment(planes, done.operations), settings, erased)


def test_image(picture: Pixels, settings: ImageTransform) -> Tensor:
    """A picture [h, w, 3] as [3, H, W], nothing left to chance."""
    planes = torch.from_numpy(np.ascontiguousarray(resize(picture, settings).transpose(2, 0, 1)))
    return normalize(planes[None], settings)[0]


def normalize(pictures: Tensor, settings: ImageTransform, erased: Tensor | None = None) -> Tensor:
    """Bytes [B, 3, H, W] as float32 of mean 0 and deviation 1 over the data set, 0 in boxes [B, 4]."""
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


def resize(picture: Pixels, settings: ImageTransform) -> Pixels:
    """[h, w, 3] -> [H, W, 3], bicubic, whatever its aspect: Pillow's within one level of 255, in a fifth of the time."""
    size = (settings.height, settings.width)
    if picture.shape[:2] == size:
        return picture
    channels_last = torch.from_numpy(picture if picture.flags.writeable else picture.copy())[None].permute(0, 3, 1, 2)
    return np.ascontiguousarray(interpolate(channels_last, size, mode="bicubic", antialias=True)[0].permute(1, 2, 0).numpy())


def shrink_image(pixels: Pixels, shrink: NDArray[np.float64]) -> Pixels:
    """Both sides made smaller, each by a share of its own, and put somewhere, see `Changes`; the edges are repeated around.

    With a fourth channel, which OpenCV moves, to the same bytes, in half the time of three.
    """
    scale, size = shrink[:2], (pixels.shape[1], pixels.shape[0])
    shift = (1 - scale) * size * shrink[2:]
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    four = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA)
    moved = cv2.warpAffine(four, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB), np.uint8)
