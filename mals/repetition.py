"""Captions that repeat themselves: "with his hands on his hips and his hands on his hips".

A repetition is a phrase of two or more words said again at once or after a joining word, or one word said twice in a row. "black shirt
and black pants" is none. Upper and lower case and punctuation are not looked at.
"""

from itertools import pairwise

JOINING = {"and", "or", "with", "&", "while", "then", "also", "in"}
MARKS = ".,;:!?"


def repetition(text: str) -> float:
    """The share in [0, 1) of a text's words that only repeat what was just said."""
    words = text.split()
    return 1 - len(collapse(text).split()) / len(words) if words else 0.0


def collapse(text: str) -> str:
    """The text with each repetition said once; punctuation behind the repetition stays."""
    words = text.split()
    while (found := _find(words)) is not None:
        first, size, again = found
        end = words[again + size - 1]
        marks = end[len(end.rstrip(MARKS)) :]
        if marks:
            words[first + size - 1] = words[first + size - 1].rstrip(MARKS) + marks
        del words[first + size : again + size]
    return " ".join(words)


def _find(words: list[str]) -> tuple[int, int, int] | None:
    """(where a phrase begins, its words, where it begins again) of the longest repetition, the first of equals."""
    keys = [word.strip(MARKS).lower() or word for word in words]
    for size in range(len(keys) // 2, 1, -1):
        for at in range(len(keys) - 2 * size + 1):
            phrase = keys[at : at + size]
            if phrase == keys[at + size : at + 2 * size]:
                return at, size, at + size
            if keys[at + size] in JOINING and phrase == keys[at + size + 1 : at + 2 * size + 1]:
                return at, size, at + size + 1
    for at, (one, next_one) in enumerate(pairwise(keys)):
        if one == next_one:
            return at, 1, at + 1
    return None
