"""The JSON lists of public data sets, and lists of one's own in their form: one reader for planning, training and imports.

A list is a JSON array of objects, perhaps compressed. An object is an image with its captions:

    CUHK-PEDES, ICFG-PEDES   file_path, captions, id            RSTPReid   img_path, captions, id
    APTM's own lists         image, caption, image_id           MALS       the same and label
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mals.errors import UserError, quoted
from mals.planning.column_texts import is_blank
from mals.planning.json_stream import JsonStream, open_json
from mals.planning.text_files import text_suffix

IMAGE_KEYS = ("file_path", "img_path", "image")
NAMED = 8  # keys of an object that a sentence names
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # ends a line, or does other things to a terminal
LONGEST_KEY = 40  # characters of a key that a sentence names
LONGEST_ID = 200  # characters
NOT_A_LIST = "not a list of objects as CUHK-PEDES, ICFG-PEDES, RSTPReid and MALS do"


class ListRow(NamedTuple):
    """A caption of an image, or an image without one."""

    number: int  # of its object, from 1 on
    image: str  # its path, with "/" between folders
    caption: str | None
    id: str | None  # of the image: of MALS alone
    person: str | None


def is_list(path: Path) -> bool:
    """Whether a path has the name of a JSON list."""
    return text_suffix(path) == ".json"


def read_objects(file: Path, encoding: str | None = None) -> list[dict[str, Any]]:
    """The objects of a list, see `stream_objects`."""
    return list(stream_objects(file, encoding))


def stream_objects(file: Path, encoding: str | None = None) -> Iterator[dict[str, Any]]:
    """The objects of a list, one in memory at a time; `encoding` as for `open_json`.

    Raises UserError, where it is read so far, if the file holds something else, no object, or a text that is no Unicode.
    """
    number = 0
    with open_json(file, encoding) as stream:
        if stream.peek() != "[":
            raise UserError(f"{file} holds {_other_kind(stream)}, {NOT_A_LIST}")
        for number, entry in enumerate(stream.members(), 1):
            if not isinstance(entry, dict):
                raise UserError(f"{file} holds a list that is not of objects, {NOT_A_LIST}")
            if stream.has_surrogates:
                refuse_surrogates(f"{file}: object {number}", entry)
            yield entry
    if not number:
        raise UserError(f"{file} is an empty list: it holds no caption and no image")


def stream_entries(file: Path) -> Iterator[tuple[str, Any]]:
    """Names and values of a file that is one object, one in memory at a time; a name may come again.

    Raises UserError, where it is read so far, if the file holds something else, an empty object, or a text that is no Unicode.
    """
    number = 0
    with open_json(file) as stream:
        if stream.peek() != "{":
            kind = "a list" if stream.peek() == "[" else _other_kind(stream)
            raise UserError(f"{file} holds {kind}, not one object of names and captions")
        for number, (name, value) in enumerate(stream.pairs(), 1):
            if stream.has_surrogates:
                refuse_surrogates(f"{file}: entry {number}", [name, value])
            yield name, value
    if not number:
        raise UserError(f"{file} is an empty object: it holds no caption and no image")


def list_rows(file: Path, objects: Iterable[Mapping[str, Any]], require_captions: bool = True) -> Iterator[ListRow]:
    """A row for each caption of the objects of a list, in their order.

    Raises UserError for other objects than those of a list, with the object's number; with `require_captions` also where a caption is
    missing. Otherwise an image without a caption is one row.
    """
    for number, entry in enumerate(objects, 1):
        where = f"{file}: object {number}"
        key = next((name for name in IMAGE_KEYS if name in entry), None)
        if key is None:
            raise UserError(f"{where} has {'the keys ' if entry else ''}{key_names(entry)}, which none of the known data sets has")
        image, person, own_id = image_path(where, entry[key], key), identifier(where, "id", entry.get("id")), None
        if "image_id" in entry:  # in MALS the name of the image; in APTM's lists of real data sets the identity
            name = identifier(where, "image_id", entry["image_id"])
            own_id, person = (name, person) if "label" in entry else (own_id, name)
        captions = captions_of(where, entry)
        if require_captions and None in captions:
            raise UserError(f"{where} has no caption")
        for caption in captions:
            yield ListRow(number, image, caption, own_id, person)


def captions_of(where: str, entry: Mapping[str, Any]) -> list[str | None]:
    """The captions of an object, None for each that is blank, [None] where it has none; UserError for other things than texts."""
    captions = listed_captions(entry)
    for caption in captions:
        if not isinstance(caption, str) and not _is_missing(caption):
            raise UserError(f"{where} has {_kind(caption)} as a caption, not a text")
    return [caption if isinstance(caption, str) and not is_blank(caption) else None for caption in captions] or [None]


def listed_captions(entry: Mapping[str, Any]) -> list[Any]:
    """What an object has as its captions, unchecked; `caption` counts where there is no `captions`, or it is null."""
    value = entry.get("captions")
    value = entry.get("caption") if value is None else value
    return value if isinstance(value, list) else [value]


def image_path(where: str, value: Any, key: str) -> str:
    """The path of an image, "\\" of Windows as "/"; UserError if it is none."""
    if not isinstance(value, str):
        raise UserError(f"{where} has {_kind(value)} as its {key}, not the path of an image")
    path = value.replace("\\", "/")
    if not path.strip("./ ") or path.endswith("/") or CONTROL.search(path):
        raise UserError(f"{where} has {quoted(value)} as its {key}, which is no path of an image")
    return str(PurePosixPath(path))


def identifier(where: str, key: str, value: Any) -> str | None:
    """An id as text; None where it is missing. UserError if it is neither a text nor a number, or is too long to be an id."""
    if value == "" or _is_missing(value):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float) or (isinstance(value, float) and math.isinf(value)):
        raise UserError(f"{where} has {_kind(value)} as its {key}, not a number or a text")
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if CONTROL.search(text):
        raise UserError(f"{where} has {quoted(text)} as its {key}, which no person or image is called")
    if len(text) > LONGEST_ID:
        raise UserError(f"{where} has an {key} of {len(text):,} characters, where {LONGEST_ID} are the most")
    return text


def refuse_surrogates(where: str, value: Any) -> None:
    """UserError where a text holds half of a surrogate pair, which no file can hold."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{where} holds \\u{ord(value[error.start]):04x}, half of a character") from None
    elif isinstance(value, dict):
        for name, part in value.items():
            refuse_surrogates(where, name)
            refuse_surrogates(where, part)
    elif isinstance(value, list):
        for part in value:
            refuse_surrogates(where, part)


def _is_missing(value: Any) -> bool:
    """Whether a value says that there is none: null, or NaN, as pandas writes it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def key_names(entry: Mapping[str, Any]) -> str:
    """The keys of an object, for a sentence; "no key" where it has none."""
    names = [name if name.isprintable() and len(name) <= LONGEST_KEY else quoted(name, LONGEST_KEY) for name in list(entry)[:NAMED]]
    return ", ".join(names) + (f" and {len(entry) - NAMED:,} more" if len(entry) > NAMED else "") or "no key"


def _other_kind(stream: JsonStream) -> str:
    """What a file holds whose first character begins no list, for a sentence."""
    if stream.peek() != "{":
        return _kind(stream.value())
    name = stream.first_name()
    return "an empty object" if name is None else f"an object that begins with the key {key_names({name: None})}"


def _kind(value: Any) -> str:
    """What a JSON value is, for a sentence."""
    if isinstance(value, dict):
        return f"an object with {key_names(value)}"
    if isinstance(value, list):
        return "a list that is not of objects" if value and not isinstance(value[0], str) else "a list"
    names = {str: "a text", bool: "true or false", int: "a number", float: "a number", type(None): "nothing"}
    return names[type(value)]
