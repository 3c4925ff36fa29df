"""Noun phrases: which word of a phrase is its head, and what the other words say about it."""

from dataclasses import dataclass, field

from mals.labeller import tags
from mals.labeller.lexicon import adjectives, function_words, nouns
from mals.labeller.tags import CLOTHING, COLOR, DETERMINER, GARMENT_PART, MODIFIER, OTHER_NOUN, PERSON, POSSESSIVE, UNKNOWN_WORD
from mals.labeller.vocabulary import Vocabulary, split_list

QUALITY = "a"  # the kind of a phrase of adjectives alone; all other kinds are tags
HEAD_TAGS = CLOTHING + tags.HAIR + GARMENT_PART + PERSON + tags.NON_PERSON + OTHER_NOUN + UNKNOWN_WORD
ADJECTIVE_TAGS = MODIFIER + tags.QUALIFIER + tags.ING_FORM + GARMENT_PART  # that are no colour
INDEFINITE_DETERMINERS = frozenset(function_words.INDEFINITE_DETERMINERS.split())
BYSTANDER_ADJECTIVES = frozenset(adjectives.BYSTANDER_ADJECTIVES.split())
SHADES = frozenset(adjectives.SHADES.split())
COLORED_PARTS = frozenset(split_list(nouns.COLORED_PARTS))
ANIMALS = frozenset(split_list(nouns.ANIMALS))
COLLECTIVE_PERSONS = frozenset(nouns.COLLECTIVE_PERSONS.split())
BAND_NAME = tags.compile_pattern(f"^[^{COLOR}]*<color><other_noun unknown_word garment_part><clothing>$")
MATCHING = frozenset(("matching", "coordinating"))


@dataclass(slots=True)
class NounPhrase:
    """One noun phrase, or colours or adjectives without a noun; positions count words from the first of the phrase."""

    kind: str  # the tag of the head; COLOR or QUALITY without a noun
    head: str = ""  # singular; empty without a noun
    head_position: int = 0
    plural: bool = False
    article: str = ""  # "a" (indefinite), "the", "his" (any possessive) or none
    possessor: str = ""  # his, her, the woman's
    colors: tuple[tuple[str, int], ...] = ()  # with their positions
    modifiers: frozenset[str] = frozenset()  # all words before the head
    has_adjective: bool = False  # one that is no colour
    matching: bool = False  # "matching trousers" have the colour of the garment before them
    bystander: bool = False  # "another man" is not the subject
    coverage: str = ""  # of clothing: upper, lower, full_body or accessory
    gender: str = ""  # of a person: woman or man
    meanings: list[tuple[int, int]] = field(default_factory=list)  # (attribute, value) of a person or of clothing
    sleeves: str = ""  # the word of the space that describes the sleeves
    default_color: str = ""  # of clothing without a named colour
    counts_if_held: bool = False  # a bag does, a hat does not


