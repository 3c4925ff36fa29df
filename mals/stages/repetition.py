"""Captions that repeat themselves: "with his hands on his hips and his hands on his hips".

A repetition is a phrase of two or more words said again at once or after a joining word, or one word said twice in a row. "black shirt
and black pants" is none. Upper and lower case and punctuation are not looked at, but where a sentence ends: across it only whole sentences
repeat ("in a black hat. A black hat is …" does not).
"""

from itertools import pairwise

JOINING = {"and", "or", "with", "&", "while", "then", "also", "in"}
MARKS = ".,;:!?"
ENDS = frozenset(".!?")  # of a sentence


def repetition(text: str) -> float:
    """The share in [0, 1) of a text's words that only repeat what was just said."""
    words = text.split()
    return 1 - len(collapse(text).split()) / len(words) if words else 0.0


def collapse(text: str) -> str:
    """The text with each repetition said once; punctuation behind the repetition stays: "a hat, a hat." is "a hat."."""
    words = text.split()
    while (found := _find(words)) is not None:
        first, size, again = found
        if not _crosses(words, first + size, again):
            words[first + size - 1] = words[first + size - 1].rstrip(MARKS) + _marks(words[again + size - 1])
        del words[first + size : again + size]
    return " ".join(words)


def _find(words: list[str]) -> tuple[int, int, int] | None:
    """(where a phrase begins, its words, where it begins again) of the longest repetition, the first of equals."""
    keys = [word.strip(MARKS).lower() or word for word in words]
    for size in range(len(keys) // 2, 1, -1):
        for at in range(len(keys) - 2 * size + 1):
            phrase = keys[at : at + size]
            if phrase == keys[at + size : at + 2 * size] and _whole(words, at, size, at + size):
                return at, size, at + size
            again = at + size + 1
            if keys[at + size] in JOINING and phrase == keys[again : again + size] and _whole(words, at, size, again):
                return at, size, again
    for at, (one, next_one) in enumerate(pairwise(keys)):
        if one == next_one and _whole(words, at, 1, at + 1):
            return at, 1, at + 1
    return None


def _whole(words: list[str], at: int, size: int, again: int) -> bool:
    """Whether a phrase and its repetition stand in one sentence, or both are whole sentences."""
    if not _crosses(words, at + size, again):
        return True
    after = again + size
    return (at == 0 or _crosses(words, at, at)) and (after == len(words) or _crosses(words, after, after))


def _crosses(words: list[str], end: int, again: int) -> bool:
    """Whether a sentence ends with the word before `end` or with a later one before `again`."""
    return any(not ENDS.isdisjoint(_marks(word)) for word in words[end - 1 : again])


def _marks(word: str) -> str:
    """The punctuation at a word's end."""
    return word[len(word.rstrip(MARKS)) :]
