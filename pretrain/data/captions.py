"""Captions as they are read before a tokenizer: cut, stripped, and with left and right exchanged for mirrored images."""

import re
from typing import Literal

from mals.errors import UserError

Reduction = Literal[
    "none",  # captions as they are
    "letters",  # the letters a-z and digits alone, as published for the test captions of ICFG-PEDES and RSTPReid
    "punctuation",  # lower case, PUNCTUATION as blanks, the first 77 words, as published for TAG-PEDES
]

PUNCTUATION, PUNCTUATION_WORDS = re.compile(r'[.!"()*#:;~]'), 77  # as published for TAG-PEDES
SIDES = {"left": "right", "right": "left"}
SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)


def clean_caption(caption: str, max_words: int | None = None, reduction: Reduction = "none") -> str:
    """The first words of a caption, after its reduction; UserError if there is no word."""
    words = caption.split()
    if reduction == "letters":
        words = re.sub(r"[^0-9a-z]+", " ", caption.lower()).split()
    elif reduction == "punctuation":
        words = PUNCTUATION.sub(" ", caption.lower()).split()[:PUNCTUATION_WORDS]
    cut = " ".join(words[:max_words])
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
