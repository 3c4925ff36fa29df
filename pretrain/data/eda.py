"""EDA (Wei and Zou, 2019): a caption said a little otherwise, as APTM fine-tunes with (aptm.md 1.6).

One of four operations, each as likely: a tenth of the words, one at least, become synonyms, are joined by synonyms, or change places with
others; or each word is left out with a chance of a tenth. All are functions of words, a generator and synonyms.

The authors' insertion also draws function words, of which WordNet knows "a" as an angstrom and "he" as helium; here none does.
"""

import re
from collections.abc import Mapping, Sequence

from numpy.random import Generator

Synonyms = Mapping[str, Sequence[str]]  # word -> other words for it, some of them several words

SHARE = 0.1  # of the words are replaced, joined by others or moved
DROPPED = 0.1  # chance of a word to be left out
WORDS = """
a about above across after again against all almost along already also although always am among an and another any anyone anything
are around as at away be because been before behind being below beneath beside besides between beyond both but by can cannot
could did do does doing done down during each either else even ever every everyone everything few for from further had has have
having he her here hers herself him himself his how however i if in inside into is it its itself just least less many may me might
mine more most much must my myself near neither never next no nobody none nor not nothing now of off often on once one only onto or
other others our ours ourselves out outside over own per perhaps quite rather really same shall she should since so some somebody
someone something somewhat soon still such than that the their theirs them themselves then there these they this those though
through throughout thus to together too toward towards two under until up upon us very was we well were what when where whether
which while who whom whose why will with within without would yet you your yours yourself yourselves
"""
FUNCTION = frozenset(WORDS.split())  # words that have no synonyms worth the name


def eda(caption: str, draw: Generator, synonyms: Synonyms) -> str:
    """The caption after one of the operations, in letters a-z and spaces; as it is where it has no such letter."""
    words = plain(caption).split()
    if not words:
        return caption
    operation = OPERATIONS[int(draw.integers(len(OPERATIONS)))]
    return " ".join(operation(words, draw, synonyms))


def plain(caption: str) -> str:
    """Lower-case letters a-z and single spaces: apostrophes go, whatever else is no letter parts words."""
    return " ".join(re.sub(r"[^a-z]+", " ", re.sub(r"['’]", "", caption.lower())).split())


def replaced(words: Sequence[str], draw: Generator, synonyms: Synonyms) -> list[str]:
    """A synonym in the place of some words, wherever they stand."""
    known = _known(words, synonyms)
    chosen = {known[at]: _one(synonyms[known[at]], draw) for at in draw.permutation(len(known))[: _some(words)].tolist()}
    return [part for word in words for part in chosen.get(word, word).split()]


def inserted(words: Sequence[str], draw: Generator, synonyms: Synonyms) -> list[str]:
    """Synonyms of some words between the words."""
    known, found = _known(words, synonyms), list(words)
    for _ in range(_some(words) if known else 0):
        at = int(draw.integers(len(found) + 1))
        found[at:at] = _one(synonyms[_one(known, draw)], draw).split()
    return found


def swapped(words: Sequence[str], draw: Generator, synonyms: Synonyms) -> list[str]:
    """Some pairs of words in each other's place."""
    found = list(words)
    for _ in range(_some(words) if len(words) > 1 else 0):
        one, two = draw.choice(len(found), 2, replace=False).tolist()
        found[one], found[two] = found[two], found[one]
    return found


def thinned(words: Sequence[str], draw: Generator, synonyms: Synonyms) -> list[str]:
    """Some words left out, never all."""
    kept = draw.random(len(words)) >= DROPPED
    return [word for word, stays in zip(words, kept, strict=True) if stays] or [_one(words, draw)]


OPERATIONS = (replaced, inserted, swapped, thinned)


def _some(words: Sequence[str]) -> int:
    return max(1, int(SHARE * len(words)))


def _known(words: Sequence[str], synonyms: Synonyms) -> list[str]:
    """The different words that have synonyms."""
    return [word for word in dict.fromkeys(words) if word not in FUNCTION and synonyms.get(word)]


def _one(things: Sequence[str], draw: Generator) -> str:
    return things[int(draw.integers(len(things)))]
