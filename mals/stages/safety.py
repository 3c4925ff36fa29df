"""Stage `safety`: a score of unsafe content for every generator's pictures, and a rule. Pixels are never touched.

Two formats. The safety checker of Stable Diffusion compares a picture with concepts; its score is the largest cosine above a concept's own
threshold, so that 0 is the checker's own decision and -0.05 a stricter one. An image classifier of transformers scores with the
probability, from 0 to 1, of the label `safety.label`.
"""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from mals import config as settings
from mals import models
from mals.config import Config
from mals.device import device
from mals.errors import UserError
from mals.grid.stage import Resources, answer

SPECIAL_CARE = 0.01  # what the checker adds to every concept once one of its special-care concepts is near

Score = Callable[[list[Image.Image]], np.ndarray]  # B pictures -> [B] float32


class Safety:
    """See the module's docstring."""

    name = "safety"
    version = 1
    needs = ("image",)
    adds = pa.schema([("nsfw_score", pa.float32())])  # null where nothing is checked

    def __init__(self, config: settings.Safety):
        self.config = config
        self.batch = config.batch
        self.resources = Resources(gpus=1 if config.model else 0)
        self._score: Score | None = None

    def params(self) -> dict[str, Any]:
        found = self._found()
        if found is None:
            return {"model": None}
        return {"model": found.name, "revision": found.revision, "label": self.config.label, "threshold": self.config.threshold}

    def setup(self) -> None:
        found = self._found()
        self._score = load(found, self.config.label) if found else None

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = len(batch)
        if self._score is None:
            return answer(self.adds, {"nsfw_score": [None] * rows})
        pictures, errors = _decode(batch["image"].to_pylist())
        stand_in = next((picture for picture in pictures if picture), None)
        if stand_in is None:
            return answer(self.adds, {"nsfw_score": [None] * rows}, error=errors)
        scores = self._score([picture or stand_in for picture in pictures])  # a constant batch
        kept = [None if errors[at] else float(scores[at]) for at in range(rows)]
        reject = [["unsafe"] if score is not None and score > self.config.threshold else None for score in kept]
        return answer(self.adds, {"nsfw_score": kept}, reject, errors)

    def _found(self) -> models.ResolvedModel | None:
        return models.find(self.config.model, self.config.revision, "safety") if self.config.model else None


def stage(config: Config) -> Safety:
    """The stage as the config wants it; loads nothing."""
    return Safety(config.safety)


def load(found: models.ResolvedModel, label: str) -> Score:
    """The scorer of a model folder, by what its config.json says it is."""
    facts = json.loads((Path(found.path) / "config.json").read_text(encoding="utf-8"))
    if "StableDiffusionSafetyChecker" in (facts.get("architectures") or []):
        return checker(found)
    if any(name.endswith("ForImageClassification") for name in facts.get("architectures") or []):
        return classifier(found, label)
    raise UserError(f"safety.model = {found.name} is neither a StableDiffusionSafetyChecker nor an image classifier")


def checker(found: models.ResolvedModel) -> Score:
    """Scores by the safety checker of Stable Diffusion, decided as its own forward decides, which would blank pictures."""
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from torch.nn.functional import normalize
    from transformers import CLIPImageProcessor

    model: Any = _placed(StableDiffusionSafetyChecker, found)
    if (Path(found.path) / "preprocessor_config.json").is_file():
        processor: Any = CLIPImageProcessor.from_pretrained(found.path, local_files_only=True)
    else:  # in a pipeline's folder the processor is elsewhere; it is CLIP's own, at the checker's size
        side = model.config.vision_config.image_size
        processor = CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})

    def above(picture: torch.Tensor, concepts: torch.Tensor, thresholds: torch.Tensor) -> np.ndarray:
        near = normalize(picture) @ normalize(concepts).T - thresholds
        return near.float().cpu().numpy()

    @torch.inference_mode()
    def score(pictures: list[Image.Image]) -> np.ndarray:
        pixels = processor(images=pictures, return_tensors="pt")["pixel_values"].to(model.device)
        embedded = model.visual_projection(model.vision_model(pixels)[1])
        special = above(embedded, model.special_care_embeds, model.special_care_embeds_weights)
        concepts = above(embedded, model.concept_embeds, model.concept_embeds_weights)
        care = np.where((special.round(3) > 0).any(1), np.float32(SPECIAL_CARE), np.float32(0))
        return (concepts + care[:, None]).round(3).max(1)  # it rounds to three places before it decides

    return score


def classifier(found: models.ResolvedModel, label: str) -> Score:
    """Scores by an image classifier: the probability of `label`, in any case."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model: Any = _placed(AutoModelForImageClassification, found)
    processor: Any = AutoImageProcessor.from_pretrained(found.path, local_files_only=True)
    labels = {str(name).lower(): int(at) for at, name in model.config.id2label.items()}
    if label.lower() not in labels:
        raise UserError(f"safety.label = {label!r}: {found.name} knows {', '.join(model.config.id2label.values())}")
    several = model.config.problem_type == "multi_label_classification"

    @torch.inference_mode()
    def score(pictures: list[Image.Image]) -> np.ndarray:
        inputs = processor(images=pictures, return_tensors="pt").to(model.device)
        logits = model(**inputs).logits.float()
        shares = logits.sigmoid() if several else logits.softmax(1)
        return shares[:, labels[label.lower()]].cpu().numpy()

    return score


def _placed(kind: Any, found: models.ResolvedModel) -> Any:
    """The weights in fp32, on the GPU where there is one."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = kind.from_pretrained(found.path, local_files_only=True, dtype=torch.float32)
    return model.eval().to(device())


def _decode(images: list[bytes | None]) -> tuple[list[Image.Image | None], list[str | None]]:
    """The pictures, and an error where the bytes are none."""
    pictures: list[Image.Image | None] = []
    errors: list[str | None] = []
    for data in images:
        try:
            pictures.append(Image.open(BytesIO(data or b"")).convert("RGB"))
            errors.append(None)
        except (OSError, Image.DecompressionBombError) as error:
            pictures.append(None)
            errors.append(f"ValueError: the picture cannot be read ({type(error).__name__})")
    return pictures, errors
