"""Stage `quality`: scores of each crop by the models of the settings, and their thresholds; a run without such a model has no such stage.

    watermark   `quality.watermark`, text or a watermark in the crop: a score over its threshold refuses
    unaesthetic `quality.aesthetic`: a score under its threshold refuses

A score without a threshold is stored and refuses nothing.
"""

from typing import Any

import pyarrow as pa

from mals import models
from mals.config import Config
from mals.config import Quality as Settings
from mals.grid.stage import Resources, output_batch
from mals.stages.image_scores import Score, load_scorer
from mals.stages.row_images import read_images

REASONS = {"watermark": "watermark", "aesthetic": "unaesthetic"}  # setting -> why a crop is refused


class Quality:
    """The scores that the settings name a model for, and the rules that refuse by them."""

    name = "quality"
    version = 1
    needs = ("crop",)
    resources = Resources(gpus=1)

    def __init__(self, settings: Settings):
        self.scorers = settings.scorers()
        self.batch = settings.batch
        self.adds = pa.schema([(f"{name}_score", pa.float32()) for name in self.scorers])
        self._scores: dict[str, Score] = {}

    def params(self) -> dict[str, Any]:
        params = {}
        for name, scorer in self.scorers.items():
            model = models.resolve(scorer.model, scorer.revision, name)
            params[name] = scorer.model_dump(mode="json") | {"model": model.name, "revision": model.revision}
        return params

    def setup(self) -> None:
        for name, scorer in self.scorers.items():
            model = models.resolve(scorer.model, scorer.revision, name)
            self._scores[name] = load_scorer(model, f"quality.{name}", scorer.label)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        images = read_images(batch["crop"].to_pylist())
        scores = {name: images.apply(score) for name, score in self._scores.items()}
        rows = [dict(zip(scores, values, strict=True)) for values in zip(*scores.values(), strict=True)]
        reject = [damage or self._refusals(row) for row, damage in zip(rows, images.reject, strict=True)]
        return output_batch(self.adds, {f"{name}_score": column for name, column in scores.items()}, reject, images.errors)

    def _refusals(self, scores: dict[str, float | None]) -> list[str]:
        """The reasons to refuse a crop with these scores: a watermark over its threshold, beauty under its own."""
        reasons = []
        for name, score in scores.items():
            threshold = self.scorers[name].threshold
            if score is not None and threshold is not None and (score > threshold if name == "watermark" else score < threshold):
                reasons.append(REASONS[name])
        return reasons


def stage(config: Config) -> Quality:
    """The stage with the settings of `config`; loads nothing."""
    return Quality(config.quality)
