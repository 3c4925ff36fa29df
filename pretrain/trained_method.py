"""A trained method, read from a training, one of its checkpoints, a release, or weights that others published.

A release is model.safetensors, config.yaml and tokenizer.json of a finished training, in a folder or on the hub.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mals.errors import ModelMissing, UserError
from mals.models import HubUnreachable, hub_snapshot
from mals.settings import merge, parse
from pretrain import checkpoint, provenance, published, settings, weights
from pretrain.build import TOKENIZER, load_tokenizer, tokenizer_beside
from pretrain.config import Training
from pretrain.data.augment import ImageTransform
from pretrain.data.tokenizers import Tokenizer
from pretrain.datasets.layout import folder_contents
from pretrain.gallery import tokenize
from pretrain.method import Method
from pretrain.methods import find
from pretrain.precision import autocast

HUB = "hf://"
SPACE = "space.yaml"  # in a release: the attribute space, if it is not one that ships with mals
FILES = ("config.yaml", checkpoint.MODEL, TOKENIZER)  # a release needs these
EXPECTED = f"looked for {', '.join(FILES)}, for {checkpoint.FOLDER}/ of a training, and for weights alone"


@dataclass(frozen=True)
class Trained:
    """A method with its weights, its settings and its preprocessing."""

    config: Training
    method: Method
    tokenizer: Tokenizer
    preprocessing: ImageTransform
    device: torch.device
    origins: dict[str, Any] | None = None  # the data sets that it was trained on, see `pretrain.provenance`; None if not recorded

    def width(self) -> int:
        """The dimension of an embedding."""
        with torch.inference_mode(), self.precision():
            if "embed" not in self.method.abilities:
                sizes = self.preprocessing.height, self.preprocessing.width
                return self.method.embed_image(torch.zeros(1, 3, *sizes, device=self.device)).shape[1]
            return self.method.embed_text(tokenize(self.tokenizer, ["a person"], self.device)).shape[1]

    def precision(self) -> torch.autocast:
        """The number format to compute in, that of the training."""
        return autocast(self.device, self.config.dtype)


@dataclass(frozen=True)
class Location:
    """Where a method is stored."""

    folder: Path  # or the file of its weights
    weights: str
    settings: dict[str, Any] | None = None  # None: weights alone
    tokenizer: Path | None = None


def read(place: str, sets: Sequence[str] = (), preset: str | None = None, device: str | torch.device = "cpu") -> Trained:
    """The method of a training's folder, of OUT/checkpoints/N, of a release (a folder or hf://OWNER/NAME), or of a file of weights.

    For a file of weights, `preset` and `sets` give the sizes. Raises UserError if there is no method, or if the weights do not fit.
    """
    location = locate(place)
    if location.settings is None:
        tree = settings_of_weights(place, preset, sets)
    else:
        if preset is not None:
            raise UserError(f"{place} has its own settings: --preset is for files of weights alone")
        tree = settings.assign(location.settings, list(sets))
    config = settings.check(tree, place)
    kind = find(config.method)
    state = kind.without_training_only(kind.read_weights(location.weights))
    tokenizer = kind.tokenizer(config, ()) if location.tokenizer is None else load_tokenizer(config, location.tokenizer)
    method = kind.build(config, tokenizer)
    if location.settings is None:
        state = weights.matching(method, state, place, kind.training_only)
    weights.load_state(method, state, place, kind.training_only)
    on_device = torch.device(device)
    preprocessing = ImageTransform.for_test(config.data)
    return Trained(config, method.eval().to(on_device), tokenizer, preprocessing, on_device, provenance.read(location.folder))


def settings_of_weights(place: str, preset: str | None, sets: Sequence[str]) -> dict[str, Any]:
    """The settings for a file of weights alone: of a preset, by default that of its project, of what the file determines, and `sets`.

    UserError where the project is not known and there is no preset, or where a word list is missing.
    """
    file = published.read(place)
    if preset is None and file.project is None:
        names = weights.first_names(file.tensors)
        hint = weights.partly_wrapped(file.tensors)
        raise UserError(f"{place} is of no project that mals knows, its parameters are {names}; --preset names its method{hint}")
    tree: dict[str, Any] = {"preset": preset or (file.project and file.project.preset)}
    config = settings.check(settings.assign(tree, list(sets)), place)
    height, width = published.image_size(file, config.data.height, config.data.width)
    tree = merge(merge(tree, inherited_sizes(file, config)), {"data": {"height": height, "width": width}})
    tree = settings.assign(tree, list(sets))
    tokenizer = tree["data"].setdefault("tokenizer", published.word_list(file))  # the vocabulary that a preset trains has other token ids
    if tokenizer is None and file.project is not None and file.project.word_list:
        raise UserError(
            f"{place} is a checkpoint of {file.project.name}, whose words are in a list of their own: "
            f"put {published.WORD_LISTS[0]} beside it, or name it with --set data.tokenizer=FILE"
        )
    return tree


def inherited_sizes(file: published.Checkpoint, config: Training) -> dict[str, Any]:
    """The sizes that a checkpoint determines, in the section of the method of these settings, and the longest caption."""
    kind, own, longest = find(config.method), published.sizes(file), published.text_length(file)
    if not published.COMMON & own.keys() <= kind.Settings.model_fields.keys():
        return {}  # of a method on other towers, which refuses the weights
    section = {name: value for name, value in own.items() if name in kind.Settings.model_fields}
    return ({kind.section: section} if section else {}) | ({"data": {"max_tokens": longest}} if section and longest else {})


def locate(place: str) -> Location:
    """What is stored at a place that `read` accepts; UserError if there is no method."""
    folder = _downloaded(place) if place.startswith(HUB) else Path(place).expanduser()
    stored = _settings_of(folder)
    if stored is None:
        return Location(folder, place)
    tree, weights_folder = stored
    return Location(weights_folder, str(weights_folder / checkpoint.MODEL), tree, _tokenizer(weights_folder))


def _downloaded(place: str) -> Path:
    """The folder of a release on the hub, downloaded into the cache if it is missing or outdated there."""
    name = place.removeprefix(HUB).strip("/")
    try:
        if name.count("/") != 1:
            raise ValueError(place)
        return hub_snapshot(name, files=[*FILES, SPACE, provenance.FILE])
    except ValueError:
        raise UserError(f"{place} is not of the form {HUB}OWNER/NAME") from None
    except HubUnreachable as error:
        raise ModelMissing(f"{place} is not in the Hugging Face cache and cannot be fetched ({error})") from None


def _settings_of(folder: Path) -> tuple[dict[str, Any], Path] | None:
    """The settings that a folder was trained with, and the folder of its weights; None if it holds weights alone or is not a folder."""
    if not folder.is_dir():
        return None
    if (folder / "config.yaml").is_file() and (folder / checkpoint.MODEL).is_file():
        tree = parse((folder / "config.yaml").read_text(encoding="utf-8"), str(folder / "config.yaml"))
        if (folder / SPACE).is_file():
            tree = with_space(tree, str(folder / SPACE))
        return tree, folder
    if (folder / "state.json").is_file():
        return _state(folder / "state.json"), folder
    latest = checkpoint.latest(folder)
    if latest is not None:
        return latest.config, latest.folder
    if (folder / checkpoint.FOLDER).is_dir() or (folder / TOKENIZER).is_file():
        raise UserError(f"the training in {folder} has no checkpoint yet")
    if not any((folder / name).is_file() for name in (*weights.FILES, "refs/main")):
        raise UserError(f"{folder} holds no trained method: {EXPECTED}, and saw {folder_contents(folder)}")
    return None


def space_of(tree: dict[str, Any]) -> str | None:
    """The attribute space that settings of a training name; None if the method has none."""
    method = find(str(tree["method"]))
    space = tree[method.section].get(method.space_setting) if method.space_setting else None
    return None if space is None else str(space)


def with_space(tree: dict[str, Any], space: str) -> dict[str, Any]:
    """The settings with another attribute space; as they are if the method has none."""
    method = find(str(tree["method"]))
    return merge(tree, {method.section: {method.space_setting: space}}) if method.space_setting else tree


def _state(file: Path) -> dict[str, Any]:
    """The settings of a checkpoint."""
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["config"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file} is not the state of a checkpoint") from None
    return config


def _tokenizer(folder: Path) -> Path:
    """The tokenizer beside the weights in a folder, or in the training that they are a checkpoint of."""
    tokenizer = tokenizer_beside(folder / checkpoint.MODEL)
    if tokenizer is None:
        raise UserError(f"{folder} has lost its {TOKENIZER}")
    return tokenizer
