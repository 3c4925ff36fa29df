"""Text-based person search: data, towers, losses, training and evaluation of methods."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pretrain.api import LoadedMethod


def load(place: str | Path, device: str = "cpu", batch: int = 64) -> "LoadedMethod":
    """A trained method from a release, a training or hf://OWNER/NAME; see `pretrain.api.LoadedMethod`."""
    from pretrain import api

    return api.load(place, device, batch)
