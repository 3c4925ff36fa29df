"""The methods of text-based person search: data, towers, losses, training, evaluation."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pretrain.api import Loaded


def load(place: str | Path, device: str = "cpu", batch: int = 64) -> "Loaded":
    """A trained method to use: of a release, a training or hf://OWNER/NAME; see `pretrain.api.Loaded`."""
    from pretrain import api

    return api.load(place, device, batch)
