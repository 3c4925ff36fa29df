"""Image files of every kind, changed in up to four places: an array comes back, or BadImage."""

import pickle
from unittest.mock import patch

import numpy as np
from hypothesis import strategies as st

from mals.images import BadImage, Decoder, decode_image, image_size, is_plain_jpeg
from tests.images_of_every_kind import images

PIXELS = 2_000_000  # the limit here: a changed header may ask for as many as it likes
FILES = [data for data, _ in images().values() if data]
REASONS = {"not_an_image", "damaged_image", "oversized_image"}
decoder = Decoder()

places = st.one_of(st.integers(0, 700), st.integers(0, 60_000))  # the header, and anywhere
changes = st.one_of(
    st.tuples(st.just("cut"), places),
    st.tuples(st.just("put"), places, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("insert"), places, st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("delete"), places, st.integers(1, 400)),
    st.tuples(st.just("zero"), places, st.integers(1, 400)),
    st.tuples(st.just("bit"), places, st.integers(0, 7)),
    st.tuples(st.just("splice"), places, st.sampled_from(FILES)),
    st.tuples(st.just("append"), st.sampled_from((b"\xff\xd9", bytes(64), b"\xff", b"IEND", b"\0;"))),
)


def changed(file: bytes, change: tuple) -> bytes:
    """The file with one change; places beyond its end count from its beginning again."""
    kind, *rest = change
    if kind == "append":
        return file + rest[0]
    at, value = rest[0] % (len(file) + 1), rest[-1]
    if kind == "cut":
        return file[:at]
    if kind == "put":
        return file[:at] + value + file[at + len(value) :]
    if kind == "insert":
        return file[:at] + value + file[at:]
    if kind == "delete":
        return file[:at] + file[at + value :]
    if kind == "zero":
        return file[:at] + bytes(len(file[at : at + value])) + file[at + value :]
    if kind == "bit":
        return file[:at] + bytes(byte ^ 1 << value for byte in file[at : at + 1]) + file[at + 1 :]
    return file[:at] + value[at:]


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file of some kind with changes, or a few bytes that are no file of any kind."""
    file = draw(st.one_of(st.sampled_from(FILES), st.binary(max_size=64)))
    for change in draw(st.lists(changes, max_size=4)):
        file = changed(file, change)
    return file


EXAMPLES = files()


def check(file: bytes) -> None:
    """Nothing but an array or BadImage comes back, the same each time."""
    with patch("mals.images.MAX_PIXELS", PIXELS):
        try:
            pixels = decode_image(file)
        except BadImage as error:
            assert error.reason in REASONS and str(error) and "\n" not in str(error) and " at 0x" not in str(error), error
            again = pickle.loads(pickle.dumps(error))
            assert (again.reason, str(again)) == (error.reason, str(error))
            return
        height, width, channels = pixels.shape
        assert pixels.dtype == np.uint8 and channels == 3 and height and width and pixels.flags.writeable and pixels.flags.c_contiguous
        assert image_size(file) == (width, height)
        assert np.array_equal(decoder(file), pixels)
        assert is_plain_jpeg(file) in (True, False)
