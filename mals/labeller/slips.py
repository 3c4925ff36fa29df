"""Slips: known words that mean nothing where they stand and are one edit from a word that would: "a lack stripe", "her shorts or white"."""

from collections.abc import Iterable

from mals.labeller import tags
from mals.labeller.lexicon import slips
from mals.labeller.spelling import edit
from mals.labeller.tags import AND, BEING, COLOR

_DESCRIBING = "<qualifier modifier adverb color color_noun>"
COLOR_BEFORE_CLOTHES = tags.compile_pattern(  # where only a colour or another adjective makes sense
    "(?<=<determiner possessive partitive color qualifier wearing in with and comma>) ."
    f" (?={_DESCRIBING}{{0,3}} <garment_part>{{0,2}} <clothing hair garment_part>)"
)
VERB_AFTER_CLOTHES = tags.compile_pattern(  # her shorts or white
    f"(?<![^.,&]) <possessive determiner> {_DESCRIBING}{{0,4}} <clothing hair> (.)"
    " <adverb qualifier>{0,2} <color modifier>{1,3} (?=<stop comma and with>|$)"
)
BETWEEN_COLORS = tags.compile_pattern("(?<=<color>) . (?=<color>)")  # a black an white (dress)
ARTICLE_BETWEEN_COLORS = tags.COLOR + tags.DETERMINER + tags.COLOR
NOT_AFTER = {"back": frozenset(["the", "his", "her", "their"]), "while": frozenset(["and", "or", ","])}  # where the word makes sense


class Slips:
    """Mends the slips of captions; `colors` are the colours that a slip can have been meant to be."""

    def __init__(self, colors: Iterable[str]):
        candidates = sorted(colors)
        self.color_of = {word: target for word in slips.FOR_COLORS.split() for target in candidates if edit(word, target) is not None}
        self.verbs = frozenset(slips.FOR_BEING.split())
        self.conjunctions = frozenset(slips.FOR_AND.split())
        self.words = frozenset([*self.color_of, *self.verbs])

    def mend(self, words: list[str], word_tags: str) -> tuple[list[str], str]:
        """The words and their tags with slips mended."""
        mended, new_tags = list(words), list(word_tags)
        for match in COLOR_BEFORE_CLOTHES.finditer(word_tags):
            at = match.start()
            color = self.color_of.get(words[at])
            if color is not None and words[at - 1] not in NOT_AFTER.get(words[at], ()):
                mended[at], new_tags[at] = color, COLOR
        for match in VERB_AFTER_CLOTHES.finditer(word_tags):
            at = match.start(1)
            if words[at] in self.verbs:
                mended[at], new_tags[at] = "are", BEING
        for match in BETWEEN_COLORS.finditer(word_tags):
            at = match.start()
            if words[at] in self.conjunctions:
                mended[at], new_tags[at] = "and", AND
        return mended, "".join(new_tags)
