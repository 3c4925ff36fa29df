from io import BytesIO

import imagehash
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.pictures import encoded, photograph
from mals import settings
from mals.config import Filter as Settings
from mals.stages.filter import ADDS, Filter, by_libraries, channel_variance, measure, perceptual_hash, refusals, stage

OFF = Settings(min_bytes=None, min_channel_variance=None)


def filtered(images, chosen=OFF):
    made = Filter(chosen)
    made.setup()
    return made(pa.record_batch({"image": pa.array(images, pa.binary())})).to_pylist()


def pillow_size(pixels, quality=75):
    return len(encoded(pixels, quality=quality, subsampling=2))


@pytest.mark.parametrize("seed", range(4))
def test_ref_bytes_is_what_pillow_writes_at_the_reference_quality(seed):
    image = encoded(photograph(seed, 256, 192))
    pixels = np.asarray(Image.open(BytesIO(image)))
    for quality in (75, 90):
        found = measure(image, OFF.model_copy(update={"reference_quality": quality}))
        assert found["ref_bytes"] == pillow_size(pixels, quality)
        assert found["bits_per_pixel"] == pytest.approx(8 * pillow_size(pixels, quality) / (256 * 192))


def test_ref_bytes_does_not_depend_on_the_encoding_of_the_file():
    pixels = photograph(1, 128, 128)
    assert len({measure(encoded(pixels, kind), OFF)["ref_bytes"] for kind in ("PNG", "BMP", "TIFF")}) == 1


def by_definition(pixels):
    r, g, b = (pixels[..., c].astype(np.float64) for c in range(3))
    return float(np.mean([np.var(r - g), np.var(g - b), np.var(b - r)]))


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40))
def test_channel_variance_is_its_definition_to_the_last_digits(seed, height, width):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    found = by_libraries(encoded(pixels, "PNG"), 75)
    assert channel_variance(found) == pytest.approx(by_definition(pixels), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("colour", [(0, 0, 0), (50, 0, 0), (255, 255, 255)])
def test_one_colour_has_no_channel_variance_and_no_sharpness(colour):
    found = measure(encoded(np.full((64, 64, 3), colour, np.uint8)), OFF)
    assert (found["channel_variance"], found["sharpness"]) == (0, 0)


def test_a_grey_picture_has_no_channel_variance_however_it_is_stored():
    grey = photograph(2, 64, 64)[..., 0]
    for image in (encoded(grey), encoded(grey, "PNG"), encoded(np.stack([grey] * 3, -1), "PNG")):
        assert measure(image, OFF)["channel_variance"] == pytest.approx(0, abs=0.5)


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_the_hash_is_imagehashs(seed):
    small = np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8)
    assert perceptual_hash(small) == int(str(imagehash.phash(Image.fromarray(small))), 16)


def test_near_pictures_have_near_hashes_and_others_have_not():
    pixels = photograph(3, 128, 128)
    near = measure(encoded(pixels, quality=60), OFF)["phash"] ^ measure(encoded(pixels), OFF)["phash"]
    far = measure(encoded(photograph(4, 128, 128)), OFF)["phash"] ^ measure(encoded(pixels), OFF)["phash"]
    assert near.bit_count() <= 4 < 16 < far.bit_count()


def test_blurring_lowers_sharpness_and_size():
    pixels = photograph(5, 256, 256)
    blurred = np.asarray(Image.fromarray(pixels).resize((32, 32)).resize((256, 256)))
    sharp, soft = measure(encoded(pixels), OFF), measure(encoded(blurred), OFF)
    assert soft["sharpness"] < sharp["sharpness"] / 4
    assert soft["ref_bytes"] < sharp["ref_bytes"] * 0.6


def test_sharpness_is_measured_at_one_scale_and_small_pictures_are_not_enlarged():
    small = photograph(6, 200, 100)
    assert measure(encoded(small, "PNG"), OFF) == measure(encoded(small, "PNG"), OFF.model_copy(update={"sharpness_side": 999}))
    large = np.asarray(Image.fromarray(photograph(7, 256, 256)).resize((1024, 1024), Image.Resampling.NEAREST))
    assert measure(encoded(large, "PNG"), OFF)["sharpness"] == measure(encoded(photograph(7, 256, 256), "PNG"), OFF)["sharpness"]


