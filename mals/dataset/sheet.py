"""Many pictures on one, for a person to look at."""

from collections.abc import Sequence
from io import BytesIO

from PIL import Image

GAP = 4  # pixels between pictures


def contact_sheet(pictures: Sequence[bytes], across: int, cell: tuple[int, int]) -> bytes:
    """One JPEG of picture files, `across` a line, each fitted into its cell of (width, height) pixels."""
    width, height = cell
    sheet = Image.new("RGB", (min(across, len(pictures)) * width, -(-len(pictures) // across) * height), "white")
    for at, data in enumerate(pictures):
        picture = Image.open(BytesIO(data)).convert("RGB")
        scale = min((width - GAP) / picture.width, (height - GAP) / picture.height)
        picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.BICUBIC)
        x, y = at % across * width, at // across * height
        sheet.paste(picture, (x + (width - picture.width) // 2, y + (height - picture.height) // 2))
    written = BytesIO()
    sheet.save(written, "JPEG", quality=88)
    return written.getvalue()
