"""The words that the labeller knows: the English lexicon and the words of an attribute space, each with its tag and its meaning."""

import re
from collections.abc import Iterable, Iterator

from mals.attributes import Space, load_space, normalize, plural
from mals.labeller import tags
from mals.labeller.lexicon import adjectives, function_words, nouns
from mals.labeller.separators import has_separators, replace_separators
from mals.labeller.spelling import Spelling

TOKEN = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?|[.,;:!?()/&=—–]")
MAX_GUESSES = 200_000  # unknown words that are remembered: bounds the memory for any input
STOP, COMMA, AND = tags.STOP, tags.COMMA, tags.AND
PUNCTUATION = {
    ".": STOP,
    ";": STOP,
    "!": STOP,
    "?": STOP,
    ",": COMMA,
    ":": tags.COLON,
    "=": tags.COLON,
    "(": COMMA,
    ")": COMMA,
    "/": AND,
    "&": AND,
}
PUNCTUATION |= {"—": COMMA, "–": COMMA}
ADJECTIVE_ENDINGS = ("ed", "ish", "less", "ful", "ous", "ic", "al", "y", "ive", "like", "style", "esque")
GARMENTS = {
    "upper": nouns.UPPER_GARMENTS,
    "lower": nouns.LOWER_GARMENTS,
    "full_body": nouns.FULL_BODY_GARMENTS,
    "accessory": nouns.ACCESSORIES,
}
COVERAGE = {"upper": "upper", "lower": "lower", "full_body": "full_body", "accessory": "accessory", "item": "accessory"}  # by role
Meanings = list[tuple[str, int, int]]  # (quality or "", attribute, value)


def split_list(text: str) -> list[str]:
    """The entries of a comma-separated list."""
    return [entry for part in text.split(",") if (entry := " ".join(part.split()))]


