"""JSON Lines: a file with one JSON object on each line, perhaps compressed, of which one line is in memory at a time."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mals.errors import UserError, quoted
from mals.planning.json_lists import refuse_surrogates
from mals.planning.json_stream import PARTIAL, RepeatedKey, without_repeated_keys
from mals.planning.text_files import open_text

DECODER = json.JSONDecoder(object_pairs_hook=without_repeated_keys)


def read_lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file, each with its place, such as "attr_0.json, line 3", for errors; blank lines are passed over.

    Raises UserError with the line, where it is read so far, if a line is no JSON object, has a key twice, or a text that is no Unicode.
    """
    if not file.exists():
        raise UserError(f"there is no file {file}")
    with open_text(file) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                where = f"{file}, line {number}"
                yield where, _object(where, line)


def _object(where: str, line: str) -> dict[str, Any]:
    try:
        entry = DECODER.decode(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is not JSON: {error.msg} at column {error.colno}; {PARTIAL}") from None
    except RepeatedKey as error:
        raise UserError(f"{where} has the key {quoted(error.args[0])} twice") from None
    except ValueError:  # Python converts no text of more than 4,300 digits
        raise UserError(f"{where} holds a number of more than 4,300 digits, which is nothing that a list says") from None
    except RecursionError:
        raise UserError(f"{where} is nested too deeply") from None
    if not isinstance(entry, dict):
        raise UserError(f"{where} is not a JSON object")
    refuse_surrogates(where, entry)
    return entry
