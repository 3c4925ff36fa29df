"""Stage `filter`: the measures of every image (mals/stages/measures.py), and the rules that refuse by them.

Rules compare the measures as they are stored, in 32 bits. An image that lost pixels (mals/images.py) is refused as `damaged_image`; it has
no measures.
"""

from typing import Any

import pyarrow as pa

from mals.config import Config
from mals.config import Filter as Settings
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
    ]
)
RULES = {  # reason -> the measure, and the setting that is its least value; in the order of the reasons
    "small_file": ("ref_bytes", "min_bytes"),
    "low_bits": ("bits_per_pixel", "min_bits_per_pixel"),
    "grey": ("channel_variance", "min_channel_variance"),
    "blurred": ("sharpness", "min_sharpness"),
}


def stage(config: Config) -> Stage:
    """The stage with the settings of `config`; loads nothing."""
    return Filter(config.filter)


class Filter:
    """Measures images and refuses by RULES."""

    name = "filter"
    version = 2
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
    for reason, (measure_name, setting) in RULES.items():
        least = getattr(settings, setting)
        if least is not None and measures[measure_name] < least:
            reasons.append(reason)
    return reasons
