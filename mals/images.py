"""Decoding of image files: the one place where files become pixels.

What is made of a file, whatever its name says:

    kinds         JPEG, PNG, GIF, WebP, TIFF, BMP, PPM, JPEG 2000 and AVIF; all others are `not_an_image`
    orientation   as EXIF says (or XMP, where EXIF does not): pixels are upright
    depth         16 bits are divided by 257, floats that end at 1, 255 or 65535 are scaled by that, 1 bit is black and white
    colours       grey, palettes, CMYK, YCCK, YCbCr and Lab become RGB; an ICC profile other than sRGB is converted to sRGB, and one that
                  is broken or does not fit the channels is ignored
    transparency  composed on white, so that no colour shows that was hidden
    animation     the first frame

A file that lost pixels is `damaged_image`: one that ends too early, also with an end marker or zeros after it; a progressive JPEG without
its last scans; zeros or other bytes in the middle, as far as a decoder can see it. PNG has checksums. JPEG has none: what counts there are
the warnings of libjpeg-turbo, and runs of zeros. Some damage in the middle of a JPEG gives wrong colours and no warning, and is not seen.
Taken are files that lack nothing but the end marker, have anything after it, or padding and odd bytes where some cameras write them.

Images over MAX_PIXELS are `oversized_image`, and not decoded.
"""

import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from typing import Any, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from mals import jpeg_header
from mals.jpeg_header import JpegHeader

MAX_PIXELS = 178_956_970  # Pillow's own limit; a photograph of 108 million pixels is under it
WHITE = 255
KINDS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")
# the first bytes of KINDS: a file that begins so and cannot be read is a damaged image
BEGINNINGS = re.compile(
    rb"\xff\xd8|\x89PNG|GIF8|RIFF....WEBP|BM....\0\0\0\0|II\*\0|MM\0\*|II\+\0|MM\0\+|P[1-7fF][\s#]"
    rb"|\0\0\0\x0cjP  |\xff\x4f\xff\x51|....ftypavi[fs]",
    re.DOTALL,
)
HEIC = re.compile(rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)", re.DOTALL)
HARMLESS = re.compile(r"unknown JFIF revision|Unknown Adobe color transform|bad ICC|extraneous bytes before marker 0x(e.|fe|db|dd)")
EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x(d[0-79])")
PREMATURE = "Premature end of JPEG file"
ODD_BYTES, ODD_BYTES_OF_INTERVAL = 4, 16  # that healthy files have before their end marker; webcams before restart markers

QUIET = threading.RLock()  # warnings and the file of stderr belong to the whole process

Reason = Literal["not_an_image", "damaged_image", "oversized_image"]
Pixels = NDArray[np.uint8]


class BadImage(ValueError):
    """A file that gives no image; the message is one sentence."""

    def __init__(self, reason: Reason, message: str):
        super().__init__(message)
        self.reason: Reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, str(self))