class Vocabulary:
    """Every word that the grammar of one space knows. The words of market1501 are known in all spaces, but mean nothing in others."""

    def __init__(self, space: Space):
        self.space = space
        self.base_words: dict[str, list[str]] = {}  # role -> words of market1501
        self.gender_of: dict[str, str] = {}  # noun, adjective or pronoun -> woman or man
        base = load_space("market1501")
        for entry in base.lexicon:
            self.base_words.setdefault(entry.role, []).append(entry.words)
            if base.names[entry.attribute] == "gender":
                self.gender_of[entry.words] = base.values[entry.attribute][entry.value]
        self.tag_of: dict[str, str] = {}
        self.singular_of: dict[str, str] = {}  # of nouns
        self.coverage_of: dict[str, str] = {}  # garment -> upper, lower, full_body or accessory
        self.color_of = {**_color_words(), **space.colors}
        self.meanings: dict[str, dict[str, Meanings]] = {}  # role -> words -> what they mean in the space
        for entry in space.lexicon:
            self.meanings.setdefault(entry.role, {}).setdefault(entry.words, []).append((entry.quality, entry.attribute, entry.value))
        self.adjectives = {**self.meanings.get("adjective", {})}  # of the person
        self.items = {*self.base_words["item"], *self.meanings.get("item", {})} - {*self.meanings.get("accessory", {})}
        self.sleeves = self._sleeves()
        self._set_tags()
        self.tag_of.update(PUNCTUATION)
        phrases = [words for words in self.tag_of if " " in words]
        self.phrases = frozenset(phrases)
        # first word of phrases -> second word -> their numbers of words, longest first
        self.phrase_lengths: dict[str, dict[str, tuple[int, ...]]] = {}
        for words in phrases:
            parts = words.split(" ")
            lengths = self.phrase_lengths.setdefault(parts[0], {})
            lengths[parts[1]] = tuple(sorted({*lengths.get(parts[1], ()), len(parts)}, reverse=True))
        self.guesses: dict[str, str] = {}  # unknown word -> tag
        self.spelling = self._spelling()

    def split(self, caption: str) -> list[str]:
        """The words and punctuation of a caption in lower case; a phrase of the lexicon ("next to", "tank top") is one word."""
        ascii_caption = caption.isascii()
        caption = self._replace_separators(caption)
        words = TOKEN.findall(caption.lower() if ascii_caption else caption)
        if not ascii_caption:
            words = [word.lower().replace("’", "'") for word in words]
        if not self.spelling.known.issuperset(words):
            words = self.spelling.mend(words)
        return self.join_phrases(words)

    def split_with_spans(self, caption: str) -> tuple[list[str], list[tuple[int, int]]]:
        """The words of `split`, and where each begins and ends in the caption."""
        matches = list(TOKEN.finditer(self._replace_separators(caption)))
        spans = [match.span() for match in matches]
        words = self.spelling.mend([match[0].lower().replace("’", "'") for match in matches], spans)
        return self.join_phrases(words, spans), spans

    def _replace_separators(self, caption: str) -> str:
        if not has_separators(caption):
            return caption
        return replace_separators(caption, lambda word: self.tag_of.get(word) or self.guess(word), self.phrases)

    def join_phrases(self, words: list[str], spans: list[tuple[int, int]] | None = None) -> list[str]:
        """`words` with phrases of the lexicon joined, the longest first; joins `spans`, if given, in place."""
        lengths = self.phrase_lengths
        if lengths.keys().isdisjoint(words):
            return words
        candidates = [
            (start, count) for start, word in enumerate(words[:-1]) if word in lengths for count in lengths[word].get(words[start + 1], ())
        ]
        if not candidates:
            return words
        joined: list[str] = []
        joined_spans: list[tuple[int, int]] = []
        end = 0  # of the words that are in `joined`
        for start, count in candidates:
            phrase = " ".join(words[start : start + count])
            if start >= end and start + count <= len(words) and phrase in self.phrases:
                joined += words[end:start]
                joined.append(phrase)
                if spans is not None:
                    joined_spans += spans[end:start]
                    joined_spans.append((spans[start][0], spans[start + count - 1][1]))
                end = start + count
        joined += words[end:]
        if spans is not None:
            spans[:] = joined_spans + spans[end:]
        return joined

    def tag(self, words: list[str]) -> str:
        """The tags of `words`, one character each."""
        tag_of = self.tag_of.get
        return "".join([tag_of(word) or self.guess(word) for word in words])

    def guess(self, word: str) -> str:
        """The tag of a word that is not in the lexicon, by its form."""
        if word in self.guesses:
            return self.guesses[word]
        if len(self.guesses) >= MAX_GUESSES:
            self.guesses.clear()
        self.guesses[word] = tag = _guess(word)
        return tag

    def _sleeves(self) -> dict[str, str]:
        """Word that describes sleeves -> the word of the space: "short sleeved" -> "short"."""
        word_of = {}
        for words in [*self.base_words["sleeves"], *self.meanings.get("sleeves", {})]:
            if words.endswith("strap"):  # spaghetti straps
                word_of.update(dict.fromkeys((words, f"{words}s", f"{words}ped"), words))
                continue
            if words.endswith("less"):
                word_of[words] = words
            for form in ("sleeve", "sleeved", "sleeves"):
                word_of[f"{words} {form}"] = words
        return word_of

    def _spelling(self) -> Spelling:
        """What mends the words that are not in the lexicon."""
        tag_of, color_of, singular_of = self.tag_of, self.color_of, self.singular_of
        garments = {words for words, tag in tag_of.items() if tag == tags.CLOTHING}
        often = (adjectives.OFTEN_MISSPELLED, function_words.OFTEN_MISSPELLED, nouns.OFTEN_MISSPELLED)
        clothes = {words for words in garments if len(words) >= 5 and self.coverage_of[singular_of[words]] != "accessory"}
        targets = clothes.union(*(words.split() for words in often))
        return Spelling(
            known={*tag_of, *(word for words in self.phrases for word in words.split(" "))},
            targets={words for words in targets if " " not in words},
            phrases=self.phrases,
            beginnings=frozenset([*color_of, "dark", "light", "long", "short"]),
            endings=frozenset([*garments, "hair", "haired", "colored", "coloured"]),
            meaning=lambda word: color_of.get(word) or singular_of.get(word, word).rstrip("s"),
        )

    def _set_tags(self) -> None:
        """Set the tags list by list; a word of several lists gets the tag of the last one."""
        verbs = set(_verb_forms(function_words.VERBS.split()))
        modifiers = [*adjectives.MODIFIERS.split(), *split_list(adjectives.MODIFIER_PHRASES), *adjectives.BYSTANDER_ADJECTIVES.split()]
        self._tag(tags.VERB, [*verbs, *function_words.IRREGULAR_VERB_FORMS.split()])
        self._tag(tags.MODIFIER, modifiers)
        self._tag(tags.ING_FORM, [word for word in verbs if word.endswith("ing")])
        objects = [text for lists in (nouns.OBJECTS, nouns.STORAGE, nouns.PLACES, nouns.BODY_PARTS) for text in split_list(lists)]
        self._tag_nouns(tags.OTHER_NOUN, objects, verbs | {"can"})
        self._tag(tags.MODIFIER, adjectives.MODIFIERS_NOT_NOUNS.split())
        self._tag_nouns(tags.GARMENT_PART, [*split_list(nouns.COLORED_PARTS), *split_list(nouns.GARMENT_PARTS)])
        self._tag_nouns(tags.HAIR, split_list(nouns.HAIR))
        self._tag_nouns(tags.NON_PERSON, [*split_list(nouns.ANIMALS), *split_list(nouns.FIGURES)])
        self._tag_nouns(tags.PERSON, [*split_list(nouns.PERSONS), *self._words("person")])
        self._tag(tags.PERSON, nouns.LETTERS_OF_PERSONS)
        for coverage, garments in GARMENTS.items():
            self._tag_garments(coverage, split_list(garments))
        for role, coverage in COVERAGE.items():
            self._tag_garments(coverage, self._words(role))
        self._tag(tags.MODIFIER, self.sleeves)
        self._tag(tags.GARMENT_PART, [words for words in self.sleeves if words.endswith(("sleeves", "straps"))])
        self._tag(tags.MODIFIER, [words for role in ("adjective", "hair") for words in self._words(role) if words not in self.tag_of])
        self._tag(tags.MODIFIER, [entry.quality for entry in self.space.lexicon if entry.quality and entry.quality not in self.tag_of])
        for role in ("upper_detail", "lower_detail"):
            self._tag(tags.MODIFIER, [words for words in self.meanings.get(role, {}) if words not in self.tag_of])
        self._tag(tags.COLOR, self.color_of)
        self._tag(tags.QUALIFIER, split_list(adjectives.QUALIFIERS))
        endings = adjectives.PROPER_NAME_ENDINGS.split()
        names = [f"{color} {ending}" for color in adjectives.COLORS for ending in endings]
        self._tag(tags.UNKNOWN_WORD, [*split_list(adjectives.PROPER_NAMES), *names])
        self._tag_function_words()

    def _tag_function_words(self) -> None:
        lists = function_words
        self._tag(tags.ADVERB, lists.ADVERBS.split())
        self._tag(tags.WEARING, [*lists.WEARING.split(), *split_list(lists.DRESSED_IN_PHRASES)])
        self._tag(tags.MODIFIER_OR_WEARING, lists.MODIFIERS_OR_WEARING.split())
        self._tag(tags.HOLDING, [*lists.HOLDING.split(), *split_list(lists.HOLDING_PHRASES)])
        self._tag(tags.LOOKING, [*lists.LOOKING.split(), *split_list(lists.LOOKING_PHRASES)])
        self._tag(tags.BEING, [*lists.BEING.split(), *split_list(lists.BEING_PHRASES)])
        self._tag(tags.HAVING, lists.HAVING.split())
        self._tag(tags.PATH, [*lists.PATH_PREPOSITIONS.split(), *split_list(lists.PATH_PHRASES)])
        self._tag(tags.BESIDE, [*lists.PLACE_PREPOSITIONS.split(), *split_list(lists.PLACE_PHRASES)])
        self._tag(tags.WITH, [*lists.WITH.split(), *split_list(lists.WITH_PHRASES)])
        self._tag(tags.IN, ["in", "in the same"])
        self._tag(tags.OF, ["of", "worn by"])
        self._tag(tags.AND, lists.CONJUNCTIONS.split())
        self._tag(tags.RELATIVE, lists.RELATIVE_PRONOUNS.split())
        self._tag(tags.SUBORDINATOR, lists.SUBORDINATORS.split())
        self._tag(tags.NOT, [*lists.NEGATIONS.split(), *split_list(lists.NEGATION_PHRASES)])
        self._tag(tags.ADVERB, [*split_list(lists.FALSE_NEGATIONS), *split_list(lists.ADVERB_PHRASES)])
        self._tag(tags.ONLY, lists.RESTRICTIONS.split())
        self._tag(tags.DETERMINER, split_list(lists.DETERMINERS))
        self._tag(tags.PARTITIVE, split_list(lists.PARTITIVES))
        self._tag(tags.COLOR_NOUN, [*adjectives.COLOR_NOUNS.split(), *(f"in {noun}" for noun in adjectives.COLOR_NOUNS.split())])
        self._tag(tags.MODIFIER_OR_CLOTHING, nouns.BARE_NOUNS)
        self.singular_of.update(nouns.BARE_NOUNS)
        self._tag(tags.THAT, ["that"])
        self._tag(tags.POSSESSIVE, split_list(lists.POSSESSIVES))
        pronouns = {*self._words("pronoun"), *split_list(lists.SUBJECT_PRONOUNS), *split_list(lists.OBJECT_PRONOUNS)}
        self._tag(tags.PRONOUN, pronouns - set(split_list(lists.POSSESSIVES)))

    def _words(self, role: str) -> list[str]:
        return [*self.base_words.get(role, ()), *self.meanings.get(role, {})]

    def _tag(self, tag: str, words: Iterable[str]) -> None:
        for word in words:
            self.tag_of[normalize(word)] = tag

    def _tag_nouns(self, tag: str, words: Iterable[str], verbs: Iterable[str] = ()) -> None:
        """Singulars and plurals; ambiguous where the word is also a verb."""
        for word in words:
            for form in {word, plural(word)}:
                self.singular_of.setdefault(form, word)
                self.tag_of[form] = tags.NOUN_OR_VERB if form in verbs else tag
            self.singular_of[word] = word

    def _tag_garments(self, coverage: str, words: Iterable[str]) -> None:
        for word in words:
            self.coverage_of[word] = coverage
            self.singular_of[word] = word
            self.tag_of[word] = tags.CLOTHING
            plural_form = plural(word)
            if plural_form not in self.coverage_of:
                self.singular_of[plural_form] = word
                self.tag_of[plural_form] = tags.CLOTHING


