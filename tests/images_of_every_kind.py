"""Image files of every kind that people have, and what the project is to make of each.

All show the same: a photograph-like texture of WIDTH x HEIGHT with four coloured squares in its corners, so that a wrong orientation,
depth, background or profile is seen in the colours of the corners.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks.images import photograph

WIDTH, HEIGHT, SQUARE = 96, 144, 24
Colour = tuple[float, float, float]
CORNERS: tuple[Colour, ...] = (
    (200, 60, 60),
    (60, 170, 80),
    (60, 80, 190),
    (200, 190, 70),
)  # top left, top right, bottom left, bottom right
WHITE = (255.0, 255.0, 255.0)
EXACT, LOSSY = 1, 12  # levels of 255 that a corner may be off
# red, green and blue of a profile (XYZ at D50); both with a gamma of 2.2
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SRGB = np.array(((0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410)))


@dataclass(frozen=True)
class Expected:
    """What is to be made of a file: kept with these colours in its corners, or refused for a reason."""

    reason: str | None = None  # not_an_image, damaged_image, oversized_image; None: kept
    size: tuple[int, int] = (WIDTH, HEIGHT)  # width and height of the upright image
    corners: tuple[Colour, ...] = CORNERS
    tolerance: float = EXACT

    def differences(self, pixels: NDArray[np.uint8]) -> list[str]:
        """What is wrong with the pixels of a kept image."""
        height, width = pixels.shape[:2]
        if (width, height) != self.size or pixels.shape[2:] != (3,) or pixels.dtype != np.uint8:
            return [f"{pixels.dtype} {pixels.shape} instead of {self.size}"]
        near, far = SQUARE // 4, SQUARE // 4 + SQUARE // 2
        if min(self.size) < 2 * SQUARE:
            near, far = 0, 1
        rows, columns = (slice(near, far), slice(height - far, height - near)), (slice(near, far), slice(width - far, width - near))
        shown = [pixels[row, column].reshape(-1, 3).mean(0) for row in rows for column in columns]
        pairs = enumerate(zip(shown, self.corners, strict=True))
        wrong = [(corner, mean, colour) for corner, (mean, colour) in pairs if np.abs(mean - colour).max() > self.tolerance]
        return [f"corner {corner} is {mean.round().tolist()} instead of {colour}" for corner, mean, colour in wrong]


def write_images(folder: Path) -> dict[str, Expected]:
    """Write all images into a folder, which is made; returns what each is to become, by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (data, _) in images().items():
        (folder / name).write_bytes(data)
    return {name: expected for name, (_, expected) in images().items()}


def images() -> dict[str, tuple[bytes, Expected]]:
    """All images: the bytes, and what they are to become, by file name."""
    parts = (_turned, _jpegs, _pngs, _other_kinds, _profiles, _odd_sizes, _harmless, _no_images, _damaged_jpegs, _damaged, _bombs)
    return {name: (data, expected) for part in parts for name, data, expected in part()}


File = tuple[str, bytes, Expected]
LOST = Expected("damaged_image")
FOREIGN = Expected("not_an_image")
HUGE = Expected("oversized_image")
NEAR = Expected(tolerance=LOSSY)
GREY = Expected(
    corners=tuple((grey, grey, grey) for grey in (round(0.299 * r + 0.587 * g + 0.114 * b) for r, g, b in CORNERS)), tolerance=2
)


def shown() -> NDArray[np.uint8]:
    """The pixels that all images show, upright."""
    pixels = photograph(7, HEIGHT, WIDTH)
    places = [(row, column) for row in (slice(SQUARE), slice(-SQUARE, None)) for column in (slice(SQUARE), slice(-SQUARE, None))]
    for (row, column), colour in zip(places, CORNERS, strict=True):
        pixels[row, column] = colour
    return pixels


def saved(image: Image.Image | NDArray[Any], kind: str, **options: Any) -> bytes:
    """An image as a file; JPEGs of quality 92."""
    ink = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(ink, kind, **({"quality": 92} if kind == "JPEG" else {}), **options)
    return ink.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = "Camera"
    return tags


