"""Captions as they are read before a tokenizer: cut, stripped, and with left and right exchanged for mirrored images."""

import re

from mals.errors import UserError

SIDES = {"left": "right", "right": "left"}
SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)


def clean_caption(caption: str, max_words: int | None = None, plain: bool = False) -> str:
    """The first words of a caption; `plain` keeps letters a-z and digits alone, for test captions of ICFG-PEDES and RSTPReid."""
    words = re.sub(r"[^0-9a-z]+", " ", caption.lower()) if plain else caption
    cut = " ".join(words.split()[:max_words])
    if not cut:
        raise UserError(f"the caption {caption!r} has no word")
    return cut


def exchange_sides(caption: str) -> str:
    """The caption of the mirrored image: "left" and "right" change places, in any case."""
    return SIDE.sub(_other_side, caption)


def _other_side(match: re.Match[str]) -> str:
    word = match[0]
    other = SIDES[word.lower()]
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other
