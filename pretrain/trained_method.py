"""A trained method as others use it: read from a training, one of its checkpoints, a release, or weights that others published.

A release is OUT/model.safetensors, config.yaml and tokenizer.json of a finished training, in a folder or at the hub.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mals import settings
from mals.errors import ModelMissing, UserError
from pretrain import checkpoint, provenance, weights
from pretrain.build import TOKENIZER, tokenizer_beside
from pretrain.config import TRAINING, Training
from pretrain.data.augment import ImageTransform
from pretrain.data.tokenizers.wordpiece import Tokenizer
from pretrain.datasets.layout import seen
from pretrain.gallery import encoded
from pretrain.method import Method
from pretrain.methods import find
from pretrain.precision import autocast

HUB = "hf://"
SPACE = "space.yaml"  # in a release: the attribute space, where it is none that ships with mals
FILES = ("config.yaml", checkpoint.MODEL, TOKENIZER)  # of a release, without which nothing can be asked
LOOKED = f"looked for {', '.join(FILES)}, for {checkpoint.FOLDER}/ of a training, and for weights alone"


@dataclass(frozen=True)
class Trained:
    """A method with its weights, ready to be asked, and what its input has to look like."""

    config: Training
    method: Method
    tokenizer: Tokenizer
    look: ImageTransform
    device: torch.device
    origins: dict[str, Any] | None = None  # what it learnt from, as `pretrain.provenance` notes it; None: nobody has noted it

    def width(self) -> int:
        """The numbers of an embedding."""
        with torch.inference_mode(), self.precision():
            return self.method.embed_text(encoded(self.tokenizer, ["a person"], self.device)).shape[1]

    def precision(self) -> torch.autocast:
        """The numbers in which to compute, those of the training."""
        return autocast(self.device, self.config.dtype)


@dataclass(frozen=True)
class Located:
    """Where a method is kept."""

    folder: Path  # or the file of its weights
    weights: str
    settings: dict[str, Any] | None = None  # None: there are weights alone
    tokenizer: Path | None = None


def read(place: str, sets: Sequence[str] = (), preset: str | None = None, device: str | torch.device = "cpu") -> Trained:
    """The method of a training's folder, of OUT/checkpoints/N, of a release (hf://OWNER/NAME), or of a file of weights.

    Of a file of weights `preset` and `sets` tell the sizes. UserError where there is no method, or where the weights are of other settings.
    """
    found = located(place)
    if found.settings is None:
        given = settings.assign({"preset": preset or "aptm-paper"}, list(sets), TRAINING)
        words = given.get("data", {}).get("tokenizer", "bert-base-uncased")
    else:
        if preset is not None:
            raise UserError(f"{place} knows its settings: --preset is for files of weights alone")
        given = settings.assign(found.settings, list(sets), TRAINING)
        words = str(found.tokenizer)
    config = settings.check_kind(given, place, TRAINING)
    assert isinstance(config, Training)
    kind = find(config.method)
    read_weights = kind.read_weights(found.weights)
    tokenizer = Tokenizer.load(words, config.data.max_tokens)
    method = kind.build(config, tokenizer)
    weights.load_state(method, read_weights, place)
    here = torch.device(device)
    shown = config.data
    look = ImageTransform(shown.height, shown.width, shown.mean, shown.std)
    return Trained(config, method.eval().to(here), tokenizer, look, here, provenance.read(found.folder))


def located(place: str) -> Located:
    """What there is at a place that `read` knows; UserError where there is no method."""
    folder = _fetched(place) if place.startswith(HUB) else Path(place).expanduser()
    found = _settings_of(folder)
    if found is None:
        return Located(folder, place)
    return Located(found[1], str(found[1] / checkpoint.MODEL), found[0], _tokenizer(found[1]))


def _fetched(place: str) -> Path:
    """The folder of a release at the hub, fetched into the cache where it is not there, or not the latest."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    name = place.removeprefix(HUB).strip("/")
    try:
        if name.count("/") != 1:
            raise HFValidationError(place)
        return Path(snapshot_download(name, allow_patterns=[*FILES, SPACE, provenance.FILE]))
    except HFValidationError:
        raise UserError(f"{place} is not of the form {HUB}OWNER/NAME") from None
    except Exception as error:  # the HTTP library below huggingface_hub raises errors of its own
        told = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ModelMissing(f"{place} is not in the Hugging Face cache and cannot be fetched ({type(error).__name__}: {told})") from None


def _settings_of(folder: Path) -> tuple[dict[str, Any], Path] | None:
    """The settings that a folder was trained with, and the folder of its weights; None for what holds weights alone, or is no folder."""
    if not folder.is_dir():
        return None
    if (folder / "config.yaml").is_file() and (folder / checkpoint.MODEL).is_file():
        given = settings.parse((folder / "config.yaml").read_text(encoding="utf-8"), str(folder / "config.yaml"))
        if (folder / SPACE).is_file():
            given = settings.merge(given, {"aptm": {"space": str(folder / SPACE)}})
        return given, folder
    if (folder / "state.json").is_file():
        return _state(folder / "state.json"), folder
    latest = checkpoint.latest(folder)
    if latest is not None:
        return latest.config, latest.folder
    if (folder / checkpoint.FOLDER).is_dir() or (folder / TOKENIZER).is_file():
        raise UserError(f"the training in {folder} has no checkpoint yet")
    if not any((folder / name).is_file() for name in (*weights.FILES, "refs/main")):
        raise UserError(f"{folder} holds no trained method: {LOOKED}, and saw {seen(folder)}")
    return None


def _state(file: Path) -> dict[str, Any]:
    """The settings of a checkpoint."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["config"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file} is not the state of a checkpoint") from None
    return found


def _tokenizer(folder: Path) -> Path:
    """The tokenizer beside the weights in a folder, or beside the checkpoints that they are among."""
    found = tokenizer_beside(folder / checkpoint.MODEL)
    if found is None:
        raise UserError(f"{folder} has lost its {TOKENIZER}")
    return found
