"""A finished training of a small APTM with random weights, as `mals pretrain` leaves one."""

from pathlib import Path
from typing import Any

import yaml

from mals.settings import merge
from pretrain import checkpoint, settings
from pretrain.build import prepare

SMALL = {
    "preset": "tiny",
    "dtype": "fp32",
    "data": {"height": 64, "width": 32, "wordings": {"composed": 0, "recast": 0, "exchanged": 0}},
    "selection": {"rerank": "itm"},
    "aptm": {
        "loss_weights": {"sentences": 0},
        "vision": {"embed": 16, "heads": [1, 2, 4], "window": 4, "start": None},
        "text": {"hidden": 32, "inter": 64},
    },
}


def released(folder: Path, data: Path, /, **overrides: Any) -> Path:
    """The folder of the training, with settings besides the small ones."""
    config = settings.check(merge(SMALL, overrides))
    folder.mkdir(parents=True)
    method = prepare(config, [str(data)], folder).method
    checkpoint.release(folder, method, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), {"loss": 1.0})
    return folder
