"""Fine-tuning: a pretrained method goes on with one data set, and its best checkpoint on another split is the result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mals import settings
from mals.errors import UserError
from pretrain import methods, trained_method
from pretrain.config import TRAINING, Training, read
from pretrain.selection import Selecting
from pretrain.train import train


def configured(
    preset: str, file: Path | None, sets: Sequence[str], init: str | None, select: str | None = None, share: float | None = None
) -> Training:
    """The settings of a fine-tuning: those of the preset, over them the sizes of what it starts from, over these what was given."""
    given = {**read(file), "preset": preset}
    if init is not None:
        given = settings.merge(inherited(init), given)
    more = [f"selection.{name}={value}" for name, value in (("on", select), ("held_out", share)) if value is not None]
    found = settings.check_kind(settings.assign(given, [*sets, *more], TRAINING), "the settings", TRAINING)
    assert isinstance(found, Training)
    return found


def inherited(init: str) -> dict[str, Any]:
    """What a checkpoint decides: weights, sizes, tokenizer; of a file of weights alone it is the weights."""
    source = trained_method.located(init)
    if source.settings is None:
        return {"start": source.weights}
    before = settings.check_kind(source.settings, init, TRAINING)
    assert isinstance(before, Training)
    data = {"height": before.data.height, "width": before.data.width, "tokenizer": str(source.tokenizer)}
    return settings.merge({"start": source.weights, "data": data}, methods.find(before.method).inherited_settings(before))


def finetune(config: Training, data: Sequence[str], out: Path, device: str = "auto") -> dict[str, Any]:
    """Train, choose and measure; the last metrics, with which step was chosen. The same call goes on after a kill."""
    if not data:
        raise UserError("there is no data set to train on")
    return train(config, list(data), out, device, Selecting(config, data, out))
