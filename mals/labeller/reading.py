"""What a caption says about its subject, before an attribute space turns it into values. Positions count the words of the caption."""

from dataclasses import dataclass, field

from mals.labeller.noun_phrases import NounPhrase


@dataclass(slots=True)
class ClothingItem:
    """Something that the subject wears or carries, or that a negation says it does not."""

    phrase: NounPhrase
    start: int  # position of the first word of the phrase
    end: int  # position after its last word
    colors: list[tuple[str, int]]  # with their positions
    negation: int = -1  # position of the word that negates it
    ignored: bool = False  # held, on a hanger or someone else's: it decides nothing
    later_words: list[tuple[str, int]] = field(default_factory=list)  # that describe it after its phrase: "her skirt is long"
    sleeves: tuple[str, int] | None = None  # the word that describes its sleeves


@dataclass(slots=True)
class Reading:
    """What a caption says about its subject."""

    items: list[ClothingItem] = field(default_factory=list)
    hair: list[tuple[str, int]] = field(default_factory=list)  # words that describe the hair
    values: list[tuple[int, int, int]] = field(default_factory=list)  # (attribute, value, position) from nouns and adjectives of the person
    pronouns: list[int] = field(default_factory=list)  # positions
    pronoun_gender: str = ""
    colors: list[tuple[str, int]] = field(default_factory=list)  # of a person "in red"
    sleeves: list[tuple[str, int]] = field(default_factory=list)  # words that describe sleeves without a garment
