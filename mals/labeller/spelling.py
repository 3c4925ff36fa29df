"""Typing errors: the word of the lexicon that an unknown word was meant to be, where one edit tells it.

An edit is a letter too many, too few, another one, or two that changed places. A word of the language is never mended
(`lexicon.real_words`), and neither is one that could be two words of different meaning: "shrt" is no more a shirt than it is short.
"""

import re
from collections.abc import Callable, Iterable

from mals.labeller.lexicon import real_words

MAX_MENDED = 200_000  # unknown words that are remembered: bounds the memory for any input
KEYBOARD = """
q:wa w:qeas e:wrds r:etfd t:ryfg y:tugh u:yihj i:uojk o:ipkl p:ol a:qwsz s:awedzx d:serfxc f:drtgcv g:ftyhvb h:gyujbn j:huiknm k:jiolm
l:kop z:asx x:zsdc c:xdfv v:cfgb b:vghn n:bhjm m:njk
"""
NEIGHBORS = {  # on a keyboard
    letter: set(others) for letter, others in (entry.split(":") for entry in KEYBOARD.split())
}
REAL_WORDS = frozenset(real_words.REAL_WORDS.split())
CONTRACTIONS = {
    **{
        f"{word}{ending}": (word, "is") for word in ("that", "who", "which", "there") for ending in ("'s", "s") if word + ending != "theres"
    },
    **{f"{word}'re": (word, "are") for word in ("that", "who", "which", "there")},
    **{f"{word}'ve": (word, "have") for word in ("that", "who", "they")},
}
WITHOUT_APOSTROPHE = frozenset(["hes", "shes", "mans", "womans", "mens", "womens", "gentlemans", "childrens"])
LETTERS = re.compile("[a-z]{3,20}")
SURE, LIKELY, POSSIBLE = range(3)  # two letters that changed places or one typed twice; one too few; any other edit


class Spelling:
    """Mends unknown words.

    Args:
        known: every word of the lexicon, also those that stand only in its phrases.
        targets: the words that an unknown word may have been meant to be.
        phrases: the phrases of the lexicon, which may be written without their spaces.
        beginnings, endings: colours and other adjectives, and nouns, that may stick together without a space: "blackpants".
        meaning: what a word means; two words of one meaning are no ambiguity.
    """

    def __init__(
        self,
        known: Iterable[str],
        targets: Iterable[str],
        phrases: Iterable[str],
        beginnings: frozenset[str],
        endings: frozenset[str],
        meaning: Callable[[str], str],
    ):
        self.known = set(known)
        self.unmended: set[str] = set()  # unknown words that stay as they are
        self.mended: dict[str, tuple[str, ...]] = {}
        self.beginnings, self.endings, self.meaning = beginnings, endings, meaning
        self.joined = {phrase.replace(" ", ""): phrase for phrase in phrases}
        self.by_deletion: dict[str, list[str]] = {}
        for target in targets:
            for form in {target, *_deletions(target)}:
                self.by_deletion.setdefault(form, []).append(target)

    def mend(self, words: list[str], spans: list[tuple[int, int]] | None = None) -> list[str]:
        """`words` with typing errors mended; `spans`, if given, get one more in place where a word becomes two."""
        new_words: list[str] = []
        new_spans: list[tuple[int, int]] = []
        for at, word in enumerate(words):
            mended = (word,) if word in self.known else self.correct(word)
            new_words += mended
            if spans is not None:
                new_spans += [spans[at]] * len(mended)
        if spans is not None:
            spans[:] = new_spans
        return new_words

    def correct(self, word: str) -> tuple[str, ...]:
        """What an unknown word was meant to be: itself if nothing tells."""
        mended = self.mended.get(word)
        if mended is None:
            if len(self.mended) >= MAX_MENDED:
                self.known -= self.unmended
                self.unmended.clear()
                self.mended.clear()
            self.mended[word] = mended = self._correct(word)
            if mended == (word,):
                self.unmended.add(word)
                self.known.add(word)
        return mended

    def _correct(self, word: str) -> tuple[str, ...]:
        if word in CONTRACTIONS:
            return CONTRACTIONS[word]
        without_apostrophe = word.replace("'", "")
        if "'" in word and without_apostrophe in self.known and without_apostrophe in self.joined:  # t'shirt
            return (without_apostrophe,)
        if not LETTERS.fullmatch(word):
            return (word,)
        if word in self.joined:
            return (self.joined[word],)
        if word in WITHOUT_APOSTROPHE:
            return (f"{word[:-1]}'s",)
        if word in REAL_WORDS:
            return (word,)
        if word.endswith("ish"):  # blueish, tannish
            stem = next((stem for stem in (word[:-3], f"{word[:-3]}e", word[:-4]) if stem in self.beginnings), "")
            return (stem or word,)
        if word[0] == "a" and word[1:] in self.beginnings:  # ablue
            return "a", word[1:]
        for at in range(3, len(word) - 2):
            if word[:at] in self.beginnings and word[at:] in self.endings:
                return word[:at], word[at:]
        return (self.one_edit(word) or word,)

    def one_edit(self, word: str) -> str:
        """The only target that is one edit from `word`; empty if there is none, or several that mean different things."""
        candidates = {target for form in {word, *_deletions(word)} for target in self.by_deletion.get(form, ())}
        by_likelihood: dict[int, list[str]] = {}
        for target in sorted(candidates):
            likelihood = edit(word, target)
            if likelihood is not None and _is_plausible(word, target, likelihood):
                by_likelihood.setdefault(likelihood, []).append(target)
        for likelihood in (SURE, LIKELY, POSSIBLE):
            targets = by_likelihood.get(likelihood, [])
            if targets:
                others = [target for each in by_likelihood.values() for target in each] if likelihood != SURE else targets
                return targets[0] if len({self.meaning(target) for target in others}) == 1 else ""
        return ""


def edit(word: str, target: str) -> int | None:
    """How likely it is that one edit made `word` of `target`: SURE, LIKELY or POSSIBLE; None if it takes more than one."""
    if abs(len(word) - len(target)) > 1 or word == target:
        return None
    at = next((at for at, (a, b) in enumerate(zip(word, target, strict=False)) if a != b), min(len(word), len(target)))
    if len(word) == len(target):
        if word[at : at + 2] == target[at : at + 2][::-1] and word[at + 2 :] == target[at + 2 :]:
            return SURE
        return POSSIBLE if word[at + 1 :] == target[at + 1 :] else None
    if len(word) > len(target):
        if word[at + 1 :] != target[at:]:
            return None
        return SURE if at and word[at] == word[at - 1] else POSSIBLE
    return LIKELY if word[at:] == target[at + 1 :] else None


def _is_plausible(word: str, target: str, likelihood: int) -> bool:
    """Whether one edit is evidence enough: the shorter a word, the more others are one edit from it."""
    if likelihood == SURE or len(target) >= 5:
        return True
    if len(target) < 4:
        return False
    if likelihood == LIKELY:
        return word[0] == target[0]
    return len(word) == len(target) and any(a != b and b in NEIGHBORS[a] for a, b in zip(word, target, strict=True))


def _deletions(word: str) -> set[str]:
    return {word[:at] + word[at + 1 :] for at in range(len(word))}
