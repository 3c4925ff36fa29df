"""What the filter needs of a JPEG picture, in less time than decoding it takes: the compiled jpeg/recode.c, where it was compiled.

It is an optional extension: without a C compiler at installation, or AVX2, the libraries do the same work, with the same numbers, in twice
the time.
"""

import ctypes
import importlib.util
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any


@dataclass
class Recoded:
    """A picture's RGB pixels in numbers, as it is decoded and encoded again."""

    size: int  # bytes of the new JPEG
    pixels: int
    sums: list[int]  # over the pixels, of R-G, G-B, B-R
    squares: list[int]  # and of their squares
    luma: Any  # [H, W] uint8, to be used before the next call; what the JPEG encoder, and Pillow's mode L, make of the RGB


class _Result(ctypes.Structure):
    """Result of recode.c."""

    _fields_ = (
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("size", ctypes.c_int64),
        ("sums", ctypes.c_int64 * 3),
        ("squares", ctypes.c_int64 * 3),
        ("room", ctypes.c_int64),
        ("luma", ctypes.c_void_p),
    )


class _Native:
    """The compiled function with the buffer for luma that it fills, which grows to the largest picture."""

    LARGER = 2

    def __init__(self, path: str):
        import numpy as np

        self.call = ctypes.CDLL(path).recode
        self.call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(_Result)]
        self.luma = np.empty(512 * 512, np.uint8)

    def __call__(self, image: Any, quality: int) -> Recoded | None:
        import numpy as np

        data, like, result = np.frombuffer(image, np.uint8), reference(quality), _Result()
        for _ in range(2):
            result.room, result.luma = self.luma.size, self.luma.ctypes.data
            status = self.call(data.ctypes.data, data.size, like, len(like), result)
            if status != self.LARGER:
                break
            self.luma = np.empty(result.width * result.height, np.uint8)
        if status:
            return None
        pixels = result.width * result.height
        luma = self.luma[:pixels].reshape(result.height, result.width)
        return Recoded(result.size, pixels, list(result.sums), list(result.squares), luma)


@cache
def native() -> _Native | None:
    """The compiled function; None where it was not compiled."""
    found = importlib.util.find_spec("mals._recode")
    return _Native(found.origin) if found and found.origin else None


@cache
def reference(quality: int) -> bytes:
    """A small JPEG in the reference encoding: what is written before the pixels of any picture."""
    from PIL import Image

    sink = BytesIO()
    Image.new("RGB", (16, 16)).save(sink, "JPEG", quality=quality, subsampling=2)
    return sink.getvalue()


def recode(image: Any, quality: int) -> Recoded | None:
    """A JPEG (any bytes-like) decoded and encoded at `quality`, 4:2:0, as libjpeg does both; None where recode.c leaves that to libjpeg."""
    call = native()
    return call(image, quality) if call and len(image) else None
