"""The images of a stage's rows as pixels, and what becomes of rows whose image is bad."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mals.grid.stage import error_message
from mals.images import BadImage, Pixels, decode_image

DAMAGED = "damaged_image"  # the reason of a row whose image lost pixels


@dataclass
class RowImages:
    """One entry a row: the pixels [H, W, 3], or else a reason to refuse the row, or an error."""

    pixels: list[Pixels | None] = field(default_factory=list)
    reject: list[list[str] | None] = field(default_factory=list)
    errors: list[str | None] = field(default_factory=list)


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
