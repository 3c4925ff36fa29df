"""Fine-tuning: a pretrained method is trained on one data set, and its best checkpoint on another split is the result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mals.errors import UserError
from mals.settings import merge
from pretrain import methods, published, settings, trained_method
from pretrain.config import Training
from pretrain.selection import Selection
from pretrain.train import train


def configure(
    preset: str, file: Path | None, sets: Sequence[str], init: str | None, select: str | None = None, val_share: float | None = None
) -> Training:
    """The settings of a fine-tuning: the preset, overridden by the sizes of the initial weights, overridden by `file` and `sets`.

    `init` is the place of a trained method (None: from scratch), `select` the split that selects the checkpoint, `val_share` the share
    (0..1) of the identities of train that is held out as val. A preset's mean of the last weights is for pretraining and left out.
    """
    own = merge({"optimizer": {"average": 0.0}}, settings.read(file))  # a checkpoint is chosen instead of a mean
    tree = {**own, "preset": preset}
    if init is not None:
        tree = merge(inherited_settings(init, tree, sets), tree)
    more = [f"selection.{name}={value}" for name, value in (("on", select), ("held_out", val_share)) if value is not None]
    config = settings.check(settings.assign(tree, [*sets, *more]))
    return config


def inherited_settings(init: str, tree: dict[str, Any], sets: Sequence[str] = ()) -> dict[str, Any]:
    """The settings that initial weights determine: their place, sizes and tokenizer.

    For a file of weights alone they are those of its towers and of its words, for the method of the settings `tree` and `sets`.
    """
    source = trained_method.locate(init)
    if source.settings is None:
        file = published.read(source.weights)
        inherited = {"start": source.weights, **trained_method.inherited_sizes(file, settings.check(settings.assign(tree, list(sets))))}
        words = published.word_list(file)
        return inherited if words is None else merge(inherited, {"data": {"tokenizer": words}})
    before = settings.check(source.settings, init)
    data = {"height": before.data.height, "width": before.data.width, "tokenizer": str(source.tokenizer)}
    return merge({"start": source.weights, "data": data}, methods.find(before.method).inherited_settings(before))


def finetune(config: Training, data: Sequence[str], out: Path, device: str = "auto") -> dict[str, Any]:
    """Train, select a checkpoint and measure it; returns the last metrics, with the selected step. The same call resumes after a kill."""
    if not data:
        raise UserError("there is no data set to train on")
    return train(config, list(data), out, device, Selection(config, data, out))
