"""A contact sheet: many images in one."""

from collections.abc import Sequence
from io import BytesIO

from PIL import Image

from mals.errors import UserError
from mals.images import decode_image

GAP = 4  # pixels between images
LONGEST = 65_500  # pixels of a side of a JPEG, by libjpeg
MOST_PIXELS = 89_478_485  # of an image that Pillow opens without a warning


def sheet_size(count: int, columns: int, cell: tuple[int, int]) -> tuple[int, int]:
    """Width and height in pixels of a contact sheet of `count` images; UserError where no JPEG is that large."""
    width, height = min(columns, count) * cell[0], -(-count // columns) * cell[1]
    if max(width, height) > LONGEST or width * height > MOST_PIXELS:
        raise UserError(
            f"a contact sheet of {count:,} images would have {width:,} x {height:,} pixels, which is too large for a JPEG; ask for fewer "
            "images, or for a .json or .csv file"
        )
    return width, height


def contact_sheet(images: Sequence[bytes], columns: int, cell: tuple[int, int]) -> bytes:
    """One JPEG of image files, `columns` in a row, each fitted into a cell of (width, height) pixels; UserError as `sheet_size`."""
    width, height = cell
    sheet = Image.new("RGB", sheet_size(len(images), columns, cell), "white")
    for number, data in enumerate(images):
        image = Image.fromarray(decode_image(data))
        scale = min((width - GAP) / image.width, (height - GAP) / image.height)
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BICUBIC)
        x, y = number % columns * width, number // columns * height
        sheet.paste(image, (x + (width - image.width) // 2, y + (height - image.height) // 2))
    buffer = BytesIO()
    sheet.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
