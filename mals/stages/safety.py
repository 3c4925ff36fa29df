"""Stage `safety`: a score of unsafe content for each generated image, and a threshold. Pixels are never changed.

Two kinds of model. The safety checker of Stable Diffusion compares an image with concepts; the score is the largest excess of a cosine over
its concept's threshold, so `safety.threshold` 0 is the checker's own decision and -0.05 a stricter one. The score of an image classifier of
transformers is the probability, in [0, 1], of the label `safety.label`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from mals import config as settings
from mals import models
from mals.config import Config
from mals.device import hush
from mals.errors import UserError
from mals.grid.stage import Resources, output_batch
from mals.images import Pixels
from mals.stages.image_scores import Score, architectures, is_classifier, load_scorer, load_weights
from mals.stages.row_images import read_images

SPECIAL_CARE = 0.01  # the checker adds this to every concept if the image is near one of its special-care concepts


class Safety:
    """Scores of unsafe content, and the rule that refuses by them."""

    name = "safety"
    version = 2
    needs = ("image",)
    adds = pa.schema([("nsfw_score", pa.float32())])  # null if the settings name no model

    def __init__(self, config: settings.Safety):
        self.config = config
        self.batch = config.batch
        self.resources = Resources(gpus=1 if config.model else 0)
        self._score: Score | None = None

    def params(self) -> dict[str, Any]:
        model = self._model()
        if model is None:
            return {"model": None}
        return {"model": model.name, "revision": model.revision, "label": self.config.label, "threshold": self.config.threshold}

    def setup(self) -> None:
        model = self._model()
        self._score = load(model, self.config.label) if model else None

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._score is None:
            return output_batch(self.adds, {"nsfw_score": [None] * len(batch)})
        read = read_images(batch["image"].to_pylist())
        column = read.apply(self._score)
        unsafe = [score is not None and score > self.config.threshold for score in column]
        reject = [["unsafe"] if refused else damage for refused, damage in zip(unsafe, read.reject, strict=True)]
        return output_batch(self.adds, {"nsfw_score": column}, reject, read.errors)

    def _model(self) -> models.ResolvedModel | None:
        return models.resolve(self.config.model, self.config.revision, "safety") if self.config.model else None


def stage(config: Config) -> Safety:
    """The stage with the settings of `config`; loads nothing."""
    return Safety(config.safety)


def load(model: models.ResolvedModel, label: str) -> Score:
    """The scorer of a model folder, by the architecture in its config.json."""
    if "StableDiffusionSafetyChecker" in architectures(model):
        return checker(model)
    if is_classifier(model):
        return load_scorer(model, "safety", label)
    raise UserError(f"safety.model = {model.name} is neither a StableDiffusionSafetyChecker nor an image classifier")


def checker(resolved: models.ResolvedModel) -> Score:
    """Scores by the safety checker of Stable Diffusion, computed as in its `forward`, which would also blank the images."""
    hush("diffusers")
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from torch.nn.functional import normalize
    from transformers import CLIPImageProcessor

    model: Any = load_weights(StableDiffusionSafetyChecker, resolved)
    if (Path(resolved.path) / "preprocessor_config.json").is_file():
        processor: Any = CLIPImageProcessor.from_pretrained(resolved.path, local_files_only=True)
    else:  # in a pipeline's folder the processor is elsewhere; it is CLIP's, at the checker's size
        side = model.config.vision_config.image_size
        processor = CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})

    def excess(embeddings: torch.Tensor, concepts: torch.Tensor, thresholds: torch.Tensor) -> np.ndarray:
        over = normalize(embeddings) @ normalize(concepts).T - thresholds
        return over.float().cpu().numpy()

    @torch.inference_mode()
    def score(images: list[Pixels]) -> list[float]:
        pixels = processor(images=list(map(Image.fromarray, images)), return_tensors="pt")["pixel_values"].to(model.device)
        embeddings = model.visual_projection(model.vision_model(pixels)[1])
        special = excess(embeddings, model.special_care_embeds, model.special_care_embeds_weights)
        concepts = excess(embeddings, model.concept_embeds, model.concept_embeds_weights)
        care = np.where((special.round(3) > 0).any(1), np.float32(SPECIAL_CARE), np.float32(0))
        return (concepts + care[:, None]).round(3).max(1).tolist()  # the checker rounds to three places before it compares

    return score
