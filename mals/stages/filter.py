"""Stage `filter`: the measures of every image (mals/stages/measures.py), and the rules that refuse by them.

Rules compare the measures as they are stored, in 32 bits; width and height are stored by the first stage. An image that lost pixels
(mals/images.py) is refused as `damaged_image`; it has no measures.
"""

from typing import Any, NamedTuple

import pyarrow as pa

from mals.config import Config
from mals.config import Filter as Settings
from mals.errors import UserError
from mals.grid.stage import Resources, Stage, output_batch
from mals.images import Decoder
from mals.stages.measures import measure
from mals.stages.row_images import read_images

ADDS = pa.schema(
    [
        ("ref_bytes", pa.int32()),
        ("bits_per_pixel", pa.float32()),
        ("channel_variance", pa.float32()),
        ("sharpness", pa.float32()),
        ("phash", pa.uint64()),
        ("luminance", pa.float32()),
        ("overexposure", pa.float32()),
    ]
)


class Rule(NamedTuple):
    """A measure, and the settings that are its least and its greatest value; None where there is no such setting."""

    measure: str
    least: str | None = None
    greatest: str | None = None

    def limits(self, settings: Settings) -> tuple[float | None, float | None]:
        """The least and the greatest value that the settings allow; None where they set none."""
        least, greatest = (None if name is None else getattr(settings, name) for name in (self.least, self.greatest))
        return least, greatest


RULES = {  # reason -> rule, in the order of the reasons
    "small_file": Rule("ref_bytes", "min_bytes"),
    "low_bits": Rule("bits_per_pixel", "min_bits_per_pixel"),
    "grey": Rule("channel_variance", "min_channel_variance"),
    "blurred": Rule("sharpness", "min_sharpness"),
    "dark": Rule("luminance", "min_luminance"),
    "overexposed": Rule("overexposure", greatest="max_overexposure"),
    "odd_width": Rule("width", "min_width", "max_width"),
    "odd_height": Rule("height", "min_height", "max_height"),
    "odd_aspect": Rule("aspect", "min_aspect", "max_aspect"),
}


def stage(config: Config) -> Stage:
    """The stage with the settings of `config`; loads nothing."""
    for rule in RULES.values():
        least, greatest = rule.limits(config.filter)
        if least is not None and greatest is not None and least > greatest:
            raise UserError(f"filter.{rule.least} = {least:g} is over filter.{rule.greatest} = {greatest:g}: no image could pass")
    return Filter(config.filter)


class Filter:
    """Measures images and refuses by RULES."""

    name = "filter"
    version = 3
    needs: tuple[str, ...] = ("image",)
    adds = ADDS
    resources = Resources(cpus=1)

    def __init__(self, settings: Settings):
        self.settings = settings
        self.batch = settings.batch
        self.decode = Decoder()

    def params(self) -> dict[str, Any]:
        return self.settings.model_dump(mode="json", exclude={"batch"})

    def setup(self) -> None:
        import cv2  # noqa: F401 - loaded here, so that the threads of all libraries are set before work begins

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows: list[dict[str, Any]] = []
        reasons: list[list[str] | None] = []
        errors: list[str | None] = []
        for image in batch["image"]:
            images = read_images([image.as_py()], self.decode)
            (pixels,) = images.pixels
            rows.append(measure(pixels, self.settings) if pixels is not None else dict.fromkeys(ADDS.names))
            reasons.append(refusals(rows[-1], self.settings) if pixels is not None else images.reject[0])
            errors += images.errors
        return output_batch(ADDS, {name: [row[name] for row in rows] for name in ADDS.names}, reasons, errors)


def refusals(measures: dict[str, Any], settings: Settings) -> list[str]:
    """Every rule that refuses an image with these measures, in the order of RULES."""
    reasons = []
    for reason, rule in RULES.items():
        least, greatest = rule.limits(settings)
        value = measures[rule.measure]
        if (least is not None and value < least) or (greatest is not None and value > greatest):
            reasons.append(reason)
    return reasons
