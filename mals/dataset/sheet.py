"""A contact sheet: many images in one."""

from collections.abc import Sequence
from io import BytesIO

from PIL import Image

from mals.images import decode_image

GAP = 4  # pixels between images


def contact_sheet(images: Sequence[bytes], columns: int, cell: tuple[int, int]) -> bytes:
    """One JPEG of image files, `columns` in a row, each fitted into a cell of (width, height) pixels."""
    width, height = cell
    sheet = Image.new("RGB", (min(columns, len(images)) * width, -(-len(images) // columns) * height), "white")
    for number, data in enumerate(images):
        image = Image.fromarray(decode_image(data))
        scale = min((width - GAP) / image.width, (height - GAP) / image.height)
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BICUBIC)
        x, y = number % columns * width, number // columns * height
        sheet.paste(image, (x + (width - image.width) // 2, y + (height - image.height) // 2))
    buffer = BytesIO()
    sheet.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
