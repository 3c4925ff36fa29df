"""Words to tags: what each word can be in a sentence, from the English lexicon and an attribute space together.

A tag is one character, so that the tags of a caption are a string in which regular expressions find noun phrases:

    D determiner  S possessive  C colour  Q M modifier  Y adverb  I -ing form
    G something worn or carried  T part of clothes  H hair  P person  A animal or figure  N other noun  U unknown word
    V verb  W verb of wearing  K of holding  k of looking at, selling …  B of being  F of having
    E in  w with  o on, over, under …  R next to, behind …  O of  & and, or  X not  ! only, but  L who, that  J while  p pronoun  , .
"""

import re
from collections.abc import Iterable, Iterator

from mals.attributes import Space, load_space, normal, plural
from mals.labeller import lexicon

TOKEN = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?|[.,;:!?()/&—–]")
MOST_WORDS = 200_000  # unknown words remembered: memory stays flat on any input
PLURAL_ONLY = ("s", "pants", "jeans", "clothes", "clothing", "hair")
STOPS = {".": ".", ";": ".", "!": ".", "?": ".", ",": ",", ":": ".", "(": ",", ")": ",", "/": "&", "&": "&", "—": ",", "–": ","}
ADJECTIVE_ENDS = ("ed", "ish", "less", "ful", "ous", "ic", "al", "y", "ive", "like", "style", "esque")
GARMENT_ROLES = {"upper": "upper", "lower": "lower", "whole": "whole", "worn": "apart", "thing": "apart"}
Says = list[tuple[str, int, int]]  # (quality or "", attribute, value)


def listed(text: str) -> list[str]:
    """The entries of a comma-separated list."""
    return [entry for part in text.split(",") if (entry := " ".join(part.split()))]


