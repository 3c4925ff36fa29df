"""Wrong captions: one attribute word of a caption, a colour, a garment or the sex, is exchanged, so that the caption claims something else.

The labeller says whether it does: the exchanged caption has to contradict the old one in an attribute of the space.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from numpy.random import Generator

from mals.labeller import tags
from mals.labeller.grammar import OTHER_WORD, PHRASE
from mals.labeller.labeller import Labeller
from pretrain.data.wordings.claims import claims_of, contradict

COLORS = ("black", "white", "red", "purple", "yellow", "blue", "green", "gray", "pink", "brown", "orange")
WITHOUT_SHADES = frozenset(("black", "white"))  # there is no dark white
GARMENTS: tuple[tuple[frozenset[str], tuple[str, ...]], ...] = (  # garments, and what contradicts them, of one number and half
    (frozenset(("jacket", "coat", "sweater", "hoodie", "cardigan", "sweatshirt", "blazer")), ("t-shirt", "tank top", "polo shirt")),
    (frozenset(("t shirt", "tank top", "polo shirt", "tee", "polo")), ("jacket", "coat", "sweater", "hoodie")),
    (frozenset(("pants", "trousers", "jeans", "leggings", "sweatpants", "slacks")), ("shorts",)),
    (frozenset(("shorts",)), ("pants", "trousers", "leggings")),
)
SEXES = {"woman": "man", "girl": "boy", "lady": "gentleman", "female": "male", "women": "men", "girls": "boys", "ladies": "gentlemen"}
SEXES |= {other: one for one, other in SEXES.items()} | {"guy": "woman"}
PRONOUNS = {"she": "he", "herself": "himself", "hers": "his", "he": "she", "himself": "herself", "him": "her", "his": "her"}
OF_SEX = re.compile(rf"\b({'|'.join([*SEXES, *PRONOUNS, 'her'])})\b", re.IGNORECASE)
NO_NOUN_AFTER = re.compile(r"\s*(?:$|[.,;]|(?:and|with|in|on|at|from|to|is|are|while|as|by|near)\b)")  # "her" is an object there
ARTICLE = re.compile(r"\b(an?)(\s+)$", re.IGNORECASE)
TRIES = 4  # exchanges that may fail to contradict before there is none


class Exchange(NamedTuple):
    """Words of a caption and what may stand in their place."""

    start: int
    end: int
    options: Sequence[str]


def exchanged(caption: str, random: Generator, labeller: Labeller) -> str | None:
    """The caption with one attribute word exchanged, drawn among those that it has; None where none contradicts it."""
    before, kinds = claims_of(labeller, caption), [kind for kind in exchanges(caption, labeller) if kind]
    for _ in range(TRIES if kinds else 0):
        kind = kinds[int(random.integers(len(kinds)))]
        start, end, options = kind[int(random.integers(len(kind)))]
        option = options[int(random.integers(len(options)))]
        changed = exchange_sexes(caption) if option in SEXES else replace_words(caption, start, end, option)
        if contradict(before, claims_of(labeller, changed)):
            return changed
    return None


def replace_words(caption: str, start: int, end: int, words: str) -> str:
    """The caption with other words from `start` to `end`, and the right indefinite article before them."""
    before = caption[:start]
    if match := ARTICLE.search(before):
        article = "an" if words[0] in "aeiou" else "a"
        before = before[: match.start()] + (article.capitalize() if match[1][0].isupper() else article) + match[2]
    return before + (words.capitalize() if caption[start].isupper() else words) + caption[end:]


def exchange_sexes(caption: str) -> str:
    """The caption about persons of the other sex; pronouns go with the nouns."""

    def other(match: re.Match[str]) -> str:
        word = match[0].lower()
        of_her = "him" if NO_NOUN_AFTER.match(caption, match.end()) else "his"
        new = of_her if word == "her" else SEXES.get(word) or PRONOUNS[word]
        return new.capitalize() if match[0][0].isupper() else new

    return OF_SEX.sub(other, caption)


def exchanges(caption: str, labeller: Labeller) -> Iterator[list[Exchange]]:
    """The exchanges of colours, of garments and of the sex."""
    vocabulary, grammar = labeller.vocabulary, labeller.grammar
    words, spans = vocabulary.split_with_spans(caption)
    word_tags = grammar.tag(words)
    colors: list[Exchange] = []
    garments: list[Exchange] = []
    sexes: list[Exchange] = []
    for match in PHRASE.finditer(word_tags):
        first, last = match.span()
        if match.lastindex == OTHER_WORD:
            continue
        phrase = grammar.analyser.analyse(words[first:last], word_tags[first:last])
        head = first + phrase.head_position
        if phrase.kind == tags.PERSON and head < last and words[head] in SEXES:
            sexes.append(Exchange(*spans[head], (SEXES[words[head]],)))
        if phrase.kind != tags.CLOTHING or phrase.parts[0]:
            continue
        garments += [Exchange(*spans[head], options) for names, options in GARMENTS if words[head] in names]
        worn = {color for color, _ in phrase.colors}
        for _, position in phrase.colors:
            at = first + position
            shaded = word_tags[at - 1 : at] == tags.QUALIFIER
            options = [color for color in COLORS if color not in worn and not (shaded and color in WITHOUT_SHADES)]
            colors.append(Exchange(*spans[at], options))
    yield from (colors, garments, sexes)
