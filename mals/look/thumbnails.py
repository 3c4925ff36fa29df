"""Images as a browser gets them: JPEG files that are small, whatever the file was."""

import threading
from collections import OrderedDict
from io import BytesIO

from PIL import Image, ImageDraw

from mals.images import BadImage, decode_image, is_plain_jpeg
from mals.look.source import Source

SIDE = 288  # pixels of the longer side of a thumbnail
PLAIN = 48 << 10  # bytes of a JPEG that is sent as a thumbnail as it is
KEPT_BYTES = 48 << 20  # of the thumbnails that were sent last
QUALITY = 85


class Thumbnails:
    """The thumbnails of a source; those that were sent last are kept."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._bytes, self._version = 0, source.version
        self._lock = threading.Lock()

    def get(self, row: int) -> bytes | None:
        """The JPEG of a row; None where there is no image, or one that cannot be read."""
        with self._lock:
            if self._version != self.source.version:
                self._kept.clear()
                self._bytes, self._version = 0, self.source.version
            if row in self._kept:
                self._kept.move_to_end(row)
                return self._kept[row]
        data = self.source.image(row)
        small = None if data is None else thumbnail(data)
        if small is not None:
            with self._lock:
                self._bytes += len(small) - len(self._kept.pop(row, b""))
                self._kept[row] = small
                while self._bytes > KEPT_BYTES:
                    self._bytes -= len(self._kept.popitem(last=False)[1])
        return small


def thumbnail(data: bytes, side: int = SIDE) -> bytes | None:
    """A small JPEG of an image file; None where it cannot be read."""
    return data if len(data) <= PLAIN and _is_plain(data) else _encoded(data, side)


def no_image() -> bytes:
    """A JPEG that stands for an image that there is not, for pages without a server."""
    image = Image.new("RGB", (80, 160), "#8a9097")
    ImageDraw.Draw(image).line([(24, 64), (56, 96), (40, 80), (56, 64), (24, 96)], "#24282c", 3)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def whole(data: bytes) -> bytes | None:
    """An image file as a JPEG in its full size, upright; None where it cannot be read."""
    return data if _is_plain(data) else _encoded(data, None)


def _is_plain(data: bytes) -> bool:
    try:
        return is_plain_jpeg(data)
    except BadImage:
        return False


def _encoded(data: bytes, side: int | None) -> bytes | None:
    try:
        image = Image.fromarray(decode_image(data))
    except BadImage:
        return None
    if side is not None:
        image.thumbnail((side, side))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
