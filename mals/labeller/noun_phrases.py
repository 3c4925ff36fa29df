"""Noun phrases: which words of a phrase is its head, and what the others say of it."""

import re
from dataclasses import dataclass, field

from mals.labeller import lexicon
from mals.labeller.tags import Vocabulary, listed

WORN, HAIR, PART, PERSON, FIGURE, THING, COLOR, QUALITY = "GHTPANCa"
INDEFINITE = frozenset(lexicon.INDEFINITE.split())
OTHERS = frozenset(lexicon.OTHERS.split())
SHADES = frozenset(lexicon.SHADES.split())
COLOURED_PARTS = frozenset(listed(lexicon.COLOURED_PARTS))
ANIMALS = frozenset(listed(lexicon.ANIMALS))
COLLECTIVE = frozenset(lexicon.COLLECTIVE.split())
NAME = re.compile("^[^C]*C[NUT]G$")
MATCHING = frozenset(("matching", "coordinating"))


@dataclass(slots=True)
class Noun:
    """One noun phrase, or colours or qualities that stand alone; positions count words from the phrase's first."""

    kind: str
    head: str = ""  # singular
    at: int = 0  # of the head
    plural: bool = False
    article: str = ""  # "a", "the", "his" (any possessive) or none
    owner: str = ""  # his, her, the woman's
    colors: tuple[tuple[str, int], ...] = ()
    words: frozenset[str] = frozenset()  # all but the head
    qualified: bool = False  # has an adjective that is no colour
    matching: bool = False
    other: bool = False  # "another man"
    part: str = ""  # of the body that a garment is worn on
    sex: str = ""  # of a person
    says: list[tuple[int, int]] = field(default_factory=list)  # (attribute, value) of a person or garment
    sleeves: str = ""
    default: str = ""  # the colour that a garment has where none is said
    carried: bool = False  # counts when it is held, too