def test_rules_see_the_numbers_as_they_are_stored():
    (row,) = filtered([encoded(photograph(11, 64, 64))])
    for name in ("bits_per_pixel", "channel_variance", "sharpness"):
        rule = f"min_{name}"
        assert filtered([encoded(photograph(11, 64, 64))], OFF.model_copy(update={rule: row[name]}))[0]["reject"] == []


RULES = [
    ("small_file", {"min_bytes": 24_000}, {"ref_bytes": 23_999}, {"ref_bytes": 24_000}),
    ("low_bits", {"min_bits_per_pixel": 0.732}, {"bits_per_pixel": 0.731}, {"bits_per_pixel": 0.733}),
    ("grey", {"min_channel_variance": 5.0}, {"channel_variance": 4.9}, {"channel_variance": 5.0}),
    ("blurred", {"min_sharpness": 50.0}, {"sharpness": 49.0}, {"sharpness": 51.0}),
]
FINE = {"ref_bytes": 10**6, "bits_per_pixel": 9.0, "channel_variance": 999.0, "sharpness": 999.0, "phash": 0}


@pytest.mark.parametrize(("reason", "rule", "bad", "good"), RULES)
def test_each_rule_refuses_below_its_threshold_and_not_at_it(reason, rule, bad, good):
    chosen = OFF.model_copy(update=rule)
    assert refusals(FINE | bad, chosen) == [reason]
    assert refusals(FINE | good, chosen) == []
    assert refusals(FINE | bad, OFF) == []


def test_every_rule_that_fires_is_listed_in_order():
    chosen = OFF.model_copy(update={key: value for _, rule, _, _ in RULES for key, value in rule.items()})
    assert refusals(dict.fromkeys(FINE, 0), chosen) == ["small_file", "low_bits", "grey", "blurred"]


def test_the_papers_rule_in_bytes_is_its_rule_in_bits_at_512_squared():
    assert pytest.approx(0.732, abs=5e-4) == 8 * 24_000 / 512**2


def test_a_blank_picture_is_refused_and_a_good_one_kept():
    good, blank = encoded(photograph(8)), encoded(np.full((512, 512, 3), 90, np.uint8))
    rows = filtered([good, blank], Settings(min_bytes=24_000, min_channel_variance=50.0))
    assert rows[0]["reject"] == []
    assert rows[1]["reject"] == ["small_file", "grey"]
    assert all(row["error"] is None for row in rows)


def test_a_picture_that_cannot_be_read_is_a_row_error_and_its_neighbours_are_not():
    good = encoded(photograph(9, 64, 64))
    rows = filtered([good, good[: len(good) // 2], b"", b"rubbish", good])
    assert [bool(row["error"]) for row in rows] == [False, True, True, True, False]
    assert rows[0] == rows[4]
    assert rows[1]["ref_bytes"] is None


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA", "CMYK", "I;16"])
def test_pictures_of_every_kind_are_measured(mode):
    image = Image.fromarray(photograph(10, 64, 48))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    sink = BytesIO()
    image.convert(mode).save(sink, "JPEG" if mode == "CMYK" else "PNG") if mode != "I;16" else image.save(sink, "PNG")
    (row,) = filtered([sink.getvalue()])
    assert row["error"] is None
    assert row["ref_bytes"] > 500


def test_every_setting_but_the_batch_is_in_the_fingerprint():
    made = stage(settings.check({}))
    assert set(made.params()) == set(Settings.model_fields) - {"batch"}


def test_the_results_of_version_1():
    """Raise Filter.version when this must change."""
    assert Filter.version == 1
    ramp = (np.add.outer(np.arange(64) * 2, np.arange(48) * 3)[..., None] * np.array([1, 0.5, 0.8])).astype(np.uint8)
    found = measure(encoded(ramp, "PNG"), OFF)
    assert found["ref_bytes"] == pytest.approx(GOLDEN["ref_bytes"], abs=8)
    assert found["channel_variance"] == pytest.approx(GOLDEN["channel_variance"], rel=1e-6)
    assert found["sharpness"] == pytest.approx(GOLDEN["sharpness"], rel=1e-6)
    assert found["phash"] == GOLDEN["phash"]
    assert list(found) == ADDS.names


GOLDEN = {"ref_bytes": 847, "channel_variance": 539.4386545110633, "sharpness": 78.5424495273166, "phash": 9307345220220442559}
