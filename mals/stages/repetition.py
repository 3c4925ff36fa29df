"""Repetitions in captions: "with his hands on his hips and his hands on his hips".

A repetition is a phrase of two or more words that follows itself, at once or after a joining word, or a single word twice in a row. "black
shirt and black pants" has none. Case and punctuation are ignored, except at the end of a sentence: beyond it only whole sentences count as
repeated ("in a black hat. A black hat is …" has no repetition).
"""

from itertools import pairwise

JOINING = {"and", "or", "with", "&", "while", "then", "also", "in"}
MARKS = ".,;:!?"
ENDS = frozenset(".!?")  # of a sentence


def repetition(text: str) -> float:
    """The share in [0, 1) of a text's words that collapse() removes."""
    words = text.split()
    return 1 - len(collapse(text).split()) / len(words) if words else 0.0


def collapse(text: str) -> str:
    """The text without its repetitions; punctuation after a repetition stays: "a hat, a hat." becomes "a hat."."""
    words = text.split()
    while (match := _find(words)) is not None:
        first, size, again = match
        if not _crosses(words, first + size, again):
            words[first + size - 1] = words[first + size - 1].rstrip(MARKS) + _marks(words[again + size - 1])
        del words[first + size : again + size]
    return " ".join(words)


def _find(words: list[str]) -> tuple[int, int, int] | None:
    """(start of the phrase, number of its words, start of the repetition) of the longest repetition, the first if several are longest."""
    keys = [word.strip(MARKS).lower() or word for word in words]
    for size in range(len(keys) // 2, 1, -1):
        for first in range(len(keys) - 2 * size + 1):
            end = first + size
            phrase = keys[first:end]
            if phrase == keys[end : end + size] and _whole(words, first, size, end):
                return first, size, end
            again = end + 1
            if keys[end] in JOINING and phrase == keys[again : again + size] and _whole(words, first, size, again):
                return first, size, again
    for first, (word, following) in enumerate(pairwise(keys)):
        if word == following and _whole(words, first, 1, first + 1):
            return first, 1, first + 1
    return None


def _whole(words: list[str], first: int, size: int, again: int) -> bool:
    """Whether a phrase and its repetition are in one sentence, or both are whole sentences."""
    if not _crosses(words, first + size, again):
        return True
    after = again + size
    return (first == 0 or _crosses(words, first, first)) and (after == len(words) or _crosses(words, after, after))


def _crosses(words: list[str], end: int, again: int) -> bool:
    """Whether a sentence ends with the word before `end` or with a later word before `again`."""
    return any(not ENDS.isdisjoint(_marks(word)) for word in words[end - 1 : again])


def _marks(word: str) -> str:
    """The punctuation at a word's end."""
    return word[len(word.rstrip(MARKS)) :]
