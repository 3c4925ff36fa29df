"""What a caption says about its subject, before an attribute space decides what that means."""

from dataclasses import dataclass, field

from mals.labeller.noun_phrases import Noun


@dataclass(slots=True)
class Worn:
    """A garment or thing of the subject; places count the words of the caption."""

    noun: Noun
    at: int  # of the phrase
    end: int
    colors: list[tuple[str, int]]
    denied: int = -1  # the place of the word that denies it
    lost: bool = False  # held, on a hanger or somebody else's: it says nothing
    words: list[tuple[str, int]] = field(default_factory=list)  # said of it later: "her skirt is long"
    sleeves: tuple[str, int] | None = None


@dataclass(slots=True)
class Reading:
    """What a caption says about its subject."""

    worn: list[Worn] = field(default_factory=list)
    hair: list[tuple[str, int]] = field(default_factory=list)  # qualities with their places
    said: list[tuple[int, int, int]] = field(default_factory=list)  # (attribute, value, place) of the person
    pronouns: list[int] = field(default_factory=list)  # places
    sex: str = ""  # as pronouns tell
    colors: list[tuple[str, int]] = field(default_factory=list)  # of a person "in red"
    sleeves: list[tuple[str, int]] = field(default_factory=list)