def stored(orientation: int) -> Image.Image:
    """The pixels as a camera stores them that writes this orientation."""
    undo = {6: 8, 8: 6}.get(orientation, orientation)
    image = Image.fromarray(shown())
    image.getexif()[0x0112] = undo
    return ImageOps.exif_transpose(image)


def _turned() -> Iterator[File]:
    for orientation in range(1, 9):
        yield f"exif_{orientation}.jpg", saved(stored(orientation), "JPEG", exif=exif(orientation)), NEAR
    yield "exif_6.png", saved(stored(6), "PNG", exif=exif(6)), Expected()
    yield "exif_8.webp", saved(stored(8), "WEBP", exif=exif(8), lossless=True), Expected()
    yield "exif_3.tif", saved(stored(3), "TIFF", exif=exif(3)), Expected()
    yield "exif_5.tif", saved(stored(5), "TIFF", exif=exif(5)), Expected()
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    yield "xmp_6.jpg", saved(stored(6), "JPEG", xmp=xmp), NEAR
    broken = b"Exif\0\0MM\0*\0\0\0\x08\0\xff\x01\x12"
    yield "exif_broken.jpg", saved(shown(), "JPEG", exif=broken), NEAR


def _jpegs() -> Iterator[File]:
    image = Image.fromarray(shown())
    yield "plain.jpg", saved(image, "JPEG"), NEAR
    yield "full_colour.jpeg", saved(image, "JPEG", subsampling=0), NEAR
    yield "progressive.JPG", saved(image, "JPEG", progressive=True), NEAR
    yield "optimised.jpg", saved(image, "JPEG", optimize=True), NEAR
    yield "restarts.jpg", saved(image, "JPEG", restart_marker_rows=1), NEAR
    yield "restart_blocks.jpg", saved(image, "JPEG", restart_marker_blocks=3), NEAR
    yield "grey.jpg", saved(image.convert("L"), "JPEG"), replace(GREY, tolerance=LOSSY)
    yield "cmyk.jpg", saved(image.convert("CMYK"), "JPEG"), NEAR
    inverted = 255 - np.asarray(image.convert("CMYK"))
    yield "ycck.jpg", simplejpeg.encode_jpeg(np.ascontiguousarray(inverted), 92, "CMYK"), NEAR
    yield "rgb_without_transform.jpg", saved(image, "JPEG", keep_rgb=True), NEAR


def _pngs() -> Iterator[File]:
    pixels, image = shown(), Image.fromarray(shown())
    grey = np.asarray(image.convert("L"))
    sixteen = pixels[..., ::-1].astype(np.uint16) * 257
    yield "plain.png", saved(image, "PNG"), Expected()
    yield "grey.png", saved(grey, "PNG"), GREY
    yield "grey_16.png", saved(grey.astype(np.uint16) * 257, "PNG"), GREY
    yield "rgb_16.png", cv2.imencode(".png", sixteen)[1].tobytes(), Expected()
    alpha_16 = np.dstack([sixteen, _left_half_hidden().astype(np.uint16) * 257])
    yield "rgba_16.png", cv2.imencode(".png", alpha_16)[1].tobytes(), _left_white(CORNERS)
    yield "bit.png", saved(image.convert("L").point(lambda level: 255 * (level > 110)).convert("1"), "PNG"), _bit()
    hidden = image.copy()
    hidden.putalpha(Image.fromarray(_left_half_hidden()))
    yield "alpha.png", saved(hidden, "PNG"), _left_white(CORNERS)
    yield "grey_alpha.png", saved(hidden.convert("LA"), "PNG"), replace(_left_white(GREY.corners), tolerance=2)
    half = image.copy()
    half.putalpha(128)
    mixed = tuple((128 * r + 127 * 255) / 255 for r in np.array(CORNERS))
    yield "half_alpha.png", saved(half, "PNG"), Expected(corners=tuple(tuple(colour) for colour in mixed))
    palette = image.quantize(128)
    yield "palette.png", saved(palette, "PNG"), NEAR
    first = palette.getpixel((2, 2))
    yield "palette_one_transparent.png", saved(palette, "PNG", transparency=first), replace(NEAR, corners=(WHITE, *CORNERS[1:]))
    alphas = bytes(0 if index == first else 255 for index in range(128))
    yield "palette_alphas.png", saved(palette, "PNG", transparency=alphas), replace(NEAR, corners=(WHITE, *CORNERS[1:]))
    yield "colour_key.png", saved(image, "PNG", transparency=(200, 60, 60)), Expected(corners=(WHITE, *CORNERS[1:]))
    frames = [ImageOps.invert(image)] * 2
    yield "animated.png", saved(image, "PNG", save_all=True, append_images=frames), Expected()


