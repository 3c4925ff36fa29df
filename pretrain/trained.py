"""A trained method as others use it: read from the folder of a training, one of its checkpoints, or weights that others published."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from mals import settings
from mals.errors import UserError
from pretrain import checkpoint, official
from pretrain.augment import Augment
from pretrain.build import TOKENIZER, method_of
from pretrain.config import TRAINING, Training
from pretrain.methods.aptm import Aptm
from pretrain.precision import numbers
from pretrain.text import Tokenizer


@dataclass(frozen=True)
class Trained:
    """A method with its weights, ready to be asked, and what its input has to look like."""

    config: Training
    method: Aptm
    tokenizer: Tokenizer
    look: Augment
    device: torch.device

    def precision(self) -> torch.autocast:
        """The numbers in which to compute, those of the training."""
        return numbers(self.device, self.config.dtype)


def read(place: str, sets: Sequence[str] = (), preset: str | None = None, device: str | torch.device = "cpu") -> Trained:
    """The method of a training's folder, of OUT/checkpoints/N, or of a file of weights, whose sizes `preset` and `sets` tell.

    Raises UserError where there is none, or where the weights are of other settings.
    """
    folder = Path(place).expanduser()
    found = _settings_of(folder)
    if found is None:
        given = settings.assign({"preset": preset or "aptm-paper"}, list(sets), TRAINING)
        weights, words = place, given.get("data", {}).get("tokenizer", "bert-base-uncased")
    else:
        if preset is not None:
            raise UserError(f"{place} knows its settings: --preset is for files of weights alone")
        given = settings.assign(found[0], list(sets), TRAINING)
        weights, words = str(found[1] / "model.safetensors"), str(_tokenizer(found[1]))
    config = settings.check_kind(given, place, TRAINING)
    assert isinstance(config, Training)
    tokenizer = Tokenizer.load(words, config.data.max_tokens)
    method = method_of(config, tokenizer)
    official.load(method, official.read_aptm(weights), place)
    here = torch.device(device)
    shown = config.data
    look = Augment(shown.height, shown.width, shown.mean, shown.std)
    return Trained(config, method.eval().to(here), tokenizer, look, here)


def _settings_of(folder: Path) -> tuple[dict[str, Any], Path] | None:
    """The settings that a folder was trained with, and the folder of its weights; None for what is no training's."""
    if not folder.is_dir():
        return None
    if (folder / "config.yaml").is_file() and (folder / "model.safetensors").is_file():
        return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")), folder
    if (folder / "state.json").is_file():
        return json.loads((folder / "state.json").read_text(encoding="utf-8"))["config"], folder
    latest = checkpoint.latest(folder)
    if latest is not None:
        return latest.config, latest.folder
    if (folder / checkpoint.FOLDER).is_dir() or (folder / TOKENIZER).is_file():
        raise UserError(f"the training in {folder} has no checkpoint yet")
    return None


def _tokenizer(folder: Path) -> Path:
    """The tokenizer beside weights, or beside the checkpoints that they are among."""
    for place in (folder, folder.parent.parent):
        if (place / TOKENIZER).is_file():
            return place / TOKENIZER
    raise UserError(f"{folder} has lost its {TOKENIZER}")
