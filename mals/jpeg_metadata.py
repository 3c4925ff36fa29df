"""A JPEG without its metadata: segments are cut out, and the compressed pixels stay byte by byte what they were.

Who publishes a photograph rarely means to publish where it was taken, by which camera, and what it showed before it was cut: EXIF with GPS
and a thumbnail, serial numbers in maker notes, XMP, IPTC, comments, colour profiles, the second images and videos that phones append. So
what decoding needs is kept, and nothing else. Markers as in ITU-T T.81, annex B.
"""

import re
from collections.abc import Iterator

SOI, EOI, SOS, JFIF, ADOBE = 0xD8, 0xD9, 0xDA, 0xE0, 0xEE
DECODING = {*range(0xC0, 0xC8), *range(0xC9, 0xD0), 0xDB, 0xDC, 0xDD}  # frames, entropy tables, quantization, number of lines, restarts
ALONE = {0x01, *range(0xD0, 0xD8)}  # TEM and restart markers, which have no length
# A marker within a scan: not a stuffed byte (FF 00), and not a restart marker, which belongs to the scan. FF may be repeated before it.
SCAN_END = re.compile(rb"\xff(?=\xff*[^\x00\xff\xd0-\xd7])")  # one byte, then a look ahead: so that re searches for the byte itself


def without_metadata(jpeg: bytes) -> bytes:
    """The JPEG with the same compressed pixels and no metadata.

    All APPn segments but JFIF (without thumbnail) and Adobe's, all comments, and every byte after the end of the image are cut.

    The orientation of EXIF and a colour profile go with it: turn and convert such an image instead. A missing end marker is added. Raises
    ValueError if the segments cannot be followed to the end of the image.
    """
    return b"".join([b"\xff\xd8", *(part for marker, part in segments(jpeg) if part), b"\xff\xd9"])


def segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, the bytes of it to keep) of each segment between the start and the end of the image; a scan goes with its header."""
    if jpeg[:2] != b"\xff\xd8":
        raise ValueError("not a JPEG")
    at = 2
    while True:
        marker, start = _next_marker(jpeg, at)
        if marker == EOI:
            return
        if marker in ALONE:
            at = start
            continue
        end = start + int.from_bytes(jpeg[start : start + 2], "big")
        if end < start + 2 or end > len(jpeg):
            raise ValueError(f"the JPEG segment {marker:02x} is longer than the file")
        body = jpeg[start:end]
        if marker == SOS:
            match = SCAN_END.search(jpeg, end)
            end = match.start() if match else len(jpeg)
            body = jpeg[start:end]
        yield marker, _kept(marker, body)
        if end == len(jpeg):  # only the end marker is missing
            return
        at = end


def _next_marker(jpeg: bytes, at: int) -> tuple[int, int]:
    """The next marker from `at` and the position behind it; bytes that are no marker are skipped, as libjpeg does."""
    while 0 <= (at := jpeg.find(b"\xff", at)) < len(jpeg):
        while at < len(jpeg) and jpeg[at] == 0xFF:
            at += 1
        if at < len(jpeg) and jpeg[at] != 0:
            return jpeg[at], at + 1
    raise ValueError("the JPEG has no end")


def _kept(marker: int, body: bytes) -> bytes:
    """What is kept of a segment, given as its length and content; empty if nothing is."""
    if marker in DECODING or marker == SOS:
        return bytes([0xFF, marker]) + body
    if marker == JFIF and body[2:7] == b"JFIF\0" and len(body) >= 16:
        return bytes([0xFF, marker, 0, 16]) + body[2:14] + b"\0\0"  # the last two bytes: the size of its thumbnail
    if marker == ADOBE and body[2:7] == b"Adobe" and len(body) >= 14:
        return bytes([0xFF, marker, 0, 14]) + body[2:14]  # the last byte says how the colours are stored
    return b""