class PhraseAnalyser:
    """Analyses noun phrases; remembers each spelling."""

    MAX_PHRASES = 200_000  # that are remembered: bounds the memory for any input

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self.phrases: dict[str, NounPhrase] = {}

    def analyse(self, words: list[str], word_tags: str) -> NounPhrase:
        """The phrase that these words form; callers must not change it."""
        key = " ".join(words)
        phrase = self.phrases.get(key)
        if phrase is None:
            if len(self.phrases) >= self.MAX_PHRASES:
                self.phrases.clear()
            self.phrases[key] = phrase = self._analyse(words, word_tags)
        return phrase

    def _analyse(self, words: list[str], word_tags: str) -> NounPhrase:
        vocabulary = self.vocabulary
        head = len(words) - 1
        kind = word_tags[head]
        if kind not in HEAD_TAGS:
            kind = COLOR if COLOR in word_tags else QUALITY
            head = len(words)
        elif kind == UNKNOWN_WORD:
            kind = OTHER_NOUN
        word = words[head] if head < len(words) else ""
        phrase = NounPhrase(kind, vocabulary.singular_of.get(word, word), head, colors=self._colors(words[:head], word_tags[:head]))
        phrase.plural = word != phrase.head or (word.endswith("s") and not word.endswith("ss"))
        phrase.modifiers = frozenset(words[:head])
        self._set_article(phrase, words, word_tags[:head])
        phrase.matching = not MATCHING.isdisjoint(phrase.modifiers)
        phrase.bystander = not BYSTANDER_ADJECTIVES.isdisjoint(phrase.modifiers)
        phrase.has_adjective = any(tag in ADJECTIVE_TAGS for tag in word_tags[:head])
        phrase.sleeves = next((vocabulary.sleeves[word] for word in words if word in vocabulary.sleeves), "")
        if kind == CLOTHING:
            self._analyse_clothing(phrase, words, word_tags)
        elif kind == PERSON:
            self._analyse_person(phrase, words, word_tags)
        elif kind == GARMENT_PART:
            self._analyse_part(phrase, words, word_tags)
        return phrase

    def _set_article(self, phrase: NounPhrase, words: list[str], word_tags: str) -> None:
        for word, tag in zip(words, word_tags, strict=False):
            if tag == POSSESSIVE:
                phrase.article, phrase.possessor = phrase.article if phrase.article == "a" else "his", word
                return
            if tag == DETERMINER and not phrase.article:
                phrase.article = "a" if word in INDEFINITE_DETERMINERS or " of" in word or word[0].isdigit() else "the"

    def _colors(self, words: list[str], word_tags: str) -> tuple[tuple[str, int], ...]:
        """The colours and their positions; a shade directly before another colour only refines that colour."""
        colors = []
        for at, tag in enumerate(word_tags):
            if tag == COLOR and not (words[at] in SHADES and word_tags[at + 1 : at + 2] == COLOR and words[at + 1] != words[at]):
                colors.append((self.vocabulary.color_of[words[at]], at))
        return tuple(colors)

    def _analyse_clothing(self, phrase: NounPhrase, words: list[str], word_tags: str) -> None:
        vocabulary = self.vocabulary
        phrase.coverage = vocabulary.coverage_of[phrase.head]
        if BAND_NAME.search(word_tags[: phrase.head_position + 1]) and words[phrase.head_position - 1].endswith("s"):
            phrase.colors = ()  # "a White Stripes t-shirt"
        phrase.counts_if_held = phrase.head in vocabulary.items
        phrase.meanings = self.clothing_meanings(phrase.head, phrase.coverage, phrase.modifiers)
        if not phrase.meanings and phrase.coverage == "lower" and " " in phrase.head:  # "dress pants" are pants
            phrase.meanings = self.clothing_meanings(phrase.head.rsplit(" ", 1)[1], "lower", phrase.modifiers)
        known = {attribute for attribute, _ in phrase.meanings}
        if phrase.coverage != "lower" or not known:  # a jean skirt is no jeans
            for word, tag in zip(words[: phrase.head_position], word_tags, strict=False):
                garment = vocabulary.singular_of.get(word, word)
                if tag == CLOTHING and vocabulary.coverage_of[garment] == phrase.coverage:  # "hoodie sweatshirt", "jean shorts"
                    meanings = self.clothing_meanings(garment, phrase.coverage, phrase.modifiers)
                    phrase.meanings += [(attribute, value) for attribute, value in meanings if attribute not in known]
        colors = vocabulary.space.default_colors
        phrase.default_color = next((colors[word] for word in (phrase.head, *words[: phrase.head_position]) if word in colors), "")

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

    def _analyse_person(self, phrase: NounPhrase, words: list[str], word_tags: str) -> None:
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
        phrase.gender = next((vocabulary.gender_of[word] for word in singulars if word in vocabulary.gender_of), "")
        phrase.meanings = [(attribute, self._choose(attribute, values)) for attribute, values in values_of.items()]

    def _choose(self, attribute: int, values: list[int]) -> int:
        """Of the values that the words of one phrase express: the one that the space prefers, else the last, which is next to the head."""
        space = self.vocabulary.space
        name = space.names[attribute]
        if name in space.preferred and (preferred := space.values[attribute].index(space.preferred[name])) in values:
            return preferred
        return values[-1]

    def _analyse_part(self, phrase: NounPhrase, words: list[str], word_tags: str) -> None:
        """Sleeves have a length; the strap of a bag counts as the bag."""
        vocabulary = self.vocabulary
        if phrase.head == "sleeve":
            sleeves = vocabulary.meanings.get("sleeves", {})
            phrase.sleeves = next((word for word in words[: phrase.head_position] if word in sleeves), "")
        for word, tag in zip(words[: phrase.head_position], word_tags, strict=False):
            garment = vocabulary.singular_of.get(word, word)
            if tag == CLOTHING and vocabulary.coverage_of[garment] == "accessory":
                phrase.kind, phrase.head, phrase.coverage, phrase.counts_if_held = CLOTHING, garment, "accessory", True
                phrase.meanings = self.clothing_meanings(garment, "accessory", frozenset())
