"""Scores of images by models of transformers, for the stages `safety` and `quality`.

An image classifier scores by the probability of one of its labels, a regressor (a classifier with one output) by its output.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from mals.device import device
from mals.errors import UserError
from mals.finite import require_finite
from mals.images import Pixels
from mals.models import ResolvedModel

Score = Callable[[list[Pixels]], Sequence[float]]  # B images [H, W, 3] -> their scores


def architectures(model: ResolvedModel) -> list[str]:
    """The classes that the config.json of a model folder names."""
    return json.loads((Path(model.path) / "config.json").read_text(encoding="utf-8")).get("architectures") or []


def is_classifier(model: ResolvedModel) -> bool:
    """Whether a model folder holds an image classifier of transformers."""
    return any(name.endswith("ForImageClassification") for name in architectures(model))


def load_scorer(model: ResolvedModel, section: str, label: str | None) -> Score:
    """The scorer of a classifier's folder: the probability of `label`, upper or lower case, or without one the only output.

    Raises UserError, with the settings of `section`, for another model, a label that it lacks, and outputs without a label.
    """
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    if not is_classifier(model):
        raise UserError(f"{section}.model = {model.name} is no image classifier of transformers")
    network: Any = load_weights(AutoModelForImageClassification, model)
    processor: Any = AutoImageProcessor.from_pretrained(model.path, local_files_only=True)
    output = _output(network.config, model.name, section, label)
    multi_label = network.config.problem_type == "multi_label_classification"

    @torch.inference_mode()
    def score(images: list[Pixels]) -> list[float]:
        inputs = processor(images=list(map(Image.fromarray, images)), return_tensors="pt").to(network.device)
        logits = network(**inputs).logits.float()
        scores = logits if label is None else logits.sigmoid() if multi_label else logits.softmax(1)
        return scores[:, output].tolist()

    return score


def _output(config: Any, name: str, section: str, label: str | None) -> int:
    """The number of the output that is scored."""
    names = {str(value).lower(): int(index) for index, value in config.id2label.items()}
    labels = ", ".join(config.id2label.values())
    if label is None:
        if len(names) > 1:
            raise UserError(f"{section}.label is needed: {name} has the labels {labels}")
        return 0
    if len(names) == 1:
        raise UserError(f"{section}.label = {label!r} has no effect: {name} has one output, which is the score; set {section}.label = null")
    if label.lower() not in names:
        raise UserError(f"{section}.label = {label!r}: {name} has the labels {labels}")
    return names[label.lower()]


def load_weights(kind: Any, model: ResolvedModel) -> Any:
    """The weights in fp32, on the GPU if there is one."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    loaded = kind.from_pretrained(model.path, local_files_only=True, dtype=torch.float32).eval().to(device())
    require_finite(loaded.state_dict(), model.path)
    return loaded
