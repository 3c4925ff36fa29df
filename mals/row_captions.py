"""The captions of a row, as the column `captions` of cells and of packed sets lists them."""

from collections.abc import Iterable, Mapping
from typing import Any


def good_captions(captions: Iterable[Mapping[str, Any]] | None) -> list[str]:
    """The texts of a row's `captions` that are trained on: none of those that a rule refused; a row may have no captions at all."""
    return [entry["text"] for entry in captions or () if entry["text"]]
