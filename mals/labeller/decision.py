"""What a reading says in an attribute space: explicit values by the lexicon, then the implicit ones."""

from mals.labeller.noun_phrases import Nouns
from mals.labeller.reading import Reading, Worn
from mals.labeller.tags import Vocabulary

SOURCES = ("unknown", "explicit", "implicit")
UNKNOWN, EXPLICIT, IMPLICIT = range(3)
HALVES = {"upper": ("upper",), "lower": ("lower",), "whole": ("upper", "lower"), "apart": ()}
Trace = dict[int, list[int]]  # attribute -> the places of the words that decided


class Judge:
    """The tables of one attribute space, by numbers."""

    def __init__(self, vocabulary: Vocabulary, nouns: Nouns):
        space = vocabulary.space
        self.space, self.nouns = space, nouns
        self.count = len(space.names)
        names = {name: at for at, name in enumerate(space.names)}
        self.silent = [space.silence(at) for at in range(self.count)]
        self.prefer = {names[name]: space.values[names[name]].index(value) for name, value in space.prefer.items()}
        self.groups = [(group.half, {color: names[name] for color, name in group.colors.items()}) for group in space.groups.values()]
        self.sleeves: dict[str, dict[int, int]] = {
            words: {a: v for _, a, v in said} for words, said in vocabulary.says.get("sleeves", {}).items()
        }
        self.hair = {words: [(a, v) for _, a, v in said] for words, said in vocabulary.says.get("hair", {}).items()}
        self.pronouns = {words: [(a, v) for _, a, v in said] for words, said in vocabulary.says.get("pronoun", {}).items()}

    def decide(self, reading: Reading, words: list[str], trace: Trace | None = None) -> tuple[list[int], list[int]]:
        """The values plus one (0 is unknown) and the sources, as indices into SOURCES, of one reading; fills `trace` where given."""
        verdict = Verdict(self, words, trace)
        for attribute, value, at in reading.said:
            verdict.say(attribute, value, at)
        for at in reading.pronouns:
            for attribute, value in self.pronouns.get(words[at].split("'")[0], ()):
                if not verdict.sources[attribute]:
                    verdict.say(attribute, value, at)
        for quality, at in reading.hair:
            for attribute, value in self.hair.get(quality, ()):
                verdict.say(attribute, value, at)
        for quality, at in reading.sleeves:
            for attribute, value in self.sleeves.get(quality, {}).items():
                verdict.say(attribute, value, at)
        for worn in reading.worn:
            if not worn.lost:
                verdict.wear(worn)
        verdict.color(reading.colors)
        verdict.extend()
        return verdict.values, verdict.sources


class Verdict:
    """The values of one caption while they are decided; values are plus one, so that 0 is unknown."""

    __slots__ = ("defaults", "judge", "painted", "sources", "trace", "values", "words")

    def __init__(self, judge: "Judge", words: list[str], trace: Trace | None):
        self.judge, self.words, self.trace = judge, words, trace
        self.values = [0] * judge.count
        self.sources = [UNKNOWN] * judge.count
        self.painted: dict[str, list[tuple[str, int]]] = {"upper": [], "lower": []}
        self.defaults: dict[str, list[tuple[str, int]]] = {"upper": [], "lower": []}

    def say(self, attribute: int, value: int, at: int, source: int = EXPLICIT) -> None:
        """The first to say something counts, unless the space prefers a value."""
        known = self.values[attribute]
        if known and known != value + 1 and self.judge.prefer.get(attribute) != value:
            return
        if known != value + 1 and self.trace is not None:
            self.trace[attribute] = []
        self.values[attribute], self.sources[attribute] = value + 1, source
        if self.trace is not None:
            self.trace.setdefault(attribute, []).append(at)

    def wear(self, worn: Worn) -> None:
        noun, at = worn.noun, worn.at + worn.noun.at
        if worn.denied >= 0:
            for attribute, _ in noun.says:
                silent = self.judge.silent[attribute]
                if silent >= 0 and not self.values[attribute]:
                    self.say(attribute, silent, worn.denied)
                    self.cite(attribute, at)
            return
        said = noun.says
        if worn.words:
            added = noun.words.union(word for word, _ in worn.words)
            said = self.judge.nouns.garment_says(noun.head, noun.part, added)
        if worn.sleeves is not None and noun.part in ("upper", "whole"):
            of_sleeves = self.judge.sleeves.get(worn.sleeves[0], {})
            for attribute, value in of_sleeves.items():
                self.say(attribute, value, worn.sleeves[1])
            said = [(attribute, value) for attribute, value in said if attribute not in of_sleeves]
        for attribute, value in said:
            silent = self.judge.silent[attribute]
            if silent >= 0 and silent != value and self.values[attribute] == silent + 1:
                self.values[attribute] = 0  # "no hat … a cap": what is there outweighs what is not
            self.say(attribute, value, at)
        for half in HALVES[noun.part]:
            if worn.colors:
                self.painted[half] += worn.colors
            elif noun.default:
                self.defaults[half].append((noun.default, at))

    def cite(self, attribute: int, at: int) -> None:
        if self.trace is not None:
            self.trace.setdefault(attribute, []).append(at)

    def color(self, of_person: list[tuple[str, int]]) -> None:
        """Groups of colours: those that are said, and then the others of the group."""
        for half, members in self.judge.groups:
            painted = [*self.painted[half], *of_person]
            colors = [*((c, at, EXPLICIT) for c, at in painted), *((c, at, IMPLICIT) for c, at in self.defaults[half])]
            if not colors:
                continue
            for color, at, source in colors:
                if color in members:
                    self.say(members[color], 0, at, source)
            for attribute in members.values():
                if not self.values[attribute]:
                    self.values[attribute], self.sources[attribute] = 2, IMPLICIT
                    if self.trace is not None:
                        self.trace[attribute] = [at for _, at, _ in colors]

    def extend(self) -> None:
        """What silence and other attributes say."""
        judge = self.judge
        for rule in judge.space.implicit:
            if all(self.values[a] == v + 1 for a, v in rule.when):
                for attribute, value in rule.then:
                    if not self.values[attribute]:
                        self.values[attribute], self.sources[attribute] = value + 1, IMPLICIT
                        if self.trace is not None:
                            self.trace[attribute] = [at for a, _ in rule.when for at in self.trace.get(a, ())]
        for attribute, silent in enumerate(judge.silent):
            if silent >= 0 and not self.values[attribute]:
                self.values[attribute], self.sources[attribute] = silent + 1, IMPLICIT
