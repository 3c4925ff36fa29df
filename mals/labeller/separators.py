"""Marks that separate the entries of a list, as the punctuation that the grammar reads: "man | black coat", "* bun", "lady - red dress"."""

import re
from collections.abc import Callable

from mals.labeller import tags

MARKS = (" - ", "--", "|", "*", "•", "\n-", "/")  # a caption without these has nothing to replace
LIST_MARK = re.compile(r"(?<!\S)[*•]+(?!\S)|\||^-(?=\s)", re.MULTILINE)
DASH = re.compile(r"([^\W_]+)?(\)?\s+)(-+)(?=\s+([^\W_]+))|(--+)")
COMPOUND_ENDING = re.compile(r"ed$|^like$|^style")  # "gold - rimmed", "coat - like"
BEFORE_DASH = tags.CLOTHING + tags.HAIR + tags.PERSON + tags.GARMENT_PART + tags.COLOR
SLASHES = 3  # that make a list of a caption without articles and verbs
WORD_OF_SENTENCE = re.compile(r"\b(?:an?|the|and|is|are|has|wear(?:s|ing)|in|with|or)\b|[.,;]")


def replace_separators(text: str, tag_of: Callable[[str], str], phrases: frozenset[str]) -> str:
    """A caption in lower case with the marks of lists as ";" or "–", in the same number of characters.

    A hyphen between spaces is a mark only where a noun phrase can end, and where the words beside it are no word: "t - shirt" has none.
    """

    def dash(match: re.Match[str]) -> str:
        before, space, mark, after, double = match.groups()
        if double is not None:
            return "–" + " " * (len(double) - 1)
        is_mark = len(mark) > 1 or ")" in space or (before is not None and _ends_phrase(before, after, tag_of, phrases))
        return f"{before or ''}{space}{'–' if is_mark else '-'}{' ' * (len(mark) - 1)}"

    if text.count("/") >= SLASHES and not WORD_OF_SENTENCE.search(text):
        text = text.replace("/", ";")
    text = LIST_MARK.sub(lambda match: ";".ljust(len(match[0])), text)
    return DASH.sub(dash, text)


def _ends_phrase(before: str, after: str, tag_of: Callable[[str], str], phrases: frozenset[str]) -> bool:
    """Whether one entry of a list ends with the word before a hyphen and another begins with the word after it."""
    if f"{before} {after}" in phrases or COMPOUND_ENDING.search(after) or tag_of(before) not in BEFORE_DASH:
        return False
    return tag_of(after) not in (tags.AND, tags.UNKNOWN_WORD)
