"""Noun phrases: which word of a phrase is its head, and what the other words say about it."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from mals.labeller import tags
from mals.labeller.lexicon import adjectives, function_words, nouns
from mals.labeller.tags import CLOTHING, COLOR, DETERMINER, GARMENT_PART, MODIFIER, OTHER_NOUN, PERSON, POSSESSIVE, UNKNOWN_WORD
from mals.labeller.vocabulary import Vocabulary, split_list

DETERMINERS = DETERMINER + tags.PARTITIVE
QUALITY = "a"  # the kind of a phrase of adjectives alone; all other kinds are tags
NAMED_BY_COLOR = (CLOTHING, tags.HAIR)
HEAD_TAGS = CLOTHING + tags.HAIR + GARMENT_PART + PERSON + tags.NON_PERSON + OTHER_NOUN + UNKNOWN_WORD
ADJECTIVE_TAGS = MODIFIER + tags.QUALIFIER + tags.ING_FORM + GARMENT_PART  # that are no colour
INDEFINITE_DETERMINERS = frozenset(function_words.INDEFINITE_DETERMINERS.split())
BYSTANDER_ADJECTIVES = frozenset(adjectives.BYSTANDER_ADJECTIVES.split())
SHADES = frozenset(adjectives.SHADES.split())
COLORED_PARTS = frozenset(split_list(nouns.COLORED_PARTS))
ANIMALS = frozenset(split_list(nouns.ANIMALS))
COLLECTIVE_PERSONS = frozenset(nouns.COLLECTIVE_PERSONS.split())
BAND_NAME = tags.compile_pattern(f"^[^{COLOR}]*<color><other_noun unknown_word garment_part><clothing>$")
UPPER_ADJECTIVES = frozenset(split_list(adjectives.UPPER_ADJECTIVES))
UPPER_BEFORE_LOWER = frozenset(split_list(nouns.UPPER_BEFORE_LOWER))
LOWER_BEFORE_UPPER = frozenset(["pants", "shorts", "trousers", "leggings"])
SEPARATORS = (tags.AND, tags.COMMA)
MATCHING = frozenset(("matching", "coordinating", "so is", "so are", "as is", "as are"))


class ColorAt(NamedTuple):
    """A colour and the position of its word."""

    color: str
    position: int


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """One noun phrase, or colours or adjectives without a noun; positions count words from the first of the phrase."""

    kind: str  # the tag of the head; COLOR or QUALITY without a noun
    head: str = ""  # singular; empty without a noun
    head_position: int = 0
    plural: bool = False
    article: str = ""  # "a" (indefinite), "the", "his" (any possessive) or none
    possessor: str = ""  # his, her, the woman's
    colors: tuple[ColorAt, ...] = ()
    modifiers: frozenset[str] = frozenset()  # all words before the head
    has_adjective: bool = False  # one that is no colour
    matching: bool = False  # "matching trousers" have the colour of the garment before them
    bystander: bool = False  # "another man" is not the subject
    coverage: str = ""  # of clothing, also without its noun: upper, lower, full_body or accessory
    gender: str = ""  # of a person: woman or man
    meanings: tuple[tuple[int, int], ...] = ()  # (attribute, value) of a person or of clothing
    sleeves: str = ""  # the word of the space that describes the sleeves
    default_color: str = ""  # of clothing without a named colour
    counts_if_held: bool = False  # a bag does, a hat does not
    parts: tuple[int, int] = (0, 0)  # where two garments are: the end of the first and the start of the second; (0, 0) if it is one
    lacks_noun: bool = False  # adjectives that only a garment has: "a red long sleeve"


class PhraseAnalyser:
    """Analyses noun phrases; remembers each spelling."""

    MAX_PHRASES = 200_000  # that are remembered: bounds the memory for any input

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self.phrases: dict[str, NounPhrase] = {}

    def analyse(self, words: list[str], word_tags: str) -> NounPhrase:
        """The phrase that these words form."""
        key = " ".join(words)
        phrase = self.phrases.get(key)
        if phrase is None:
            if len(self.phrases) >= self.MAX_PHRASES:
                self.phrases.clear()
            self.phrases[key] = phrase = self._analyse(words, word_tags)
        return phrase

    def _analyse(self, words: list[str], word_tags: str) -> NounPhrase:
        vocabulary = self.vocabulary
        if word_tags[-1] == tags.COLOR_NOUN and word_tags[-2:-1] in NAMED_BY_COLOR:  # "his shirt color"
            words, word_tags = words[:-1], word_tags[:-1]
        head = len(words) - 1
        kind = word_tags[head]
        if kind not in HEAD_TAGS:
            kind = COLOR if COLOR in word_tags else QUALITY
            head = len(words)
        elif kind == UNKNOWN_WORD:
            kind = OTHER_NOUN
        word = words[head] if head < len(words) else ""
        singular = vocabulary.singular_of.get(word, word)
        modifiers = frozenset(words[:head])
        article, possessor = _article(words, word_tags[:head])
        phrase = NounPhrase(
            kind=kind,
            head=singular,
            head_position=head,
            plural=word != singular or (word.endswith("s") and not word.endswith("ss")),
            article=article,
            possessor=possessor,
            colors=self._colors(words[:head], word_tags[:head]),
            modifiers=modifiers,
            has_adjective=any(tag in ADJECTIVE_TAGS for tag in word_tags[:head]),
            matching=not MATCHING.isdisjoint(modifiers),
            bystander=not BYSTANDER_ADJECTIVES.isdisjoint(modifiers),
            sleeves=next((vocabulary.sleeves[word] for word in words if word in vocabulary.sleeves), ""),
        )
        if kind in (COLOR, QUALITY):
            if words[-1] in vocabulary.sleeves or words[-1] in UPPER_ADJECTIVES:
                return replace(phrase, lacks_noun=True, coverage="upper")
            return phrase
        if kind == CLOTHING:
            return self._analyse_clothing(phrase, words, word_tags)
        if kind == PERSON:
            return self._analyse_person(phrase, words, word_tags)
        if kind == GARMENT_PART:
            return self._analyse_part(phrase, words, word_tags)
        return phrase

    def _colors(self, words: list[str], word_tags: str) -> tuple[ColorAt, ...]:
        """The colours and their positions; a shade directly before another colour only refines that colour."""
        colors = []
        for at, tag in enumerate(word_tags):
            if tag == COLOR and not (words[at] in SHADES and word_tags[at + 1 : at + 2] == COLOR and words[at + 1] != words[at]):
                colors.append(ColorAt(self.vocabulary.color_of[words[at]], at))
        return tuple(colors)

    def _analyse_clothing(self, phrase: NounPhrase, words: list[str], word_tags: str) -> NounPhrase:
        vocabulary, head = self.vocabulary, phrase.head_position
        coverage = vocabulary.coverage_of[phrase.head]
        if phrase.head == "hood up" and word_tags[head - 1 : head] == CLOTHING:  # "a black hoodie hood up"
            hooded = self._analyse(words[:head], word_tags[:head])
            return replace(hooded, meanings=(*hooded.meanings, *self.clothing_meanings("hood up", "accessory", frozenset())))
        is_band_name = BAND_NAME.search(word_tags[: head + 1]) and words[head - 1].endswith("s")  # "a White Stripes t-shirt"
        meanings = self.clothing_meanings(phrase.head, coverage, phrase.modifiers)
        general = phrase.head.rpartition(" ")[2]
        if not meanings and general != phrase.head and (coverage == "lower" or general == "dress"):  # "dress pants" are pants
            meanings = self.clothing_meanings(general, coverage, phrase.modifiers)
        known = {attribute for attribute, _ in meanings}
        if coverage != "lower" or not known:  # a jean skirt is no jeans
            for word, tag in zip(words[:head], word_tags, strict=False):
                garment = vocabulary.singular_of.get(word, word)
                if tag == CLOTHING and vocabulary.coverage_of[garment] == coverage:  # "hoodie sweatshirt", "jean shorts"
                    others = self.clothing_meanings(garment, coverage, phrase.modifiers)
                    meanings += [(attribute, value) for attribute, value in others if attribute not in known]
        if coverage not in ("upper", "full_body") or any(word in LOWER_BEFORE_UPPER for word in words[:head]):
            parts = self._two_garments(words[: head + 1], word_tags, coverage)
            if parts is not None:
                return replace(phrase, parts=parts)
        colors = vocabulary.space.default_colors
        return replace(
            phrase,
            coverage=coverage,
            colors=() if is_band_name else phrase.colors,
            counts_if_held=phrase.head in vocabulary.items,
            meanings=tuple(meanings),
            default_color=next((colors[word] for word in (phrase.head, *words[:head]) if word in colors), ""),
        )

    def _two_garments(self, words: list[str], word_tags: str, coverage: str) -> tuple[int, int] | None:
        """Where the first of two garments ends and the second begins, if a phrase is two: "a long sleeve, jeans", "black jacket jeans"."""
        for at in range(1, len(words) - 1):
            if word_tags[at] in SEPARATORS and words[at - 1] in self.vocabulary.sleeves:
                return at, at + 1
            other = LOWER_BEFORE_UPPER if coverage in ("upper", "full_body") else UPPER_BEFORE_LOWER if coverage == "lower" else ()
            if word_tags[at] == CLOTHING and words[at] in other:
                return at + 1, at + 1
        return None

    def clothing_meanings(self, head: str, coverage: str, modifiers: frozenset[str]) -> list[tuple[int, int]]:
        """The pairs (attribute, value) that clothing with these modifiers means; a lexicon entry with a quality has priority."""
        all_meanings = self.vocabulary.meanings
        value_of: dict[int, int] = {}
        roles = ("accessory", "item") if coverage == "accessory" else (coverage,)
        for with_quality in (True, False):
            for role in roles:
                for quality, attribute, value in all_meanings.get(role, {}).get(head, ()):
                    if bool(quality) == with_quality and (not quality or quality in modifiers):
                        value_of.setdefault(attribute, value)
        for half in {"upper": ("upper",), "lower": ("lower",), "full_body": ("upper", "lower")}.get(coverage, ()):
            details = all_meanings.get(f"{half}_detail", {})
            for word in modifiers if details else ():
                for _, attribute, value in details.get(word, ()):
                    value_of.setdefault(attribute, value)
        return list(value_of.items())

    def _analyse_person(self, phrase: NounPhrase, words: list[str], word_tags: str) -> NounPhrase:
        vocabulary = self.vocabulary
        person_nouns = vocabulary.meanings.get("person", {})
        values_of: dict[int, list[int]] = {}
        for word, tag in zip(words, word_tags, strict=True):
            if tag in (PERSON, POSSESSIVE):
                for _, attribute, value in person_nouns.get(vocabulary.singular_of.get(word, word), ()):
                    values_of.setdefault(attribute, []).append(value)
        for word in words[: phrase.head_position]:
            for _, attribute, value in vocabulary.adjectives.get(word, ()):
                values_of.setdefault(attribute, []).append(value)
        singulars = (vocabulary.singular_of.get(word, word) for word in words[::-1])
        gender = next((vocabulary.gender_of[word] for word in singulars if word in vocabulary.gender_of), "")
        meanings = tuple((attribute, self._choose(attribute, values)) for attribute, values in values_of.items())
        return replace(phrase, gender=gender, meanings=meanings)

    def _choose(self, attribute: int, values: list[int]) -> int:
        """Of the values that the words of one phrase express: the one that the space prefers, else the last, which is next to the head."""
        space = self.vocabulary.space
        name = space.names[attribute]
        if name in space.preferred and (preferred := space.values[attribute].index(space.preferred[name])) in values:
            return preferred
        return values[-1]

    def _analyse_part(self, phrase: NounPhrase, words: list[str], word_tags: str) -> NounPhrase:
        """Sleeves have a length; the strap of a bag counts as the bag."""
        vocabulary, before_head = self.vocabulary, words[: phrase.head_position]
        if phrase.head == "sleeve":
            sleeves = vocabulary.meanings.get("sleeves", {})
            phrase = replace(phrase, sleeves=next((word for word in before_head if word in sleeves), ""))
        for word, tag in zip(before_head, word_tags, strict=False):
            garment = vocabulary.singular_of.get(word, word)
            if tag == CLOTHING and vocabulary.coverage_of[garment] == "accessory":
                meanings = tuple(self.clothing_meanings(garment, "accessory", frozenset()))
                phrase = replace(phrase, kind=CLOTHING, head=garment, coverage="accessory", counts_if_held=True, meanings=meanings)
        return phrase


def _article(words: list[str], word_tags: str) -> tuple[str, str]:
    """Article and possessor of a phrase, as in NounPhrase."""
    article = ""
    for word, tag in zip(words, word_tags, strict=False):
        if tag == POSSESSIVE:
            return article if article == "a" else "his", word
        if tag in DETERMINERS and not article:
            article = "a" if word in INDEFINITE_DETERMINERS or " of" in word or word[0].isdigit() else "the"
    return article, ""