def decode_image(data: bytes) -> Pixels:
    """The pixels of an image file, [H, W, 3] uint8, RGB, upright and writable; the module says what is made of which file.

    Raises BadImage.
    """
    return _decode(data)


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height of the upright image, from the header where that is enough: damage behind it is not seen. Raises BadImage."""
    if not data.startswith(jpeg_header.START):
        height, width = _decode(data).shape[:2]
        return width, height
    header = _header(data)
    return (header.height, header.width) if header.orientation > 4 else (header.width, header.height)


@contextmanager
def open_image(data: bytes) -> Iterator[Image.Image]:
    """An image file whose header and metadata are read, but no pixels; raises what Pillow raises."""
    Image.init()
    kinds = [kind for kind in KINDS if kind in Image.OPEN]  # AVIF is not in every Pillow
    with _silence(stderr=data[:2] in (b"II", b"MM")), Image.open(BytesIO(data), formats=kinds) as image:
        yield image


def is_plain_jpeg(data: bytes) -> bool:
    """Whether every reader shows a file as `decode_image` does: an upright JPEG, in RGB or grey, in sRGB or without a profile."""
    if not data.startswith(jpeg_header.START):
        return False
    header = _header(data)
    return header.orientation == 1 and header.components != 4 and (header.profile is None or is_srgb(header.profile))


class Decoder:
    """`decode_image` into one buffer, which takes a tenth less time: the pixels are valid until the next call."""

    def __init__(self) -> None:
        self._buffer = bytearray(1)

    def __call__(self, data: bytes) -> Pixels:
        """The pixels of an image file, [H, W, 3], valid until the next call. Raises BadImage."""
        return _decode(data, self)

    def buffer(self, size: int) -> bytearray:
        """Memory of at least `size` bytes, the same as before if that is enough."""
        if size > len(self._buffer):
            self._buffer = bytearray(size)
        return self._buffer


def _decode(data: bytes, decoder: Decoder | None = None) -> Pixels:
    if not data.startswith(jpeg_header.START):
        return _decode_by_pillow(data)
    header = _header(data)
    if header.components == 4:
        cmyk = Image.fromarray(WHITE - _jpeg_pixels(data, header, "CMYK"), "CMYK")  # Adobe's files, which are all there are, are inverted
        pixels = _in_srgb(cmyk, header.profile)
    elif header.profile is None or is_srgb(header.profile):
        pixels = _jpeg_pixels(data, header, "RGB", decoder)
    else:
        grey = header.components == 1
        stored = _jpeg_pixels(data, header, "GRAY" if grey else "RGB")
        pixels = _in_srgb(Image.fromarray(stored.reshape(stored.shape[:2]) if grey else stored), header.profile)
    return pixels if header.orientation == 1 else _upright(pixels, header.orientation)


def _header(data: bytes) -> JpegHeader:
    """The header of a JPEG that can be decoded; BadImage of any other."""
    try:
        header = jpeg_header.read_header(data)
    except ValueError as error:
        raise _damaged(str(error)) from None
    if header.bits != 8 or header.components not in (1, 3, 4) or header.frame not in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):
        raise BadImage("not_an_image", f"JPEGs of {header.bits} bits and {header.components} channels in this compression are not read")
    if not header.width or not header.height:
        raise _damaged("its header has no size")
    _check_size(header.width, header.height)
    return header


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadImage("oversized_image", f"an image of {width:,} x {height:,} pixels is over the limit of {MAX_PIXELS:,}")


def _jpeg_pixels(data: bytes, header: JpegHeader, colours: str, decoder: Decoder | None = None) -> Pixels:
    """The stored pixels of a JPEG, [h, w, channels]; BadImage if they are damaged."""
    buffer = decoder.buffer(3 * header.width * header.height) if decoder else None
    suspect = False
    try:
        pixels = simplejpeg.decode_jpeg(data, colours, buffer=buffer)
    except ValueError as error:
        data, pixels = _decode_despite(data, header, colours, str(error))
        suspect = True
    if jpeg_header.scans_are_missing(data, header) or jpeg_header.zeros_hide_a_loss(data, header):
        raise _damaged("a part of its pixels is missing")
    if suspect and _lower_part_is_flat(pixels):
        raise _damaged("the lower part of its pixels is missing")
    return pixels


def _decode_despite(data: bytes, header: JpegHeader, colours: str, warning: str) -> tuple[bytes, Pixels]:
    """A JPEG of which libjpeg-turbo says `warning`, without its cause, and its pixels; BadImage unless healthy files have that."""
    try:
        if PREMATURE in warning:  # it lacks the end marker, and perhaps more
            data += jpeg_header.END
            try:
                return data, simplejpeg.decode_jpeg(data, colours)
            except ValueError as error:
                warning = str(error)
        match = EXTRANEOUS.search(warning)
        if match and match[2] == "d9":
            end = data.find(jpeg_header.END, header.scan)
            padding = data[end - int(match[1]) : end]
            if len(padding) <= ODD_BYTES or len(set(padding)) <= 2:
                data = data[: end - len(padding)] + data[end:]
                return data, simplejpeg.decode_jpeg(data, colours)
        elif HARMLESS.search(warning) or (match and int(match[1]) <= ODD_BYTES_OF_INTERVAL):
            return data, _jpeg_by_pillow(data, colours)
    except (ValueError, OSError) as error:
        warning = _message(error)
    raise _damaged(warning.removeprefix("Corrupt JPEG data: "))


def _jpeg_by_pillow(data: bytes, colours: str) -> Pixels:
    """The stored pixels of a JPEG, which Pillow decodes whatever libjpeg-turbo warns of; OSError if it ends too early."""
    with _silence(), Image.open(BytesIO(data), formats=["JPEG"]) as image:
        if colours == "CMYK":
            return WHITE - np.asarray(image)
        return np.array(image if colours == "GRAY" else image.convert("RGB"))


def _damaged(how: str) -> BadImage:
    return BadImage("damaged_image", f"the JPEG is damaged: {how[:1].lower()}{how[1:]}")


def _lower_part_is_flat(pixels: Pixels) -> bool:
    """Whether the last rows have one colour, as decoders fill up what is missing."""
    rows = pixels[-max(8, len(pixels) // 16) :].astype(np.int16)
    return int(np.ptp(rows.reshape(len(rows) * rows.shape[1], -1), axis=0).max()) <= 2


def _decode_by_pillow(data: bytes) -> Pixels:
    """The pixels of any file but a JPEG."""
    if not data:
        raise BadImage("not_an_image", "the file is empty")
    try:
        if data.startswith(b"\x89PNG"):
            with open_image(data) as image:
                image.verify()  # all checksums, which loading skips
        with open_image(data) as image:
            _check_size(*image.size)
            return image_pixels(image)
    except BadImage:
        raise
    except (Image.DecompressionBombError, MemoryError):
        raise BadImage("oversized_image", f"the image is over the limit of {MAX_PIXELS:,} pixels") from None
    except Exception as error:  # each kind of file fails in its own way
        raise _bad_image(data, error) from None


@contextmanager
def _silence(stderr: bool = False) -> Iterator[None]:
    """Without Pillow's warnings about broken EXIF and the like and, where asked for, without what C libraries print."""
    with QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not stderr:
            yield
            return
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


