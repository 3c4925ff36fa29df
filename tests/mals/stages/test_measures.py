from io import BytesIO

import hypothesis
import imagehash
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from benchmarks.images import encoded, photograph
from mals.config import Filter as Settings
from mals.images import decode_image
from mals.stages.filter import ADDS, Filter
from mals.stages.measures import channel_variance, luma, measure, perceptual_hash, reference_bytes

OFF = Settings(min_bytes=None, min_channel_variance=None)


def pillow_size(pixels, quality=75):
    return len(encoded(pixels, quality=quality, subsampling=2))


def pattern(kind, height, width, seed):
    random = np.random.default_rng(seed)
    if kind == "noise":
        return random.integers(0, 256, (height, width, 3), np.uint8)
    if kind == "extremes":
        return random.integers(0, 2, (height, width, 3), np.uint8) * 255
    if kind == "one colour":
        return np.full((height, width, 3), random.integers(0, 256, 3), np.uint8)
    if kind == "chequers":
        return np.repeat((np.indices((height, width)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, 2)
    if kind == "clipped":
        return np.clip(photograph(seed, height, width).astype(int) * 3 - 250, 0, 255).astype(np.uint8)
    return photograph(seed, height, width)


KINDS = ["photograph", "noise", "extremes", "one colour", "chequers", "clipped"]
ENCODINGS = {
    "progressive": lambda: encoded(photograph(3, 64, 64), progressive=True),
    "optimized tables": lambda: encoded(photograph(1, 64, 64), optimize=True),
    "4:2:0": lambda: encoded(photograph(3, 64, 64), subsampling=2),
    "grey": lambda: encoded(photograph(3, 64, 64)[..., 0]),
    "odd sides": lambda: encoded(photograph(3, 60, 63)),
    "restarts": lambda: encoded(photograph(3, 64, 64), restart_marker_rows=1),
    "RGB inside": lambda: encoded(photograph(3, 64, 64), keep_rgb=True),
    "PNG": lambda: encoded(photograph(3, 64, 64), "PNG"),
}


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(st.sampled_from(KINDS), st.integers(2, 300), st.integers(2, 300), st.integers(0, 999), st.integers(1, 100))
def test_size_and_luma_are_what_pillow_gives(kind, height, width, seed, quality):
    pixels = pattern(kind, height, width, seed)
    assert reference_bytes(np.ascontiguousarray(pixels[..., ::-1]), quality) == pillow_size(pixels, quality)
    rgbx = np.dstack([pixels, np.zeros((height, width), np.uint8)])
    assert np.array_equal(luma(rgbx), np.asarray(Image.fromarray(pixels).convert("L")))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_jpegs_of_every_kind_are_measured_by_their_pixels(encoding):
    image = ENCODINGS[encoding]()
    pixels = np.asarray(Image.open(BytesIO(image)).convert("RGB"))
    assert measure(decode_image(image), Settings())["ref_bytes"] == pillow_size(pixels)


@pytest.mark.parametrize("seed", range(4))
def test_ref_bytes_is_what_pillow_writes_at_the_reference_quality(seed):
    image = encoded(photograph(seed, 256, 192))
    pixels = np.asarray(Image.open(BytesIO(image)))
    for quality in (75, 90):
        measures = measure(decode_image(image), OFF.model_copy(update={"reference_quality": quality}))
        assert measures["ref_bytes"] == pillow_size(pixels, quality)
        assert measures["bits_per_pixel"] == pytest.approx(8 * pillow_size(pixels, quality) / (256 * 192))


def test_ref_bytes_does_not_depend_on_the_encoding_of_the_file():
    pixels = photograph(1, 128, 128)
    assert len({measure(decode_image(encoded(pixels, kind)), OFF)["ref_bytes"] for kind in ("PNG", "BMP", "TIFF")}) == 1


def by_definition(pixels):
    r, g, b = (pixels[..., c].astype(np.float64) for c in range(3))
    return float(np.mean([np.var(r - g), np.var(g - b), np.var(b - r)]))


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40))
def test_channel_variance_is_its_definition_to_the_last_digits(seed, height, width):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    assert channel_variance(bgr) == pytest.approx(by_definition(pixels), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("colour", [(0, 0, 0), (50, 0, 0), (255, 255, 255)])
def test_one_colour_has_no_channel_variance_and_no_sharpness(colour):
    measures = measure(np.full((64, 64, 3), colour, np.uint8), OFF)
    assert (measures["channel_variance"], measures["sharpness"]) == (0, 0)


def test_a_grey_image_has_no_channel_variance_however_it_is_stored():
    grey = photograph(2, 64, 64)[..., 0]
    for image in (encoded(grey), encoded(grey, "PNG"), encoded(np.stack([grey] * 3, -1), "PNG")):
        assert measure(decode_image(image), OFF)["channel_variance"] == pytest.approx(0, abs=0.5)


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(st.integers(0, 2**32))
def test_the_hash_is_imagehashs(seed):
    small = np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8)
    assert perceptual_hash(small) == int(str(imagehash.phash(Image.fromarray(small))), 16)


