"""What stands in a JPEG file before its pixels, and signs of damage that libjpeg-turbo does not report; nothing is decoded here."""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

START, END = b"\xff\xd8", b"\xff\xd9"
SCAN = 0xDA
ALONE = {0x00, 0x01, *range(0xD0, 0xD9)}  # markers without a segment; 00 is a stuffed byte
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # the kinds of compression: 0 and 1 sequential, 2 progressive, 3 lossless ...
PROGRESSIVE = 0xC2
TABLES = 0xC4
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
FEW = 128  # bytes of a scan that are too few to tell a pattern
ZEROS = bytes(32)  # a run that the compressed pixels of a whole image do not have; see zeros_hide_a_loss


@dataclass(frozen=True)
class JpegHeader:
    """The segments of a JPEG file before its first scan."""

    frame: int  # the marker of its kind of compression, one of FRAMES
    bits: int  # of a channel
    width: int  # pixels as they are stored, before EXIF turns them
    height: int
    components: int  # channels: 1 grey, 3 colours, 4 CMYK or YCCK
    scan: int  # where the first scan begins in the file
    exif: bytes | None  # with its name "Exif\0\0"
    xmp: bytes | None
    profile: bytes | None  # ICC

    @cached_property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8, or that of the XMP where EXIF has none; 1 where neither can be read."""
        if self.exif is not None and (orientation := _exif_orientation(self.exif)):
            return orientation
        match = XMP_ORIENTATION.search(self.xmp) if self.xmp else None
        return int(match[1]) if match else 1


def read_header(data: bytes) -> JpegHeader:
    """The header of a JPEG file; ValueError where it ends before its first scan."""
    frame, exif, xmp, scan = None, None, None, -1
    profile: list[bytes] = []
    for marker, start, end in _segments(data):
        if marker == SCAN:
            scan = start - 4
        elif marker in FRAMES and start + 6 <= min(end, len(data)):
            height, width = data[start + 1] << 8 | data[start + 2], data[start + 3] << 8 | data[start + 4]
            frame = (marker, data[start], width, height, data[start + 5])
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", start):
            exif = exif or data[start:end]
        elif marker == 0xE1 and data.startswith(b"http://ns.adobe.com/xap/1.0/\0", start):
            xmp = xmp or data[start:end]
        elif marker == 0xE2 and data.startswith(b"ICC_PROFILE\0", start):
            profile.append(data[start + 12 : end])
    if frame is None or scan < 0:
        raise ValueError("it ends within its header")
    whole = b"".join(part[2:] for part in sorted(profile)) or None  # each part begins with its number
    return JpegHeader(*frame, scan, exif, xmp, whole)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The marker of each segment up to the first scan, and where its content begins and ends; odd bytes between them are passed over."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == 0xD9:
            return
        if marker == 0xFF or marker in ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        start, at = at + 4, at + 2 + (data[at + 2] << 8 | data[at + 3])
        yield marker, start, at
        if marker == SCAN:
            return


def _exif_orientation(exif: bytes) -> int | None:
    """The orientation of the first directory of an EXIF segment; None where there is none that can be read."""
    tiff = exif[6:]
    order = {b"II": "little", b"MM": "big"}.get(tiff[:2])
    if order is None:
        return None

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], order)  # type: ignore[arg-type]

    first = number(4, 4)
    for entry in range(first + 2, min(first + 2 + 12 * number(first, 2), len(tiff) - 9), 12):
        if number(entry, 2) == 0x0112:
            value = number(entry + 8, 2 if number(entry + 2, 2) == 3 else 4)
            return value if 1 <= value <= 8 else None
    return None


def scans_are_missing(data: bytes, header: JpegHeader) -> bool:
    """Whether a progressive JPEG ends before its last scan, which libjpeg-turbo takes for a coarse image."""
    if header.frame != PROGRESSIVE:
        return False
    missing_bits: dict[tuple[int, int], int] = {}
    at, end = header.scan, _end(data, header.scan)
    while at >= 0:
        components, first, last, low = _scan(data, at)
        missing_bits |= dict.fromkeys(product(components, range(first, last + 1)), low)
        at = data.find(b"\xff\xda", at + 2, end)
    return len(missing_bits) < 64 * header.components or any(missing_bits.values())


def zeros_hide_a_loss(data: bytes, header: JpegHeader) -> bool:
    """Whether zeros stand in the place of compressed pixels, which are read as some image, often without a warning.

    A long run of zero bits is a run of equal symbols. It is real where each of them codes a whole flat block: in a scan of DC coefficients,
    or where the shortest code of the luma's AC coefficients is that of the end of a block, as in flat images with tables of their own. In
    drawn gradients it may be a pattern, but then so is the rest of the scan, which zlib shows: the pixels of photographs have none.
    """
    at = data.find(ZEROS, header.scan)
    if at < 0 or at > (end := _end(data, header.scan)):
        return False
    scan = data.rfind(b"\xff\xda", 0, at)
    components, first, _, _ = _scan(data, scan)
    interleaved = len(components) == header.components
    if first == 0 if header.frame == PROGRESSIVE else not interleaved or _first_symbol(data, scan) in (None, 0):
        return False
    next_scan = data.find(b"\xff\xda", at, end)
    rest = data[scan : next_scan if next_scan > 0 else end].replace(ZEROS, b"")
    return len(rest) > FEW and len(zlib.compress(rest, 1)) > 0.9 * len(rest)


def _end(data: bytes, scan: int) -> int:
    """Where the end marker behind a scan begins, or the end of the file; within compressed pixels no such bytes occur."""
    end = data.find(END, scan)
    return end if end >= 0 else len(data)


def _scan(data: bytes, at: int) -> tuple[tuple[int, ...], int, int, int]:
    """Of the header of a scan: its components, the first and last coefficient, and the bits that are left to later scans."""
    count = min(data[at + 4], 4) if at + 4 < len(data) else 0
    rest = data[at + 5 + 2 * count : at + 8 + 2 * count].ljust(3, b"\0")
    return tuple(data[at + 5 : at + 5 + 2 * count : 2]), rest[0], min(rest[1], 63), rest[2] & 15


def _first_symbol(data: bytes, scan: int) -> int | None:
    """The symbol with the shortest code of the AC coefficients of a scan's first component; None where its table is not there."""
    table, symbol = 0x10 | (data[scan + 6] & 15), None
    for marker, at, end in _segments(data):
        while marker == TABLES and at + 17 < min(end, len(data)):
            if data[at] == table:
                symbol = data[at + 17]
            at += 17 + sum(data[at + 1 : at + 17])
    return symbol
