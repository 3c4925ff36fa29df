"""Metadata is cut out of a JPEG, and its pixels stay what they were, bit for bit."""

import io
import itertools
import struct

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.images import photograph
from mals.dataset.xmp import with_xmp
from mals.images import decode_image
from mals.jpeg_metadata import segments, without_metadata
from mals.origin import SOURCE_TYPES

SECRETS = [
    b"SERIAL-4711",
    b"48.8583",
    b"Canon",
    b"ns.adobe",
    b"secret comment",
    b"8BIM",
    b"Exif",
    b"MPF",
    b"ICC_PROFILE",
    b"ftypmp42",
    b"JFXX",
]


def saved(pixels=None, mode="RGB", **options):
    sink = io.BytesIO()
    Image.fromarray(photograph(3, 96, 64) if pixels is None else pixels).convert(mode).save(sink, "JPEG", **{"quality": 90} | options)
    return sink.getvalue()


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def exif():
    """EXIF with a camera, a serial number, a place and a thumbnail that is a JPEG itself."""
    tags = Image.Exif()
    tags[0x010F], tags[0xA431] = "Canon", "SERIAL-4711"
    tags.get_ifd(0x8825)[0x001D] = "48.8583"
    return tags.tobytes() + saved(photograph(9, 16, 16))


def with_everything(jpeg):
    """A JPEG with all that people would not publish, before its tables, between its tables, and behind its end."""
    thumbnail = photograph(5, 8, 8).tobytes()
    jfif = segment(0xE0, b"JFIF\0\1\2\1\0\x48\0\x48" + bytes([8, 8]) + thumbnail)
    front = [
        jfif,
        segment(0xE0, b"JFXX\0\x10" + saved(photograph(9, 16, 16))),
        segment(0xE1, exif()),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>48.8583</x:xmpmeta>"),
        segment(0xE2, b"MPF\0II*\0" + bytes(60)),
        segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(200)),
        segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4SERIAL-4711"),
        segment(0xFE, b"secret comment"),
    ]
    rest = jpeg[2:]
    if rest[:2] == b"\xff\xe0":
        rest = rest[2 + int.from_bytes(rest[2:4]) :]
    else:  # JFIF would say YCbCr of an image in RGB
        front.remove(jfif)
    second_image, video = saved(photograph(11, 32, 32), comment=b"secret comment"), b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 8
    return jpeg[:2] + b"".join(front) + rest + second_image + video


KINDS = {
    "plain": saved(),
    "4:2:0": saved(subsampling=2),
    "grey": saved(mode="L"),
    "progressive": saved(progressive=True),
    "optimized": saved(optimize=True),
    "restart markers": saved(restart_marker_blocks=1),
    "progressive with restart markers": saved(progressive=True, restart_marker_rows=1),
    "RGB, said by Adobe's marker": saved(keep_rgb=True),
    "CMYK": saved(mode="CMYK"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_pixels_are_the_same_and_no_metadata_is_left(kind):
    whole = with_everything(KINDS[kind])
    assert all(secret in whole for secret in SECRETS)
    cut = without_metadata(whole)
    assert not [secret for secret in SECRETS if secret in cut]
    assert len(cut) <= len(KINDS[kind])
    with Image.open(io.BytesIO(KINDS[kind])) as before, Image.open(io.BytesIO(cut)) as after:
        assert (after.mode, after.size) == (before.mode, before.size)
        assert {"exif", "comment", "icc_profile", "xmp", "photoshop", "mp"}.isdisjoint(after.info)
        assert np.array_equal(np.asarray(before), np.asarray(after))
    if kind != "CMYK":
        assert np.array_equal(simplejpeg.decode_jpeg(KINDS[kind]), simplejpeg.decode_jpeg(cut, strict=True))
    assert without_metadata(cut) == cut
    assert cut.endswith(b"\xff\xd9")


@pytest.mark.parametrize("kind", KINDS)
def test_the_compressed_pixels_are_not_touched(kind):
    scans = [part for marker, part in segments(KINDS[kind]) if marker == 0xDA]
    assert scans == [part for marker, part in segments(without_metadata(with_everything(KINDS[kind]))) if marker == 0xDA]
    assert all(scan in KINDS[kind] for scan in scans)


def test_metadata_between_the_scans_of_a_progressive_image_and_fill_bytes_are_cut_too():
    jpeg = KINDS["progressive"]
    at = [start for start in range(len(jpeg) - 1) if jpeg[start : start + 2] == b"\xff\xda"][2]
    hidden = jpeg[:at] + b"\xff\xff\xff" + segment(0xFE, b"secret comment")[1:] + b"\xff\xff" + jpeg[at:]
    cut = without_metadata(hidden)
    assert b"secret" not in cut
    assert np.array_equal(decode_image(cut), decode_image(jpeg))


def test_what_remains_of_a_jfif_header_is_its_density_and_takes_an_xmp_mark():
    cut = without_metadata(with_everything(KINDS["plain"]))
    assert cut[:20] == b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\2\1\0\x48\0\x48\0\0"
    assert np.array_equal(decode_image(with_xmp(cut, SOURCE_TYPES["generated"])), decode_image(KINDS["plain"]))


def test_an_end_marker_that_is_missing_is_added():
    assert without_metadata(KINDS["plain"][:-2]) == without_metadata(KINDS["plain"])


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"GIF89a", b"\xff\xd8\xff\xe1\xff\xff", b"\xff\xd8\xff\xdb\0\1", b"\xff\xd8\xff\x00\x00"]
)
def test_what_is_no_whole_jpeg_raises_value_error(data):
    with pytest.raises(ValueError, match="JPEG"):
        without_metadata(data)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_no_damage_makes_it_raise_anything_else_or_take_long(data):
    jpeg = bytearray(with_everything(KINDS[data.draw(st.sampled_from(sorted(KINDS)))]))
    for _ in range(data.draw(st.integers(1, 8))):
        jpeg[data.draw(st.integers(2, len(jpeg) - 1))] = data.draw(st.integers(0, 255))
    try:
        cut = without_metadata(bytes(jpeg[: data.draw(st.integers(2, len(jpeg)))]))
    except ValueError:
        return
    assert (cut[:2], cut[-2:]) == (b"\xff\xd8", b"\xff\xd9")


def test_every_pair_of_bytes_around_an_end_is_followed_to_it():
    for first, second in itertools.product((0x00, 0x01, 0xC0, 0xD0, 0xD7, 0xDA, 0xFF), repeat=2):
        tail = bytes([0xFF, first, 0xFF, second])
        try:
            assert without_metadata(KINDS["plain"][:-2] + tail + b"\xff\xd9").startswith(KINDS["plain"][:2])
        except ValueError as error:
            assert "JPEG" in str(error)
