"""Decoding of image files."""

import io
import re
from contextlib import suppress

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

ADDRESS = re.compile(r"\s*<\S+ object at 0x[0-9a-f]+>")


def decode_image(file: bytes) -> NDArray[np.uint8]:
    """The pixels of an image file, [h, w, 3], RGB; JPEG files by simplejpeg, which is faster than Pillow and gives the same bits."""
    if simplejpeg.is_jpeg(file):
        with suppress(ValueError):
            return simplejpeg.decode_jpeg(file)
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"))


def first_line(error: BaseException) -> str:
    """The first line of what an error says, without the memory addresses of objects."""
    line = ADDRESS.sub("", (str(error).splitlines() or [""])[0]).strip()
    return line or type(error).__name__


class Decoder:
    """`decode_image` into one buffer, which takes a tenth less time: the pixels are valid until the next call."""

    def __init__(self) -> None:
        self._buffer = bytearray(1)

    def __call__(self, file: bytes) -> NDArray[np.uint8]:
        """The pixels of an image file, [h, w, 3], valid until the next call."""
        if simplejpeg.is_jpeg(file):
            with suppress(ValueError):  # a damaged file, or one that needs a larger buffer
                return simplejpeg.decode_jpeg(file, buffer=self._buffer)
        pixels = decode_image(file)
        if pixels.nbytes > len(self._buffer):
            self._buffer = bytearray(pixels.nbytes)
        return pixels
