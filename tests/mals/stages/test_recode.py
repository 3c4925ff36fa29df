import platform
import shutil
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.pictures import encoded, photograph
from mals.config import Filter as Settings
from mals.stages.filter import by_libraries, measure
from mals.stages.recode import native, recode

here = pytest.mark.skipif(native() is None and not shutil.which("cc"), reason="no C compiler when the package was installed")
AVX2 = platform.machine() == "x86_64"


def pattern(kind, height, width, seed):
    random = np.random.default_rng(seed)
    if kind == "noise":
        return random.integers(0, 256, (height, width, 3), np.uint8)
    if kind == "extremes":
        return random.integers(0, 2, (height, width, 3), np.uint8) * 255
    if kind == "blocks":
        return (random.integers(0, 2, (height // 8, width // 8, 3), np.uint8) * 255).repeat(8, 0).repeat(8, 1)
    if kind == "one colour":
        return np.full((height, width, 3), random.integers(0, 256, 3), np.uint8)
    if kind == "chequers":
        return np.repeat((np.indices((height, width)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, 2)
    if kind == "clipped":
        return np.clip(photograph(seed, height, width).astype(int) * 3 - 250, 0, 255).astype(np.uint8)
    return photograph(seed, height, width)


KINDS = ["photograph", "noise", "extremes", "blocks", "one colour", "chequers", "clipped"]


def equal(fast, slow):
    return (fast.size, fast.pixels, fast.sums, fast.squares) == (slow.size, slow.pixels, slow.sums, slow.squares) and np.array_equal(
        fast.luma, slow.luma
    )


@here
@pytest.mark.skipif(not AVX2, reason="recode.c is written for x86-64")
def test_it_is_compiled_where_there_is_a_compiler():
    assert native() is not None


@here
@hypothesis_settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(KINDS),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 999),
    st.integers(1, 100),
    st.integers(1, 100),
)
def test_every_number_is_what_the_libraries_give(kind, rows, columns, seed, quality, reference_quality):
    image = encoded(pattern(kind, rows * 16, columns * 16, seed), quality=quality)
    fast = recode(image, reference_quality)
    assert fast is not None or not AVX2
    assert fast is None or equal(fast, by_libraries(image, reference_quality))


@here
def test_a_table_of_its_own_is_read_too():
    image = encoded(photograph(1, 64, 64), optimize=True)
    assert image != encoded(photograph(1, 64, 64))
    assert equal(recode(image, 75), by_libraries(image, 75)) or not AVX2


@here
def test_pictures_wider_than_the_first_are_measured_too():
    for width in (16, 2048, 512):
        image = encoded(photograph(2, 256, width))
        assert equal(recode(image, 75), by_libraries(image, 75)) or not AVX2


OTHERS = {
    "progressive": lambda: encoded(photograph(3, 64, 64), progressive=True),
    "4:2:0": lambda: encoded(photograph(3, 64, 64), subsampling=2),
    "grey": lambda: encoded(photograph(3, 64, 64)[..., 0]),
    "odd sides": lambda: encoded(photograph(3, 60, 64)),
    "restarts": lambda: encoded(photograph(3, 64, 64), restart_marker_rows=1),
    "RGB inside": lambda: encoded(photograph(3, 64, 64), keep_rgb=True),
    "PNG": lambda: encoded(photograph(3, 64, 64), "PNG"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_kinds_are_left_to_the_libraries(kind):
    image = OTHERS[kind]()
    assert recode(image, 75) is None
    pixels = np.asarray(Image.open(BytesIO(image)).convert("RGB"))
    assert measure(image, Settings())["ref_bytes"] == len(encoded(pixels, quality=75, subsampling=2))


@pytest.mark.parametrize("kept", [0, 1, 20, 300, 640, 0.5, -3, -2, -1])
def test_a_file_that_breaks_off_is_left_to_the_libraries(kept):
    image = encoded(photograph(4, 64, 64))
    assert recode(image[: int(len(image) * kept) if isinstance(kept, float) else kept], 75) is None


@hypothesis_settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_is_left_to_the_libraries_or_gives_what_they_give(damage):
    image = bytearray(encoded(photograph(5, 32, 48)))
    for at, byte in damage:
        image[at % len(image)] = byte
    fast = recode(bytes(image), 75)
    assert fast is None or equal(fast, by_libraries(bytes(image), 75))