def _bad_image(data: bytes, error: Exception) -> BadImage:
    if HEIC.match(data):
        return BadImage("not_an_image", "HEIC images are not read; convert them to JPEG first")
    if not BEGINNINGS.match(data):
        return BadImage("not_an_image", "the file is no image of a kind that is read")
    return BadImage("damaged_image", f"the image is damaged: {_message(error)}")


def _message(error: Exception) -> str:
    """The first line of a decoder's message, without addresses of objects."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "its header cannot be read"
    lines = re.sub(r"\s*<.* at 0x[0-9a-f]+>", "", str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def image_pixels(image: Image.Image) -> Pixels:
    """The pixels of an image that Pillow opened, [H, W, 3], as `decode_image` makes them of a file; raises what Pillow raises."""
    image.load()
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF: the pixels are as they are stored
        upright = image
    colours = _eight_bits(upright)
    pixels = _in_srgb(colours, upright.info.get("icc_profile"))
    alpha = _alpha(upright)
    return pixels if alpha is None else _on_white(pixels, alpha)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The colours of an image in mode L, RGB, CMYK or LAB; transparency is dropped."""
    if image.mode.startswith("I"):
        return Image.fromarray(np.clip(np.asarray(image).astype(np.float64) / 257 + 0.5, 0, 255).astype(np.uint8))
    if image.mode == "F":
        levels = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0, neginf=0)
        largest = next((top for top in (1, 255, 65535) if levels.max() <= top), levels.max())
        return Image.fromarray(np.clip(levels * (255 / largest) + 0.5, 0, 255).astype(np.uint8))
    if image.mode in ("L", "RGB", "CMYK", "LAB"):
        return image
    return image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")


def _alpha(image: Image.Image) -> Pixels | None:
    """The opacity of each pixel, [H, W], 255 where it hides what is behind; None where all do."""
    transparent = image.info.get("transparency")
    if image.mode.startswith("I"):
        return np.where(np.asarray(image) == transparent, 0, 255).astype(np.uint8) if isinstance(transparent, int) else None
    return np.asarray(image.convert("RGBA").getchannel("A")) if image.has_transparency_data else None


def _on_white(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Pixels [H, W, 3] with an opacity [H, W] before a white background."""
    opacity = alpha[..., None].astype(np.uint32)
    return ((pixels * opacity + WHITE * (255 - opacity) + 127) // 255).astype(np.uint8)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Stored pixels [h, w, 3] as EXIF's orientation 2 to 8 wants them shown."""
    turned = pixels.swapaxes(0, 1) if orientation > 4 else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def _in_srgb(image: Image.Image, profile: bytes | None) -> Pixels:
    """The pixels [H, W, 3] of an image in mode L, RGB, CMYK or LAB, whose colours are those of an ICC profile; sRGB where there is none."""
    transform = _transform(profile, image.mode) if profile and not is_srgb(profile) else None
    if image.mode == "LAB" and transform is None:
        transform = _transform(None, "LAB")
    if transform is not None:
        image = ImageCms.applyTransform(image, transform) or image
    return np.array(image.convert("RGB"))


@lru_cache(maxsize=64)
def is_srgb(profile: bytes) -> bool:
    """Whether a profile describes sRGB, or cannot be read."""
    try:
        return "srgb" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile))).lower()
    except Exception:  # LittleCMS refuses it
        return True


@lru_cache(maxsize=64)
def _transform(profile: bytes | None, mode: str) -> Any:
    """The conversion of an image in `mode` from a profile (None: Lab) to sRGB; None if the profile does not fit."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except Exception:  # LittleCMS refuses it
        return None
