"""Image augmentation and normalisation for training and test, as in Yang et al., ACM MM 2023 (docs/papers/mals.md, section Images).

The loader's workers resize, shrink and crop images; everything else is applied where the training runs, a batch at a time.

Shapes: B images, H x W pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from pretrain.data.randaugment import OPERATIONS_PER_IMAGE, draw_operations, rand_augment
from pretrain.host import to_device

if TYPE_CHECKING:
    from pretrain.config import Data

Pixels = NDArray[np.uint8]  # [h, w, 3], RGB
Color = tuple[float, float, float]

FLIP_PROBABILITY = 0.5
AREA, ASPECT, TRIES = (0.02, 0.4), (0.3, 1 / 0.3), 100  # of random erasing: share of the image, height by width (Zhong et al., 2020)
NUMBERS_PER_USE = (1, 4, 3 * OPERATIONS_PER_IMAGE, 1 + 4 * TRIES)  # flipping, shrinking, RandAugment, erasing
NUMBERS_PER_IMAGE = sum(NUMBERS_PER_USE)  # random numbers for one image


@dataclass(frozen=True)
class ImageTransform:
    """Size, normalisation and augmentation of images; each field has the meaning of the setting of its name in `pretrain.config.Data`."""

    height: int = 384  # pixels
    width: int = 128
    mean: Color = (0.4416847, 0.41812873, 0.4237452)  # of the pixels of MALS, 0 to 1, red first; the same for `std`
    std: Color = (0.3088255, 0.29743394, 0.301009)
    flip: bool = True
    augment: bool = True
    erase: float = 0.6
    erase_value: Color = (0.0, 0.0, 0.0)
    shrink: float = 0.0
    pad: int = 0

    @classmethod
    def for_training(cls, data: "Data") -> "ImageTransform":
        """With the augmentation of the settings."""
        return replace(
            cls.for_test(data),
            flip=data.flip,
            augment=data.augment,
            erase=data.erase,
            erase_value=data.erase_value,
            shrink=data.shrink,
            pad=data.pad,
        )

    @classmethod
    def for_test(cls, data: "Data") -> "ImageTransform":
        """Size and normalisation of the settings, for `test_image`."""
        return cls(data.height, data.width, data.mean, data.std)


@dataclass(frozen=True)
class ImageChanges:
    """The random augmentation of a batch of images."""

    shrunk: NDArray[np.float64]  # [B, 4]: scale of width and of height; position of the image in the free width and height, 0 to 1
    cropped: NDArray[np.int64]  # [B, 2]: pixels that the image moves right and down
    flipped: NDArray[np.bool_]  # [B]
    operations: NDArray[np.int8]  # [B, OPERATIONS_PER_IMAGE], see `randaugment.draw_operations`
    erased: NDArray[np.int32]  # [B, 4]: top, left, height and width in pixels of the erased box

    def for_each(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        """For each image its scale and position, and its move: the arguments of `fit`."""
        return zip(self.shrunk, self.cropped, strict=True)


def draw_changes(settings: ImageTransform, random: NDArray[np.float64], crop: NDArray[np.float64] | None = None) -> ImageChanges:
    """The augmentation that random numbers in [0, 1), [B, NUMBERS_PER_IMAGE], decide.

    Each kind of change has its own numbers, so it does not depend on the others. `crop` [B, 2] is for the random crop after
    padding.
    """
    flip, shrink, operations, erase = np.split(random, np.cumsum(NUMBERS_PER_USE)[:-1], axis=1)
    scale = 1 - settings.shrink * shrink[:, :2]
    drawn = draw_operations(operations.reshape(-1, OPERATIONS_PER_IMAGE, 3))
    drawn = drawn if settings.augment else np.zeros_like(drawn)
    boxes = np.where(erase[:, :1] < settings.erase, _boxes(settings, erase[:, 1:].reshape(-1, TRIES, 4)), 0)
    moved = np.zeros((len(random), 2)) if crop is None else np.floor(crop * (2 * settings.pad + 1)) - settings.pad
    flipped = (flip[:, 0] < FLIP_PROBABILITY) & settings.flip
    return ImageChanges(np.concatenate([scale, shrink[:, 2:]], 1), moved.astype(np.int64), flipped, drawn, boxes.astype(np.int32))


def _boxes(settings: ImageTransform, random: NDArray[np.float64]) -> NDArray[np.int64]:
    """The first of the random boxes [B, TRIES, 4] that fits the image: [B, 4]; an empty box if none does."""
    (min_area, max_area), (min_aspect, max_aspect) = AREA, ASPECT
    area = (min_area + (max_area - min_area) * random[..., 0]) * settings.height * settings.width
    aspect = min_aspect + (max_aspect - min_aspect) * random[..., 1]
    box_height, box_width = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (box_height < settings.height) & (box_width < settings.width)
    top, left = random[..., 2] * (settings.height - box_height + 1), random[..., 3] * (settings.width - box_width + 1)
    boxes = np.stack([top, left, box_height, box_width], -1)[np.arange(len(random)), fits.argmax(1)]
    return np.where(fits.any(axis=1, keepdims=True), boxes, 0).astype(np.int64)


def fit(image: Pixels, settings: ImageTransform, shrink: NDArray[np.float64], move: NDArray[np.int64] | None = None) -> Pixels:
    """Resize an image [h, w, 3] to the size of the batch, [H, W, 3], then shrink and move it; see `ImageChanges` for both."""
    pixels = resize(image, settings)
    pixels = shrink_image(pixels, shrink) if settings.shrink else pixels
    return move_image(pixels, move) if settings.pad and move is not None else pixels


def apply_changes(images: Tensor, changes: ImageChanges, settings: ImageTransform) -> Tensor:
    """Bytes [B, H, W, 3] -> the augmented input of a training, float32 [B, 3, H, W], on the device of the bytes."""
    device, planes = images.device, images.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)
    flipped = to_device(torch.from_numpy(changes.flipped.nonzero()[0]), device)
    planes[flipped] = planes[flipped].flip(3)
    erased = to_device(torch.from_numpy(changes.erased), device)
    return normalize(rand_augment(planes, changes.operations), settings, erased)


def test_image(image: Pixels, settings: ImageTransform) -> Tensor:
    """An image [h, w, 3] as the input of a trained method, without augmentation: [3, H, W]."""
    planes = torch.from_numpy(np.ascontiguousarray(resize(image, settings).transpose(2, 0, 1)))
    return normalize(planes[None], settings)[0]


def normalize(images: Tensor, settings: ImageTransform, erased: Tensor | None = None) -> Tensor:
    """Bytes [B, 3, H, W] as float32 minus mean over standard deviation; `settings.erase_value` in the boxes `erased` [B, 4]."""
    mean, std = _scale(settings.mean, settings.std, images.device)
    scaled = images.float().div_(255).sub_(mean).div_(std)
    if erased is None:
        return scaled
    inside = []
    for start, length, size in zip(erased.T[:2, :, None], erased.T[2:, :, None], scaled.shape[2:], strict=True):
        position = torch.arange(size, device=scaled.device)
        inside.append((position >= start) & (position < start + length))
    box = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    if not any(settings.erase_value):
        return scaled.masked_fill_(box, 0)
    return torch.where(box, to_device(torch.tensor(settings.erase_value), scaled.device)[:, None, None], scaled)


@lru_cache
def _scale(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Both as [3, 1, 1]."""
    first, second = (torch.tensor(values, device=device)[:, None, None] for values in (mean, std))
    return first, second