class Vocabulary:
    """Every word that the grammar of one space knows, with its tag and what it says; the words of market1501 are known to all spaces."""

    def __init__(self, space: Space):
        self.space = space
        self.basis: dict[str, list[str]] = {}  # role -> words
        self.sex: dict[str, str] = {}  # of persons, adjectives and pronouns: woman or man
        basis = load_space("market1501")
        for said in basis.says:
            self.basis.setdefault(said.role, []).append(said.words)
            if basis.names[said.attribute] == "gender":
                self.sex[said.words] = basis.values[said.attribute][said.value]
        self.tag: dict[str, str] = {}
        self.base: dict[str, str] = {}  # plural -> singular, of nouns
        self.part: dict[str, str] = {}  # garment -> upper, lower, whole or apart
        self.color = {**_colors(), **space.colors}
        self.says: dict[str, dict[str, Says]] = {}  # role -> words -> what they say
        for said in space.says:
            self.says.setdefault(said.role, {}).setdefault(said.words, []).append((said.quality, said.attribute, said.value))
        self.about = {**self.says.get("adjective", {})}
        self.carried = {*self.basis["thing"], *self.says.get("thing", {})} - {*self.says.get("worn", {})}
        self.sleeves = self._sleeves()
        self._fill()
        self.tag.update(STOPS)
        phrases = [words for words in self.tag if " " in words]
        self.phrases = frozenset(phrases)
        self.first = frozenset(words.split(" ", 1)[0] for words in phrases)
        self.lengths: dict[str, tuple[int, ...]] = {}  # the first two words of phrases -> how long these are, longest first
        for words in phrases:
            parts = words.split(" ")
            pair = f"{parts[0]} {parts[1]}"
            self.lengths[pair] = tuple(sorted({*self.lengths.get(pair, ()), len(parts)}, reverse=True))
        self.guessed: dict[str, str] = {}

    def split(self, caption: str) -> list[str]:
        """Lower-case words and punctuation, phrases of the lexicon as one word."""
        if caption.isascii():
            return self.join(TOKEN.findall(caption.lower()))
        return self.join([word.lower().replace("’", "'") for word in TOKEN.findall(caption)])

    def join(self, words: list[str], spans: list[tuple[int, int]] | None = None) -> list[str]:
        """`words` with phrases of the lexicon joined, longest first; their spans in the caption too, in place, where given."""
        first, lengths = self.first, self.lengths
        if first.isdisjoint(words):
            return words
        starts = [
            (at, count) for at, word in enumerate(words[:-1]) if word in first for count in lengths.get(f"{word} {words[at + 1]}", ())
        ]
        if not starts:
            return words
        found: list[str] = []
        kept: list[tuple[int, int]] = []
        end = 0  # of what is found so far
        for at, count in starts:
            phrase = " ".join(words[at : at + count])
            if at >= end and at + count <= len(words) and phrase in self.phrases:
                found += words[end:at]
                found.append(phrase)
                if spans is not None:
                    kept += spans[end:at]
                    kept.append((spans[at][0], spans[at + count - 1][1]))
                end = at + count
        found += words[end:]
        if spans is not None:
            spans[:] = kept + spans[end:]
        return found

    def tags(self, words: list[str]) -> str:
        """One character a word."""
        known = self.tag.get
        return "".join([known(word) or self.guess(word) for word in words])

    def guess(self, word: str) -> str:
        """The tag of a word that no lexicon has, by its form."""
        if word in self.guessed:
            return self.guessed[word]
        if len(self.guessed) >= MOST_WORDS:
            self.guessed.clear()
        self.guessed[word] = tag = self._guess(word)
        return tag

    def _guess(self, word: str) -> str:
        if word.endswith("'s"):
            return "p" if word[:-2] in ("he", "she", "they", "it", "there", "that") else "S"
        if word.endswith("n't"):
            return "X"
        if word[0].isdigit():
            return "D"
        if word.endswith("ing") and len(word) > 4:
            return "I"
        if word.endswith("ly") and len(word) > 4:
            return "Y"
        return "M" if word.endswith(ADJECTIVE_ENDS) and len(word) > 3 else "U"

    def _sleeves(self) -> dict[str, str]:
        """Adjective or noun of sleeves -> what it says of them, as the space calls it."""
        found = {}
        for words in [*self.basis["sleeves"], *self.says.get("sleeves", {})]:
            if words.endswith("less"):
                found[words] = words
            for form in ("sleeve", "sleeved", "sleeves"):
                found[f"{words} {form}"] = words
        return found

    def _fill(self) -> None:
        """Tags from the weakest claim to the strongest: a word that several lists have is what the last of them makes it."""
        verbs = set(_forms(lexicon.VERBS.split()))
        self._set("V", [*verbs, *lexicon.IRREGULAR_FORMS.split()])
        self._set("M", [*lexicon.MODIFIERS.split(), *listed(lexicon.MODIFIER_PHRASES), *lexicon.OTHERS.split()])
        self._set("I", [word for word in verbs if word.endswith("ing")])
        things = [*listed(lexicon.OBJECTS), *listed(lexicon.HOLDERS), *listed(lexicon.PLACES), *listed(lexicon.BODY)]
        self._nouns("N", things, verbs)
        self._set("M", ["left", "right", "open", "close", "back", "front", "stretch", "swim", "work", "military"])
        self._nouns("T", [*listed(lexicon.COLOURED_PARTS), *listed(lexicon.PARTS)])
        self._nouns("H", listed(lexicon.HAIR))
        self._nouns("A", [*listed(lexicon.ANIMALS), *listed(lexicon.FIGURES)])
        self._nouns("P", [*listed(lexicon.PERSONS), *self._all("person")])
        for part in ("upper", "lower", "whole", "apart"):
            self._garments(part, listed(getattr(lexicon, part.upper())))
        for role, part in GARMENT_ROLES.items():
            self._garments(part, self._all(role))
        self._set("T", [words for words in self.sleeves if words.endswith("sleeves")])
        self._set("M", [words for words in self.sleeves if not words.endswith("sleeves")])
        self._set("M", [words for role in ("adjective", "hair") for words in self._all(role) if words not in self.tag])
        self._set("M", [said.quality for said in self.space.says if said.quality and said.quality not in self.tag])
        for role in ("on_upper", "on_lower"):
            self._set("M", [words for words in self.says.get(role, {}) if words not in self.tag])
        self._set("C", self.color)
        self._set("Q", listed(lexicon.QUALIFIERS))
        ends = lexicon.NAME_ENDS.split()
        self._set("U", [*listed(lexicon.NAMES), *(f"{color} {end}" for color in lexicon.COLORS for end in ends)])
        self._function_words()

    def _function_words(self) -> None:
        self._set("Y", lexicon.ADVERBS.split())
        self._set("W", [*lexicon.WEAR.split(), *listed(lexicon.IN_PHRASES)])
        self._set("z", ["sports", "models"])
        self._set("K", [*lexicon.CARRY.split(), *listed(lexicon.CARRY_PHRASES)])
        self._set("k", [*lexicon.LOOK.split(), *listed(lexicon.LOOK_PHRASES)])
        self._set("B", lexicon.BE.split())
        self._set("F", lexicon.HAVE.split())
        self._set("o", [*lexicon.LAYER.split(), *listed(lexicon.LAYER_PHRASES)])
        self._set("R", [*lexicon.LOCATIVE.split(), *listed(lexicon.LOCATIVE_PHRASES)])
        self._set("w", [*lexicon.WITH.split(), *listed(lexicon.WITH_PHRASES)])
        self._set("E", ["in"])
        self._set("O", ["of"])
        self._set("&", lexicon.AND.split())
        self._set("L", lexicon.RELATIVE.split())
        self._set("J", lexicon.SUBORDINATE.split())
        self._set("X", [*lexicon.NEGATION.split(), *listed(lexicon.NEGATION_PHRASES)])
        self._set("Y", listed(lexicon.NO_NEGATION))
        self._set("!", lexicon.RESTRICT.split())
        self._set("D", listed(lexicon.DETERMINERS))
        self._set("t", ["that"])
        self._set("S", lexicon.POSSESSIVE.split())
        pronouns = {*self._all("pronoun"), *lexicon.NOMINATIVE.split(), *lexicon.OBJECTIVE.split()}
        self._set("p", pronouns - set(lexicon.POSSESSIVE.split()))

    def _all(self, role: str) -> list[str]:
        return [*self.basis.get(role, ()), *self.says.get(role, {})]

    def _set(self, tag: str, words: Iterable[str]) -> None:
        for word in words:
            self.tag[normal(word)] = tag

    def _nouns(self, tag: str, words: Iterable[str], verbs: Iterable[str] = ()) -> None:
        """Singulars and plurals; "v" where the word is a verb too."""
        for word in words:
            for form in {word, plural(word)}:
                self.base.setdefault(form, word)
                self.tag[form] = "v" if form in verbs else tag
            self.base[word] = word

    def _garments(self, part: str, words: Iterable[str]) -> None:
        for word in words:
            self.part[word] = part
            self.base[word] = word
            self.tag[word] = "G"
            many = plural(word)
            if many not in self.part:
                self.base[many] = word
                self.tag[many] = "G"


def _colors() -> dict[str, str]:
    """Colour word -> its colour."""
    return {words: color for color, shades in lexicon.COLORS.items() for words in listed(shades)}


def _forms(bases: Iterable[str]) -> Iterator[str]:
    """Third person, past and -ing of regular verbs."""
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