def _left_half_hidden() -> NDArray[np.uint8]:
    opacity = np.full((HEIGHT, WIDTH), 255, np.uint8)
    opacity[:, : WIDTH // 2] = 0
    return opacity


def _left_white(corners: tuple[Colour, ...]) -> Expected:
    return Expected(corners=(WHITE, corners[1], WHITE, corners[3]))


def _bit() -> Expected:
    return Expected(corners=tuple(WHITE if corner[0] > 110 else (0.0, 0.0, 0.0) for corner in GREY.corners))


def _other_kinds() -> Iterator[File]:
    pixels, image = shown(), Image.fromarray(shown())
    frames = [ImageOps.invert(image)] * 2
    yield "animated.gif", saved(image, "GIF", save_all=True, append_images=frames), replace(NEAR, tolerance=20)
    clear = image.quantize(128)
    place = replace(NEAR, corners=(WHITE, *CORNERS[1:]))
    yield "transparent.gif", saved(clear, "GIF", transparency=clear.getpixel((2, 2))), place
    yield "plain.webp", saved(image, "WEBP", quality=90), NEAR
    yield "animated.webp", saved(image, "WEBP", save_all=True, append_images=frames, lossless=True), Expected()
    hidden = image.copy()
    hidden.putalpha(Image.fromarray(_left_half_hidden()))
    yield "alpha_exif.webp", saved(hidden, "WEBP", lossless=True, exif=exif(1)), _left_white(CORNERS)
    yield "plain.bmp", saved(image, "BMP"), Expected()
    yield "palette.bmp", saved(image.quantize(128), "BMP"), NEAR
    yield "lzw.tiff", saved(image, "TIFF", compression="tiff_lzw"), Expected()
    yield "cmyk.tif", saved(image.convert("CMYK"), "TIFF"), Expected()
    grey = np.asarray(image.convert("L"))
    yield "grey_16.tif", saved(grey.astype(np.uint16) * 257, "TIFF"), GREY
    yield "float.tif", saved(grey.astype(np.float32) / 255, "TIFF"), GREY
    yield "rgb_16.tif", cv2.imencode(".tif", pixels[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), Expected()
    yield "plain.ppm", saved(image, "PPM"), Expected()
    yield "jpeg2000.jp2", saved(image, "JPEG2000"), Expected()
    yield "png_named.jpg", saved(image, "PNG"), Expected()
    yield "jpeg_named.png", saved(image, "JPEG"), NEAR
    yield "webp_named.jpeg", saved(image, "WEBP", lossless=True), Expected()
    if "AVIF" in Image.SAVE:
        yield "plain.avif", saved(image, "AVIF", quality=95), NEAR


def profile(name: str, primaries: tuple[Colour, Colour, Colour], gamma: float = 2.2) -> bytes:
    """An ICC profile, version 2, of a display with these colours."""
    text = name.encode() + b"\0"
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)}
    tags[b"cprt"] = b"text" + bytes(4) + b"none\0"
    points = zip((b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ"), ((0.9642, 1.0, 0.8249), *primaries), strict=True)
    tags |= {tag: b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * value) for value in point)) for tag, point in points}
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(256 * gamma))
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for tag, value in tags.items():
        value += bytes(-len(value) % 4)
        table += tag + struct.pack(">II", at + len(body), len(value))
        body += value
    start = struct.pack(">I4xI4s4s4s12x4s", at + len(body), 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    light = struct.pack(">3i", 63190, 65536, 54061)
    return start + bytes(68 - len(start)) + light + bytes(128 - 68 - len(light)) + table + body


def in_srgb(colour: Colour, primaries: tuple[Colour, Colour, Colour], gamma: float = 2.2) -> Colour:
    """A colour of a profile as sRGB shows it."""
    light = np.clip(np.linalg.solve(SRGB, np.array(primaries).T @ (np.array(colour) / 255) ** gamma), 0, 1)
    levels = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    red, green, blue = (255 * levels).tolist()
    return red, green, blue


def _profiles() -> Iterator[File]:
    image = Image.fromarray(shown())
    for name, primaries in (("Adobe RGB (1998)", ADOBE_RGB), ("Display P3", DISPLAY_P3)):
        expected = Expected(corners=tuple(in_srgb(colour, primaries) for colour in CORNERS), tolerance=4)
        stem = name.split(" (")[0].replace(" ", "_").lower()
        yield f"{stem}.png", saved(image, "PNG", icc_profile=profile(name, primaries)), expected
        yield f"{stem}.jpg", saved(image, "JPEG", icc_profile=profile(name, primaries)), replace(expected, tolerance=LOSSY)
    turned = saved(stored(6), "JPEG", icc_profile=profile("Display P3", DISPLAY_P3), exif=exif(6))
    yield "display_p3_exif_6.jpg", turned, replace(expected, tolerance=LOSSY)
    yield "srgb.jpg", saved(image, "JPEG", icc_profile=profile("sRGB IEC61966-2.1", DISPLAY_P3)), NEAR  # the name says it: not converted
    yield "broken_profile.jpg", saved(image, "JPEG", icc_profile=b"no profile" * 20), NEAR
    yield (
        "profile_of_other_channels.jpg",
        saved(image.convert("L"), "JPEG", icc_profile=profile("Adobe", ADOBE_RGB)),
        replace(GREY, tolerance=LOSSY),
    )


def _odd_sizes() -> Iterator[File]:
    for width, height in ((1, 1), (1, 300), (300, 1), (2000, 3)):
        flat = Expected(size=(width, height), corners=((90, 120, 150),) * 4, tolerance=4)
        yield f"{width}x{height}.jpg", saved(Image.new("RGB", (width, height), (90, 120, 150)), "JPEG"), flat
    yield "1x1.png", saved(Image.new("RGB", (1, 1), (90, 120, 150)), "PNG"), Expected(size=(1, 1), corners=((90, 120, 150),) * 4)


def _harmless() -> Iterator[File]:
    """What some cameras and programs write, and every viewer shows."""
    jpeg = saved(shown(), "JPEG")
    yield "trailer.jpg", jpeg + b"a motion photo" * 40 + bytes(400), NEAR
    yield "no_end_marker.jpg", jpeg[:-2], NEAR
    yield "padded_end.jpg", jpeg[:-2] + bytes(200) + jpeg[-2:], NEAR
    yield "odd_byte_at_the_end.jpg", jpeg[:-2] + b"\x7f" + jpeg[-2:], NEAR
    yield "fill_bytes.jpg", jpeg[:-2] + b"\xff" * 5 + jpeg[-2:], NEAR
    tables = jpeg.index(b"\xff\xdb")
    yield "odd_bytes_in_the_header.jpg", jpeg[:tables] + b"camera" + jpeg[tables:], NEAR
    webcam = saved(shown(), "JPEG", restart_marker_rows=1)
    yield "webcam.jpg", re.sub(rb"(\xff[\xd0-\xd7])", rb"ZZ\1", webcam), NEAR
    yield "unknown_revision.jpg", jpeg.replace(b"JFIF\0\x01", b"JFIF\0\x00", 1), NEAR


def _no_images() -> Iterator[File]:
    yield "empty.jpg", b"", FOREIGN
    yield "page.jpg", b"<!DOCTYPE html><html><body>404 Not Found</body></html>", FOREIGN
    yield "text.png", b"this is no image\n", FOREIGN
    yield "heic.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400), FOREIGN
    yield "document.jpg", b"%PDF-1.7\n" + bytes(100), FOREIGN
    yield "vector.png", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', FOREIGN
    yield "random.jpg", np.random.default_rng(3).bytes(3000), FOREIGN
    yield "zeros.png", bytes(3000), FOREIGN


def _damaged_jpegs() -> Iterator[File]:
    kinds = {"baseline": {}, "progressive": {"progressive": True}, "restarts": {"restart_marker_rows": 1}, "grey": {}}
    noise = np.random.default_rng(1).integers(0, 255, 400, np.uint8).tobytes().replace(b"\xff", b"\xfe")
    for kind, options in kinds.items():
        jpeg = saved(Image.fromarray(shown()).convert("L" if kind == "grey" else "RGB"), "JPEG", **options)
        scan = jpeg.index(b"\xff\xda") + 14
        half = (scan + len(jpeg)) // 2
        yield f"{kind}_half.jpg", jpeg[:half], LOST
        yield f"{kind}_nearly_all.jpg", jpeg[:-100], LOST
        yield f"{kind}_half_with_end.jpg", jpeg[:half] + b"\xff\xd9", LOST
        yield f"{kind}_half_zeros.jpg", jpeg[:half] + bytes(len(jpeg) - half), LOST
        yield f"{kind}_half_zeros_with_end.jpg", jpeg[:half] + bytes(len(jpeg) - half) + b"\xff\xd9", LOST
        yield f"{kind}_zeros_inside.jpg", jpeg[: half - 400] + bytes(400) + jpeg[half:], LOST
        yield f"{kind}_noise_inside.jpg", jpeg[: half - 400] + noise + jpeg[half:], LOST
        yield f"{kind}_header.jpg", jpeg[: scan - 40], LOST
    progressive = saved(shown(), "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    yield "without_the_last_scan.jpg", progressive[:last] + b"\xff\xd9", LOST
    yield "start_marker_only.jpg", b"\xff\xd8\xff", LOST


def _damaged() -> Iterator[File]:
    png = saved(shown(), "PNG")
    yield "half.png", png[: len(png) // 2], LOST
    yield "header.png", png[:20], LOST
    yield "without_end.png", png[:-12], LOST
    yield "checksum.png", png[: len(png) // 2] + bytes([png[len(png) // 2] ^ 1]) + png[len(png) // 2 + 1 :], LOST
    for kind, options in {"WEBP": {"quality": 90}, "GIF": {}, "BMP": {}, "TIFF": {"compression": "tiff_lzw"}, "PPM": {}}.items():
        data = saved(shown(), kind, **options)
        yield f"half.{kind.lower()}", data[: len(data) // 2], LOST
    data = saved(shown(), "WEBP", lossless=True)
    yield "half_lossless.webp", data[: len(data) // 2], LOST


def _bombs() -> Iterator[File]:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 1, 0, 0, 0, 0))
    rows = zlib.compress(bytes(2501 * 20000))
    yield "bomb.png", b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""), HUGE
    jpeg = saved(shown(), "JPEG")
    frame = jpeg.index(b"\xff\xc0") + 5
    yield "bomb.jpg", jpeg[:frame] + struct.pack(">HH", 20000, 20000) + jpeg[frame + 4 :], HUGE
    gif = saved(Image.new("P", (4, 4)), "GIF")
    yield "bomb.gif", gif[:6] + struct.pack("<HH", 60000, 60000) + gif[10:], HUGE