def _guess(word: str) -> str:
    if word.endswith("'s"):
        if word[:-2] in ("that", "which", "who"):
            return tags.BEING
        return tags.PRONOUN if word[:-2] in ("he", "she", "they", "it", "there") else tags.POSSESSIVE
    if word.endswith("n't"):
        return tags.NOT
    if word[0].isdigit():
        return tags.DETERMINER
    if word.endswith("ing") and len(word) > 4:
        return tags.ING_FORM
    if word.endswith("ly") and len(word) > 4:
        return tags.ADVERB
    return tags.MODIFIER if word.endswith(ADJECTIVE_ENDINGS) and len(word) > 3 else tags.UNKNOWN_WORD


def _color_words() -> dict[str, str]:
    """Colour word -> its colour."""
    return {words: color for color, shades in adjectives.COLORS.items() for words in split_list(shades)}


def _verb_forms(bases: Iterable[str]) -> Iterator[str]:
    """Third person, past and -ing form of regular verbs."""
    for base in bases:
        stem = base[:-1] if base.endswith("e") else base
        doubled = base + base[-1] if re.fullmatch(r"[^aeiou]*[aeiou][bdgklmnprt]", base) else stem
        yield from (base, doubled + "ed", stem + "ed", doubled + "ing", stem + "ing")
        if base.endswith(("s", "x", "ch", "sh", "o")):
            yield base + "es"
        elif base.endswith("y") and base[-2] not in "aeiou":
            yield base[:-1] + "ies"
            yield base[:-1] + "ied"
        else:
            yield base + "s"
