from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from benchmarks.images import encoded, photograph
from mals import settings
from mals.config import Filter as Settings
from mals.errors import UserError
from mals.stages.filter import Filter, refusals, stage

OFF = Settings(min_bytes=None, min_channel_variance=None)


def filtered(images, chosen=OFF):
    filter_stage = Filter(chosen)
    filter_stage.setup()
    return filter_stage(pa.record_batch({"image": pa.array(images, pa.binary())})).to_pylist()


def test_rules_compare_the_measures_as_they_are_stored():
    (row,) = filtered([encoded(photograph(11, 64, 64))])
    for name in ("bits_per_pixel", "channel_variance", "sharpness"):
        rule = f"min_{name}"
        assert filtered([encoded(photograph(11, 64, 64))], OFF.model_copy(update={rule: row[name]}))[0]["reject"] == []


RULES = [
    ("small_file", {"min_bytes": 24_000}, {"ref_bytes": 23_999}, {"ref_bytes": 24_000}),
    ("low_bits", {"min_bits_per_pixel": 0.732}, {"bits_per_pixel": 0.731}, {"bits_per_pixel": 0.733}),
    ("grey", {"min_channel_variance": 5.0}, {"channel_variance": 4.9}, {"channel_variance": 5.0}),
    ("blurred", {"min_sharpness": 50.0}, {"sharpness": 49.0}, {"sharpness": 51.0}),
    ("dark", {"min_luminance": 40.0}, {"luminance": 39.9}, {"luminance": 40.0}),
    ("overexposed", {"max_overexposure": 0.25}, {"overexposure": 0.26}, {"overexposure": 0.25}),
    ("odd_width", {"min_width": 90}, {"width": 89}, {"width": 90}),
    ("odd_width", {"max_width": 900}, {"width": 901}, {"width": 900}),
    ("odd_height", {"min_height": 90}, {"height": 89}, {"height": 90}),
    ("odd_height", {"max_height": 900}, {"height": 901}, {"height": 900}),
    ("odd_aspect", {"min_aspect": 2.0}, {"aspect": 1.99}, {"aspect": 2.0}),
    ("odd_aspect", {"max_aspect": 4.0}, {"aspect": 4.01}, {"aspect": 4.0}),
]
FINE = {"ref_bytes": 10**6, "bits_per_pixel": 9.0, "channel_variance": 999.0, "sharpness": 999.0, "phash": 0}
FINE |= {"luminance": 128.0, "overexposure": 0.0, "width": 300, "height": 800, "aspect": 8 / 3}


@pytest.mark.parametrize(("reason", "rule", "bad", "good"), RULES)
def test_each_rule_refuses_beyond_its_threshold_and_not_at_it(reason, rule, bad, good):
    chosen = OFF.model_copy(update=rule)
    assert refusals(FINE | bad, chosen) == [reason]
    assert refusals(FINE | good, chosen) == []
    assert refusals(FINE | bad, OFF) == []


def test_every_rule_that_fires_is_listed_in_order():
    chosen = OFF.model_copy(update={key: value for _, rule, _, _ in RULES for key, value in rule.items()})
    worst = dict.fromkeys(FINE, 0) | {"overexposure": 1.0}
    every = ["small_file", "low_bits", "grey", "blurred", "dark", "overexposed", "odd_width", "odd_height", "odd_aspect"]
    assert refusals(worst, chosen) == every


def test_the_rules_for_light_and_size_are_off_unless_they_are_set():
    dark, white = encoded(np.zeros((64, 64, 3), np.uint8)), encoded(np.full((64, 2000, 3), 255, np.uint8))
    assert [row["reject"] for row in filtered([dark, white])] == [[], []]
    chosen = OFF.model_copy(update={"min_luminance": 20.0, "max_overexposure": 0.5, "max_width": 1999, "min_aspect": 0.1})
    assert [row["reject"] for row in filtered([dark, white], chosen)] == [["dark"], ["overexposed", "odd_width", "odd_aspect"]]


def test_limits_that_no_image_can_meet_are_refused_with_both_settings():
    with pytest.raises(UserError, match=r"filter.min_width = 90 is over filter.max_width = 80: no image could pass"):
        stage(settings.check({"filter": {"min_width": 90, "max_width": 80}}))


def test_the_papers_rule_in_bytes_is_its_rule_in_bits_at_512_squared():
    assert pytest.approx(0.732, abs=5e-4) == 8 * 24_000 / 512**2


def test_a_blank_image_is_refused_and_a_good_one_kept():
    good, blank = encoded(photograph(8)), encoded(np.full((512, 512, 3), 90, np.uint8))
    rows = filtered([good, blank], Settings(min_bytes=24_000, min_channel_variance=50.0))
    assert rows[0]["reject"] == []
    assert rows[1]["reject"] == ["small_file", "grey"]
    assert all(row["error"] is None for row in rows)


def test_a_image_that_cannot_be_read_is_a_row_error_and_its_neighbours_are_not():
    good = encoded(photograph(9, 64, 64))
    rows = filtered([good, b"", b"rubbish", good])
    assert [bool(row["error"]) for row in rows] == [False, True, True, False]
    assert rows[0] == rows[3]
    assert rows[1]["ref_bytes"] is None


def test_an_image_that_lost_pixels_is_refused_for_that_reason():
    good = encoded(photograph(9, 64, 64))
    half = good[: len(good) // 2]
    rows = filtered([half, half + b"\xff\xd9", good[:700] + bytes(400) + good[1100:], good])
    assert [row["reject"] for row in rows] == [*[["damaged_image"]] * 3, []]
    assert [row["error"] for row in rows] == [None] * 4 and rows[0]["ref_bytes"] is None


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA", "CMYK", "I;16"])
def test_images_of_every_kind_are_measured(mode):
    image = Image.fromarray(photograph(10, 64, 48))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    sink = BytesIO()
    image.convert(mode).save(sink, "JPEG" if mode == "CMYK" else "PNG") if mode != "I;16" else image.save(sink, "PNG")
    (row,) = filtered([sink.getvalue()])
    assert row["error"] is None
    assert row["ref_bytes"] > 500


def test_every_setting_but_the_batch_is_in_the_fingerprint():
    filter_stage = stage(settings.check({}))
    assert set(filter_stage.params()) == set(Settings.model_fields) - {"batch"}