def test_near_images_have_near_hashes_and_others_have_not():
    pixels = photograph(3, 128, 128)
    near = measure(decode_image(encoded(pixels, quality=60)), OFF)["phash"] ^ measure(decode_image(encoded(pixels)), OFF)["phash"]
    far = measure(decode_image(encoded(photograph(4, 128, 128))), OFF)["phash"] ^ measure(decode_image(encoded(pixels)), OFF)["phash"]
    assert near.bit_count() <= 4 < 16 < far.bit_count()


def test_blurring_lowers_sharpness_and_size():
    pixels = photograph(5, 256, 256)
    blurred = np.asarray(Image.fromarray(pixels).resize((32, 32)).resize((256, 256)))
    sharp, soft = measure(decode_image(encoded(pixels)), OFF), measure(decode_image(encoded(blurred)), OFF)
    assert soft["sharpness"] < sharp["sharpness"] / 4
    assert soft["ref_bytes"] < sharp["ref_bytes"] * 0.6


def test_sharpness_is_measured_at_one_scale_and_small_images_are_not_enlarged():
    small = photograph(6, 200, 100)
    assert measure(small, OFF) == measure(small, OFF.model_copy(update={"sharpness_side": 999}))
    large = np.asarray(Image.fromarray(photograph(7, 256, 256)).resize((1024, 1024), Image.Resampling.NEAREST))
    assert measure(large, OFF)["sharpness"] == measure(photograph(7, 256, 256), OFF)["sharpness"]


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(st.sampled_from(KINDS), st.integers(2, 200), st.integers(2, 200), st.integers(0, 999))
def test_light_and_size_are_their_definitions(kind, height, width, seed):
    pixels = pattern(kind, height, width, seed)
    grey = np.asarray(Image.fromarray(pixels).convert("L")).astype(np.float64)
    measures = measure(pixels, OFF)
    assert measures["luminance"] == np.float32(grey.sum() / grey.size)
    assert measures["overexposure"] == np.float32((grey >= 250).sum() / grey.size)
    assert (measures["width"], measures["height"], measures["aspect"]) == (width, height, height / width)


def test_light_hardly_depends_on_the_encoding_of_the_file():
    pixels = photograph(3, 128, 128)
    pixels[:64] = 255
    as_png, as_jpeg = (measure(decode_image(encoded(pixels, kind)), OFF) for kind in ("PNG", "JPEG"))
    assert as_jpeg["luminance"] == pytest.approx(as_png["luminance"], abs=0.5)
    assert as_jpeg["overexposure"] == pytest.approx(as_png["overexposure"], abs=0.02) and as_png["overexposure"] >= 0.5


def test_the_results_of_version_3():
    """Raise Filter.version when this must change."""
    assert Filter.version == 3
    ramp = (np.add.outer(np.arange(64) * 2, np.arange(48) * 3)[..., None] * np.array([1, 0.5, 0.8])).astype(np.uint8)
    measures = measure(ramp, OFF)
    assert measures["ref_bytes"] == pytest.approx(GOLDEN["ref_bytes"], abs=8)
    assert measures["channel_variance"] == pytest.approx(GOLDEN["channel_variance"], rel=1e-6)
    assert measures["sharpness"] == pytest.approx(GOLDEN["sharpness"], rel=1e-6)
    assert measures["phash"] == GOLDEN["phash"]
    assert measures["luminance"] == pytest.approx(GOLDEN["luminance"], rel=1e-6)
    assert measures["overexposure"] == GOLDEN["overexposure"]
    assert list(measures) == [*ADDS.names, "width", "height", "aspect"]


GOLDEN = {
    "ref_bytes": 847,
    "channel_variance": 539.4386545110633,
    "sharpness": 78.5424495273166,
    "phash": 9307345220220442559,
    "luminance": 90.69010162353516,
    "overexposure": 0,
}