def resize(image: Pixels, settings: ImageTransform) -> Pixels:
    """[h, w, 3] -> [H, W, 3], bicubic, ignoring the aspect ratio: Pillow's result within one level of 255, in a fifth of its time."""
    size = (settings.height, settings.width)
    if image.shape[:2] == size:
        return image
    channels_last = torch.from_numpy(image if image.flags.writeable else image.copy())[None].permute(0, 3, 1, 2)
    return np.ascontiguousarray(interpolate(channels_last, size, mode="bicubic", antialias=True)[0].permute(1, 2, 0).numpy())


def shrink_image(pixels: Pixels, shrink: NDArray[np.float64]) -> Pixels:
    """Scale an image down, each side by its own factor, at a random position, see `ImageChanges`; its edge pixels fill the rest.

    OpenCV needs half the time for four channels that it needs for three, with the same bytes.
    """
    scale, size = shrink[:2], (pixels.shape[1], pixels.shape[0])
    shift = (1 - scale) * size * shrink[2:]
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    rgba = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA)
    moved = cv2.warpAffine(rgba, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB), np.uint8)


def move_image(pixels: Pixels, move: NDArray[np.int64]) -> Pixels:
    """Move an image right and down by some pixels and fill with black: a random crop after padding."""
    height, width = pixels.shape[:2]
    right, down = move.tolist()
    moved = np.zeros_like(pixels)
    to_rows, to_columns = slice(max(0, down), height + min(0, down)), slice(max(0, right), width + min(0, right))
    from_rows, from_columns = slice(max(0, -down), height - max(0, down)), slice(max(0, -right), width - max(0, right))
    moved[to_rows, to_columns] = pixels[from_rows, from_columns]
    return moved
