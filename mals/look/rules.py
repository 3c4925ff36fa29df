"""The thresholds of a run's stages: the number that each compares, and the settings that hold it."""

from dataclasses import dataclass
from typing import Any

from mals.config import Config
from mals.look.query import quoted_name
from mals.stages.filter import RULES


@dataclass(frozen=True)
class Threshold:
    """A rule of a stage that refuses rows whose number is under `least` or over `greatest`."""

    reason: str
    stage: str
    columns: tuple[str, ...]  # that the number is computed from
    sql: str  # the number
    title: str
    least: str | None = None  # the setting of the least number
    greatest: str | None = None

    def limits(self, config: Config) -> tuple[float | None, float | None]:
        """The least and the greatest number that the settings allow; None where they set none."""
        least, greatest = (None if name is None else _value(config, name) for name in (self.least, self.greatest))
        return least, greatest


def _of_column(reason: str, stage: str, column: str, title: str, least: str | None = None, greatest: str | None = None) -> Threshold:
    return Threshold(reason, stage, (column,), quoted_name(column), title, least, greatest)


TITLES = {
    "small_file": "Bytes as JPEG at the reference quality",
    "low_bits": "Bits a pixel at the reference quality",
    "grey": "Variance of the channels' differences",
    "blurred": "Sharpness: variance of the Laplacian",
    "dark": "Mean luma",
    "overexposed": "Share of overexposed pixels",
    "odd_width": "Width of the image in pixels",
    "odd_height": "Height of the image in pixels",
    "odd_aspect": "Height / width of the image",
}


def _filter_thresholds() -> list[Threshold]:
    """The rules of the stage filter."""
    thresholds = []
    for reason, rule in RULES.items():
        is_column = rule.measure != "aspect"
        columns = (rule.measure,) if is_column else ("width", "height")
        sql = quoted_name(rule.measure) if is_column else "(height / nullif(width, 0))::DOUBLE"
        least, greatest = (f"filter.{name}" if name else None for name in (rule.least, rule.greatest))
        thresholds.append(Threshold(reason, "filter", columns, sql, TITLES[reason], least, greatest))
    return thresholds


SIDES = ("crop_width", "crop_height")
THRESHOLDS = [
    _of_column("unsafe", "safety", "nsfw_score", "Score of the safety checker", greatest="safety.threshold"),
    *_filter_thresholds(),
    _of_column("several_persons", "crop", "persons", "Persons in the image", greatest="crop.persons"),
    _of_column("several_heads", "crop", "heads", "Heads in the image", greatest="crop.max_heads"),
    _of_column("low_confidence", "crop", "person_score", "Score of the person", least="crop.min_person_score"),
    _of_column("cut", "crop", "cut_keypoints", "Keypoints at the border of the image", greatest="crop.max_cut"),
    Threshold("small_crop", "crop", SIDES, "least(crop_width, crop_height)", "Shorter side of the crop in pixels", least="crop.min_side"),
    Threshold(
        "bad_aspect",
        "crop",
        SIDES,
        "(crop_height / nullif(crop_width, 0))::DOUBLE",
        "Height / width of the crop",
        "crop.min_aspect",
        "crop.max_aspect",
    ),
    _of_column("watermark", "quality", "watermark_score", "Score of watermarks", greatest="quality.watermark.threshold"),
    _of_column("unaesthetic", "quality", "aesthetic_score", "Score of beauty", least="quality.aesthetic.threshold"),
    _of_column("other_person", "identity", "identity_agreement", "Labels shared with the person's images", least="identity.min_agreement"),
    _of_column("other_person", "identity", "identity_similarity", "Cosine to the person's first image", least="identity.min_similarity"),
    _of_column("low_agreement", "agree", "agree_score", "Cosine of image and caption", least="agree.min_score"),
    _of_column("low_rank", "agree", "agree_rank", "Rank of the caption among others", greatest="agree.best_rank"),
    _of_column("other_attributes", "agree", "agreement_wanted", "Share of requested attributes", least="agree.min_wanted"),
]


def name_of(threshold: Threshold) -> str:
    """The name of a threshold in addresses of pages."""
    return f"{threshold.stage}.{threshold.columns[0]}" if len(threshold.columns) == 1 else f"{threshold.stage}.{threshold.reason}"


def _value(config: Config, path: str) -> float | None:
    """The value of a setting; None where it, or its section, is none."""
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name, None)
        if value is None:
            return None
    return float(value)