class Nouns:
    """Analyses phrases, each spelling once."""

    MOST = 200_000  # phrases remembered: memory stays flat on any input

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self.known: dict[str, Noun] = {}

    def __call__(self, words: list[str], tags: str) -> Noun:
        key = " ".join(words)
        noun = self.known.get(key)
        if noun is None:
            if len(self.known) >= self.MOST:
                self.known.clear()
            self.known[key] = noun = self._read(words, tags)
        return noun

    def _read(self, words: list[str], tags: str) -> Noun:
        vocabulary = self.vocabulary
        head = len(words) - 1
        kind = tags[head]
        if kind not in "GHTPANU":
            kind = COLOR if "C" in tags else QUALITY
            head = len(words)
        elif kind == "U":
            kind = THING
        word = words[head] if head < len(words) else ""
        noun = Noun(kind, vocabulary.base.get(word, word), head, colors=self._colors(words[:head], tags[:head]))
        noun.plural = word != noun.head or (word.endswith("s") and not word.endswith("ss"))
        noun.words = frozenset(words[:head])
        self._article(noun, words, tags[:head])
        noun.matching = not MATCHING.isdisjoint(noun.words)
        noun.other = not OTHERS.isdisjoint(noun.words)
        noun.qualified = any(tag in "MQIT" for tag in tags[:head])
        noun.sleeves = next((vocabulary.sleeves[word] for word in words if word in vocabulary.sleeves), "")
        if kind == WORN:
            self._garment(noun, words, tags)
        elif kind == PERSON:
            self._person(noun, words, tags)
        elif kind == PART:
            self._part(noun, words, tags)
        return noun

    def _article(self, noun: Noun, words: list[str], tags: str) -> None:
        for word, tag in zip(words, tags, strict=False):
            if tag == "S":
                noun.article, noun.owner = noun.article if noun.article == "a" else "his", word
                return
            if tag == "D" and not noun.article:
                noun.article = "a" if word in INDEFINITE or " of" in word or word[0].isdigit() else "the"

    def _colors(self, words: list[str], tags: str) -> tuple[tuple[str, int], ...]:
        """Colours with their places; a shade right before a colour only narrows it down."""
        found = []
        for at, tag in enumerate(tags):
            if tag == "C" and not (words[at] in SHADES and tags[at + 1 : at + 2] == "C" and words[at + 1] != words[at]):
                found.append((self.vocabulary.color[words[at]], at))
        return tuple(found)

    def _garment(self, noun: Noun, words: list[str], tags: str) -> None:
        vocabulary = self.vocabulary
        noun.part = vocabulary.part[noun.head]
        if NAME.search(tags[: noun.at + 1]) and words[noun.at - 1].endswith("s"):  # "a White Stripes t-shirt"
            noun.colors = ()
        noun.carried = noun.head in vocabulary.carried
        noun.says = self.garment_says(noun.head, noun.part, noun.words)
        if not noun.says and noun.part == "lower" and " " in noun.head:  # "dress pants" are pants
            noun.says = self.garment_says(noun.head.rsplit(" ", 1)[1], "lower", noun.words)
        said = {attribute for attribute, _ in noun.says}
        alone = noun.part != "lower" or not said  # a jean skirt is no jeans
        for word, tag in zip(words[: noun.at], tags, strict=False):
            base = vocabulary.base.get(word, word)
            if tag == "G" and vocabulary.part[base] == noun.part and alone:  # "hoodie sweatshirt", "jean shorts"
                noun.says += [(a, v) for a, v in self.garment_says(base, noun.part, noun.words) if a not in said]
        defaults = vocabulary.space.default_colors
        noun.default = next((defaults[word] for word in (noun.head, *words[: noun.at]) if word in defaults), "")

    def garment_says(self, head: str, part: str, words: frozenset[str]) -> list[tuple[int, int]]:
        """What a garment says with these words said of it: an entry with a quality outweighs one without."""
        vocabulary = self.vocabulary
        found: dict[int, int] = {}
        roles = ("worn", "thing") if part == "apart" else (part,)
        for quality in (True, False):
            for role in roles:
                for needed, attribute, value in vocabulary.says.get(role, {}).get(head, ()):
                    if bool(needed) == quality and (not needed or needed in words):
                        found.setdefault(attribute, value)
        for role in {"upper": ("on_upper",), "lower": ("on_lower",), "whole": ("on_upper", "on_lower")}.get(part, ()):
            said = vocabulary.says.get(role)
            for word in words if said else ():
                for _, attribute, value in said.get(word, ()):  # type: ignore[union-attr]
                    found.setdefault(attribute, value)
        return list(found.items())

    def _person(self, noun: Noun, words: list[str], tags: str) -> None:
        vocabulary = self.vocabulary
        nouns, adjectives = vocabulary.says.get("person", {}), vocabulary.about
        found: dict[int, list[int]] = {}
        for word, tag in zip(words, tags, strict=True):
            if tag in "PS":
                base = vocabulary.base.get(word, word)
                for _, attribute, value in nouns.get(base, ()):
                    found.setdefault(attribute, []).append(value)
        for word in words[: noun.at]:
            for _, attribute, value in adjectives.get(word, ()):
                found.setdefault(attribute, []).append(value)
        sexes = [vocabulary.sex[base] for word in words[::-1] if (base := vocabulary.base.get(word, word)) in vocabulary.sex]
        noun.sex = sexes[0] if sexes else ""
        noun.says = [(attribute, self.chosen(attribute, values)) for attribute, values in found.items()]

    def chosen(self, attribute: int, values: list[int]) -> int:
        """Of what the words of one mention say the preferred, or else the last, which is the head's or nearest to it."""
        space = self.vocabulary.space
        wins = space.prefer.get(space.names[attribute])
        best = space.values[attribute].index(wins) if wins else values[-1]
        return best if best in values else values[-1]

    def _part(self, noun: Noun, words: list[str], tags: str) -> None:
        """Sleeves; and the strap of a bag, which is a bag."""
        vocabulary = self.vocabulary
        sleeves = vocabulary.says.get("sleeves", {})
        if noun.head == "sleeve":
            noun.sleeves = next((word for word in words[: noun.at] if word in sleeves), "")
        for word, tag in zip(words[: noun.at], tags, strict=False):
            base = vocabulary.base.get(word, word)
            if tag == "G" and vocabulary.part[base] == "apart":
                noun.kind, noun.head, noun.part, noun.carried = WORN, base, "apart", True
                noun.says = self.garment_says(base, "apart", frozenset())
