"""Values of any parser as columns of texts: what is no text that a file can hold is refused with its place."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from mals.errors import UserError, quoted

INVISIBLE_LETTERS = "\u115f\u1160\u3164\uffa0"  # fillers of Hangul, which count as letters
LETTER = re.compile(f"[^\\W_{INVISIBLE_LETTERS}]")
BLANK_SYMBOLS = "\u2800"  # the empty pattern of Braille


def is_blank(text: str | None) -> bool:
    """Whether a text shows nothing: it is missing, empty, or holds only spaces, controls, marks of width zero and combining marks."""
    if text is None:
        return True
    if LETTER.search(text):
        return False
    blank = INVISIBLE_LETTERS + BLANK_SYMBOLS
    return all(character in blank or unicodedata.category(character)[0] in "ZCM" for character in text)


def text_column(values: Sequence[Any], name: str, place: Callable[[int], str]) -> pa.Array:
    """The values of column `name` as texts: numbers as they are written, null for missing and empty ones.

    `place` names a value's row in errors. Raises UserError for other values than texts and numbers, and for half of a surrogate pair.
    """
    texts = [value if type(value) is str else _text(value) for value in values]
    for at, text in enumerate(texts):
        if text is not None and type(text) is not str:
            raise UserError(f"{place(at)} holds a {type(text).__name__} as its {name}, not a text")
    try:
        return pa.array([text or None for text in texts], pa.string())
    except UnicodeEncodeError:
        at, text = next((at, text) for at, text in enumerate(texts) if text and not _is_unicode(text))
        raise UserError(f"{place(at)} has a {name} that is no Unicode text, since it holds half of a character: {quoted(text)}") from None


def _text(value: Any) -> Any:
    """A number as text, without the fraction that pandas adds to whole numbers where one is missing; other values unchanged."""
    if isinstance(value, float):
        return None if value != value else str(int(value)) if value.is_integer() else str(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def readable_type(kind: pa.DataType) -> bool:
    """Whether a column of this Arrow type holds texts or numbers, in any of their encodings."""
    if isinstance(kind, pa.BaseExtensionType):
        return readable_type(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return readable_type(kind.value_type)
    return is_text_type(kind) or any(
        is_type(kind) for is_type in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    )


def is_text_type(kind: pa.DataType) -> bool:
    """Whether a column of this Arrow type holds strings, in any of their encodings."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return is_text_type(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_list_of_texts(kind: pa.DataType) -> bool:
    """Whether each value of this Arrow type is a list of strings."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view, pa.types.is_large_list_view)
    return any(is_list(kind) for is_list in lists) and is_text_type(kind.value_type)
