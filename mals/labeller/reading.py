"""What a caption says about its subject, before an attribute space turns it into values. Positions count the words of the caption."""

from dataclasses import dataclass, field
from typing import NamedTuple

from mals.labeller.noun_phrases import ColorAt, NounPhrase


class WordAt(NamedTuple):
    """A word and its position in the caption."""

    word: str
    position: int


class ValueAt(NamedTuple):
    """A value of an attribute, and the position of the word that expresses it."""

    attribute: int
    value: int
    position: int


@dataclass(slots=True)
class ClothingItem:
    """Something that the subject wears or carries, or that a negation says it does not."""

    phrase: NounPhrase
    start: int  # position of the first word of the phrase
    end: int  # position after its last word
    colors: list[ColorAt]
    negation: int = -1  # position of the word that negates it
    ignored: bool = False  # held, on a hanger or someone else's: it decides nothing
    later_words: list[WordAt] = field(default_factory=list)  # that describe it after its phrase: "her skirt is long"
    sleeves: WordAt | None = None  # the word that describes its sleeves

    @property
    def has_color(self) -> bool:
        """Whether its colour is known, by a word or by what it is: jeans."""
        return bool(self.colors or self.phrase.default_color)


@dataclass(slots=True)
class Reading:
    """What a caption says about its subject."""

    items: list[ClothingItem] = field(default_factory=list)
    hair: list[WordAt] = field(default_factory=list)  # words that describe the hair
    values: list[ValueAt] = field(default_factory=list)  # from nouns and adjectives of the person
    pronouns: list[int] = field(default_factory=list)  # positions
    pronoun_gender: str = ""
    colors: list[ColorAt] = field(default_factory=list)  # of a person "in red"
    sleeves: list[WordAt] = field(default_factory=list)  # words that describe sleeves without a garment
