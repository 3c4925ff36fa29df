"""The values of the attributes, from what a caption says: explicit values by the words of an attribute space, then the implicit ones."""

from collections.abc import Sequence

from mals.labeller.noun_phrases import ColorAt, PhraseAnalyser
from mals.labeller.reading import ClothingItem, Reading
from mals.labeller.vocabulary import Vocabulary

SOURCES = ("unknown", "explicit", "implicit")
UNKNOWN, EXPLICIT, IMPLICIT = range(3)  # indices into SOURCES
HALVES = {"upper": ("upper",), "lower": ("lower",), "full_body": ("upper", "lower"), "accessory": ()}  # by coverage
Evidence = dict[int, list[int]]  # attribute -> the positions of the words that decided its value


class Decider:
    """Decides the values of one attribute space; holds its tables by attribute index."""

    def __init__(self, vocabulary: Vocabulary, analyser: PhraseAnalyser):
        space = vocabulary.space
        self.space, self.analyser = space, analyser
        self.attributes = len(space.names)
        index = {name: at for at, name in enumerate(space.names)}
        self.not_mentioned = [space.value_if_not_mentioned(at) for at in range(self.attributes)]  # -1: unknown
        self.preferred = {index[name]: space.values[index[name]].index(value) for name, value in space.preferred.items()}
        self.color_groups = [
            (group.half, {color: index[name] for color, name in group.colors.items()}) for group in space.color_groups.values()
        ]
        self.sleeves: dict[str, dict[int, int]] = {  # word -> attribute -> value
            words: {attribute: value for _, attribute, value in meanings}
            for words, meanings in vocabulary.meanings.get("sleeves", {}).items()
        }
        self.hair = _values_of(vocabulary, "hair")
        self.pronouns = _values_of(vocabulary, "pronoun")

    def decide(self, reading: Reading, words: list[str], evidence: Evidence | None = None) -> tuple[list[int], list[int]]:
        """Values and sources of one caption, [A] each: numbers as in Space.values, -1 if unknown, and indices into SOURCES.

        Adds to `evidence`, if given, the positions of the words that decided each value.
        """
        decision = Decision(self, evidence)
        for attribute, value, at in reading.values:
            decision.set(attribute, value, at)
        for at in reading.pronouns:
            for attribute, value in self.pronouns.get(words[at].split("'")[0], ()):
                if not decision.sources[attribute]:
                    decision.set(attribute, value, at)
        for word, at in reading.hair:
            for attribute, value in self.hair.get(word, ()):
                decision.set(attribute, value, at)
        for word, at in reading.sleeves:
            for attribute, value in self.sleeves.get(word, {}).items():
                decision.set(attribute, value, at)
        for item in reading.items:
            if not item.ignored:
                decision.add_item(item)
        decision.set_colors(reading.colors)
        decision.extend_implicitly()
        return decision.values, decision.sources


def _values_of(vocabulary: Vocabulary, role: str) -> dict[str, list[tuple[int, int]]]:
    """Words of a role -> the pairs (attribute, value) that they mean."""
    return {
        words: [(attribute, value) for _, attribute, value in meanings] for words, meanings in vocabulary.meanings.get(role, {}).items()
    }


class Decision:
    """The values of one caption while they are decided: numbers as in Space.values, -1 if unknown."""

    __slots__ = ("colors", "decider", "default_colors", "evidence", "sources", "values")

    def __init__(self, decider: Decider, evidence: Evidence | None):
        self.decider, self.evidence = decider, evidence
        self.values = [-1] * decider.attributes
        self.sources = [UNKNOWN] * decider.attributes
        self.colors: dict[str, list[ColorAt]] = {"upper": [], "lower": []}
        self.default_colors: dict[str, list[ColorAt]] = {"upper": [], "lower": []}

    def set(self, attribute: int, value: int, at: int, source: int = EXPLICIT) -> None:
        """Set a value because of the word at this position, unless another value is set that is not to be replaced.

        The first value stays, unless the space prefers another.
        """
        before = self.values[attribute]
        if before >= 0 and before != value and self.decider.preferred.get(attribute) != value:
            return
        if before != value and self.evidence is not None:
            self.evidence[attribute] = []
        self.values[attribute], self.sources[attribute] = value, source
        if self.evidence is not None:
            self.evidence.setdefault(attribute, []).append(at)

    def add_item(self, item: ClothingItem) -> None:
        phrase, at = item.phrase, item.start + item.phrase.head_position
        if item.negation >= 0:
            self._add_negated_item(item, at)
            return
        meanings: Sequence[tuple[int, int]] = phrase.meanings
        if item.later_words:
            modifiers = phrase.modifiers.union(word for word, _ in item.later_words)
            meanings = self.decider.analyser.clothing_meanings(phrase.head, phrase.coverage, modifiers)
        if item.sleeves is not None and phrase.coverage in ("upper", "full_body"):
            word, position = item.sleeves
            sleeves = self.decider.sleeves.get(word, {})
            for attribute, value in sleeves.items():
                self.set(attribute, value, position)
            meanings = [(attribute, value) for attribute, value in meanings if attribute not in sleeves]
        for attribute, value in meanings:
            absent = self.decider.not_mentioned[attribute]
            if absent >= 0 and absent != value and self.values[attribute] == absent:
                self.values[attribute] = -1  # "no hat … a cap": presence has priority over absence
            self.set(attribute, value, at)
        for half in HALVES[phrase.coverage]:
            if item.colors:
                self.colors[half] += item.colors
            elif phrase.default_color:
                self.default_colors[half].append(ColorAt(phrase.default_color, at))

    def _add_negated_item(self, item: ClothingItem, at: int) -> None:
        for attribute, _ in item.phrase.meanings:
            absent = self.decider.not_mentioned[attribute]
            if absent >= 0 and self.values[attribute] < 0:
                self.set(attribute, absent, item.negation)
                if self.evidence is not None:
                    self.evidence[attribute].append(at)

    def set_colors(self, person_colors: list[ColorAt]) -> None:
        """Colour groups: the colours that are named, then the other attributes of the group."""
        values, sources, evidence = self.values, self.sources, self.evidence
        for half, attribute_of in self.decider.color_groups:
            named, default = self.colors[half] + person_colors, self.default_colors[half]
            if not named and not default:
                continue
            for colors, source in ((named, EXPLICIT), (default, IMPLICIT)):
                for color, at in colors:
                    if color in attribute_of:
                        self.set(attribute_of[color], 0, at, source)
            for attribute in attribute_of.values():
                if values[attribute] < 0:
                    values[attribute], sources[attribute] = 1, IMPLICIT
                    if evidence is not None:
                        evidence[attribute] = [at for _, at in named + default]

    def extend_implicitly(self) -> None:
        """The implicit extension: values that follow from other attributes, or from what the caption does not mention."""
        decider, values, evidence = self.decider, self.values, self.evidence
        for rule in decider.space.implicit_rules:
            if all(values[attribute] == value for attribute, value in rule.when):
                for attribute, value in rule.then:
                    if values[attribute] < 0:
                        values[attribute], self.sources[attribute] = value, IMPLICIT
                        if evidence is not None:
                            evidence[attribute] = [at for other, _ in rule.when for at in evidence.get(other, ())]
        for attribute, value in enumerate(decider.not_mentioned):
            if value >= 0 and values[attribute] < 0:
                values[attribute], self.sources[attribute] = value, IMPLICIT
