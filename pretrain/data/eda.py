"""EDA (Wei and Zou, 2019): small random changes of a caption, as in Yang et al., ACM MM 2023 (docs/papers/mals.md, section EDA).

One of four operations, equally likely: a tenth of the words, at least one, are replaced by synonyms, get synonyms inserted between them,
or are swapped; or each word is deleted with probability 0.1. An operation depends only on the words, the generator and the synonyms.

Function words get no synonyms. Yang et al. also insert synonyms of these: WordNet lists "a" as an angstrom and "he" as helium.
"""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

from numpy.random import Generator

Synonyms = Mapping[str, Sequence[str]]  # word -> its synonyms, some of them of several words

CHANGED_SHARE = 0.1  # of the words are replaced, inserted or swapped
DELETION_PROBABILITY = 0.1  # of each word
FUNCTION_WORDS = frozenset((files(__package__) / "function_words.txt").read_text(encoding="utf-8").split())  # never replaced


def eda(caption: str, rng: Generator, synonyms: Synonyms) -> str:
    """The caption after one random operation, in letters a-z and spaces; a caption without such letters is returned unchanged."""
    words = plain(caption).split()
    if not words:
        return caption
    operation = OPERATIONS[int(rng.integers(len(OPERATIONS)))]
    return " ".join(operation(words, rng, synonyms))


def plain(caption: str) -> str:
    """Lower-case letters a-z and single spaces: apostrophes are removed, every other character that is no letter separates words."""
    return " ".join(re.sub(r"[^a-z]+", " ", re.sub(r"['’]", "", caption.lower())).split())


def replace_synonyms(words: Sequence[str], rng: Generator, synonyms: Synonyms) -> list[str]:
    """Replace some words by a synonym, each wherever it occurs."""
    candidates = _words_with_synonyms(words, synonyms)
    order = rng.permutation(len(candidates))[: _count(words)].tolist()
    replacements = {candidates[index]: _choose(synonyms[candidates[index]], rng) for index in order}
    return [part for word in words for part in replacements.get(word, word).split()]


def insert_synonyms(words: Sequence[str], rng: Generator, synonyms: Synonyms) -> list[str]:
    """Insert synonyms of some words at random positions."""
    candidates, changed = _words_with_synonyms(words, synonyms), list(words)
    for _ in range(_count(words) if candidates else 0):
        position = int(rng.integers(len(changed) + 1))
        changed[position:position] = _choose(synonyms[_choose(candidates, rng)], rng).split()
    return changed


def swap_words(words: Sequence[str], rng: Generator, synonyms: Synonyms) -> list[str]:
    """Swap some pairs of words."""
    changed = list(words)
    for _ in range(_count(words) if len(words) > 1 else 0):
        first, second = rng.choice(len(changed), 2, replace=False).tolist()
        changed[first], changed[second] = changed[second], changed[first]
    return changed


def delete_words(words: Sequence[str], rng: Generator, synonyms: Synonyms) -> list[str]:
    """Delete some words, never all."""
    kept = rng.random(len(words)) >= DELETION_PROBABILITY
    return [word for word, is_kept in zip(words, kept, strict=True) if is_kept] or [_choose(words, rng)]


OPERATIONS = (replace_synonyms, insert_synonyms, swap_words, delete_words)


def _count(words: Sequence[str]) -> int:
    """How many words an operation changes."""
    return max(1, int(CHANGED_SHARE * len(words)))


def _words_with_synonyms(words: Sequence[str], synonyms: Synonyms) -> list[str]:
    """The different words that have synonyms, in the order of the caption."""
    return [word for word in dict.fromkeys(words) if word not in FUNCTION_WORDS and synonyms.get(word)]


def _choose(words: Sequence[str], rng: Generator) -> str:
    return words[int(rng.integers(len(words)))]
