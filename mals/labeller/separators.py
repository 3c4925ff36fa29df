"""Marks that separate the entries of a list, as the punctuation that the grammar reads: "man | black coat", "* bun", "lady - red dress"."""

import re
from collections.abc import Callable

from mals.labeller import tags

LIST_MARK = re.compile(r"(?<!\S)[*•]+(?!\S)|\||^-(?=\s)", re.MULTILINE)
DASH = re.compile("-+")
WORD_AFTER = re.compile(r"[^\W_]+")
LONGEST_WORD = 40  # characters: those before a hyphen that are looked at
COMPOUND_ENDING = re.compile(r"\w\wed$|^like$|^style")  # "gold - rimmed", "coat - like"
BEFORE_DASH = tags.CLOTHING + tags.HAIR + tags.PERSON + tags.GARMENT_PART + tags.COLOR
SLASHES = 3  # that make a list of a telegram: a caption without articles and verbs
WORD_OF_SENTENCE = re.compile(r"\b(?:an?|the|and|is|are|has|wear(?:s|ing)|in|with|or)\b", re.IGNORECASE)


def has_separators(text: str) -> bool:
    """Whether a caption can have marks of a list; written for speed."""
    has_dash = "-" in text and (" - " in text or "--" in text or "\n-" in text)
    return has_dash or "|" in text or "/" in text or "*" in text or "•" in text


def replace_separators(text: str, tag_of: Callable[[str], str], phrases: frozenset[str]) -> str:
    """A caption with the marks of lists as ";" or "–", in the same number of characters.

    A hyphen between spaces is a mark only where a noun phrase can end, and where the words beside it are no word: "t - shirt" has none.
    """

    def dash(match: re.Match[str]) -> str:
        start, end = match.span()
        if end - start > 1:
            return "–".ljust(end - start)
        is_spaced = text[start - 1 : start].isspace() and text[end : end + 1].isspace()
        return "–" if is_spaced and _ends_phrase(text, start, is_telegram, tag_of, phrases) else "-"

    is_telegram = WORD_OF_SENTENCE.search(text) is None
    if is_telegram and text.count("/") >= SLASHES and "," not in text:
        text = text.replace("/", ";")
    if "|" in text or "*" in text or "•" in text or "\n-" in text:
        text = LIST_MARK.sub(lambda match: ";".ljust(len(match[0])), text)
    return DASH.sub(dash, text)


def _ends_phrase(text: str, at: int, is_telegram: bool, tag_of: Callable[[str], str], phrases: frozenset[str]) -> bool:
    """Whether one entry of a list ends before the hyphen at this position, and another begins after it."""
    words_before = text[max(0, at - LONGEST_WORD) : at].split()
    match = WORD_AFTER.match(text, at + 2)
    if not words_before or match is None:
        return False
    before, after = words_before[-1].lower(), match[0].lower()
    if before.endswith(")"):
        return True
    if f"{before} {after}" in phrases or COMPOUND_ENDING.search(after):
        return False
    names_field = text[match.end() : match.end() + 2].strip()[:1] in (":", "=")
    if tag_of(before) not in BEFORE_DASH and not (names_field or is_telegram):
        return False
    return tag_of(after) not in (tags.AND, tags.UNKNOWN_WORD)
