"""The images of a stage's rows as pixels, and what becomes of rows whose image is bad."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from mals.grid.stage import error_message
from mals.images import BadImage, Pixels, decode_image

T = TypeVar("T")
DAMAGED = "damaged_image"  # the reason of a row whose image lost pixels


@dataclass
class RowImages:
    """One entry a row: the pixels [H, W, 3], or else a reason to refuse the row, or an error."""

    pixels: list[Pixels | None] = field(default_factory=list)
    reject: list[list[str] | None] = field(default_factory=list)
    errors: list[str | None] = field(default_factory=list)

    def apply(self, model: Callable[[list[Pixels]], Iterable[T]]) -> list[T | None]:
        """What a model makes of the image of each row, None for a row without pixels.

        The model gets as many images as there are rows, so that all calls have one shape: the first one stands where there are no pixels.
        """
        stand_in = next((pixels for pixels in self.pixels if pixels is not None), None)
        if stand_in is None:
            return [None] * len(self.pixels)
        values = model([stand_in if pixels is None else pixels for pixels in self.pixels])
        return [None if pixels is None else value for pixels, value in zip(self.pixels, values, strict=True)]


def read_images(files: Iterable[bytes | None], decode: Callable[[bytes], Pixels] = decode_image) -> RowImages:
    """Decode the image file of each row: a damaged one is refused, any other bad one is an error of its row."""
    images = RowImages()
    for file in files:
        pixels, reject, error = None, None, None
        try:
            pixels = decode(file or b"")
        except BadImage as bad:
            reject, error = bad_row(bad)
        images.pixels.append(pixels)
        images.reject.append(reject)
        images.errors.append(error)
    return images


def bad_row(bad: BadImage) -> tuple[list[str] | None, str | None]:
    """The reasons to refuse a row whose image is bad, or the row's error."""
    if bad.reason == DAMAGED:
        return [DAMAGED], None
    return None, error_message(bad, "cannot read the image")
