"""JSON files of any size, read value by value: the members of a list, or the names and values of one object.

About a megabyte of the file is in memory at a time. Python's own decoder reads each value, so that a file means what it means to
`json.loads`, with NaN and long numbers; the streaming parser ijson takes half of a surrogate pair for "?" and keeps the last of two
values of the same key, both without a word.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mals.errors import UserError, quoted
from mals.planning.text_files import first_bytes, open_text

PIECE = 1 << 20  # characters that are read at a time
LONGEST = 1 << 26  # characters of a value; a value that does not end before is taken for damaged
SPACE = re.compile(r"[ \t\n\r]*")
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # half of a pair, or one that stands alone
PARTIAL = "perhaps it was downloaded in part"


class RepeatedKey(Exception):
    """A JSON object has the same key twice; the argument is the key."""


def without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of a JSON parser's pairs (`object_pairs_hook`). Raises RepeatedKey, since all values but the last would be lost."""
    entry = dict(pairs)
    if len(entry) < len(pairs):
        names = [name for name, _ in pairs]
        raise RepeatedKey(next(name for name in names if names.count(name) > 1))
    return entry


DECODER = json.JSONDecoder(object_pairs_hook=without_repeated_keys)


@contextmanager
def open_json(file: Path, encoding: str | None = None) -> Iterator["JsonStream"]:
    """The text of a JSON file, perhaps compressed; UserError if it cannot be read, is no text, or is empty.

    `encoding` is that of a text without a byte order mark that is not UTF-8, see `mals.planning.text_files`.
    """
    if not file.exists():
        raise UserError(f"there is no JSON list {file}")
    with open_text(file, encoding or json.detect_encoding(first_bytes(file)[:4])) as text:  # JSON needs no mark for UTF-16
        stream = JsonStream(file, text)
        if not stream.peek():
            raise UserError(f"{file} is empty")
        yield stream


class JsonStream:
    """A JSON text and a place in it. All methods raise UserError, with line and column, where the text is not JSON."""

    def __init__(self, file: Path, text: IO[str]) -> None:
        self.has_surrogates = False  # whether the last value has an escape that may be half of a character
        self._file, self._stream = file, text
        self._text, self._at, self._ended = "", 0, False  # a part of the file, the place in it, and whether nothing comes after it
        self._line, self._column = 1, 1  # of the first character of that part

    def peek(self) -> str:
        """The next character that is no white space; "" at the end of the file."""
        while True:
            match = SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read():
                return ""

    def value(self) -> Any:
        """The value that begins here; the place is after it then."""
        self.peek()
        while True:
            problem = None
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                problem = error
            except RepeatedKey as error:
                raise UserError(f"{self._file} has an object with the key {quoted(error.args[0])} twice") from None
            except ValueError:  # Python converts no text of more than 4,300 digits
                raise UserError(f"{self._file} holds a number of more than 4,300 digits, which is nothing that a list says") from None
            except RecursionError:
                raise UserError(f"{self._file} is nested too deeply") from None
            if problem is None and (end < len(self._text) or self._ended):  # a number may go on in the next part
                self.has_surrogates = SURROGATE.search(self._text, self._at, end) is not None
                self._at = end
                return value
            if problem and (self._ended or len(self._text) - self._at > LONGEST):
                raise self._refusal(problem)
            self._read()

    def members(self) -> Iterator[Any]:
        """The values of the list that begins here and ends the file."""
        self._take("[", "Expecting value")
        if self.peek() == "]":
            self._at += 1
        else:
            yield self.value()
            while self._take(",]", "Expecting ',' delimiter") == ",":
                yield self.value()
        self._end()

    def pairs(self) -> Iterator[tuple[str, Any]]:
        """Names and values of the object that begins here and ends the file; a name may come again."""
        self._take("{", "Expecting value")
        if self.peek() == "}":
            self._at += 1
        else:
            yield self._pair()
            while self._take(",}", "Expecting ',' delimiter") == ",":
                yield self._pair()
        self._end()

    def first_name(self) -> str | None:
        """The first name of the object that begins here; None if it has none."""
        self._take("{", "Expecting value")
        return self.value() if self.peek() == '"' else None

    def _pair(self) -> tuple[str, Any]:
        if self.peek() != '"':
            raise self._refusal(self._problem("Expecting property name enclosed in double quotes"))
        name = self.value()
        surrogates = self.has_surrogates
        self._take(":", "Expecting ':' delimiter")
        value = self.value()
        self.has_surrogates |= surrogates
        return name, value

    def _take(self, characters: str, problem: str) -> str:
        """The next character, which must be one of these; the place is after it then."""
        character = self.peek()
        if not character or character not in characters:
            raise self._refusal(self._problem(problem))
        self._at += 1
        return character

    def _end(self) -> None:
        if self.peek():
            raise self._refusal(self._problem("Extra data"))

    def _read(self) -> bool:
        """Read another piece of the file, at least as long as what is not read yet, and drop what was read; False at the end."""
        done, rest = self._text[: self._at], self._text[self._at :]
        lines = done.count("\n")
        self._column = len(done) - done.rfind("\n") if lines else self._column + len(done)
        self._line += lines
        piece = self._stream.read(max(PIECE, len(rest)))
        self._text, self._at, self._ended = rest + piece, 0, not piece
        return bool(piece)

    def _problem(self, message: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, self._text, self._at)

    def _refusal(self, problem: json.JSONDecodeError) -> UserError:
        column = problem.colno + (self._column - 1 if problem.lineno == 1 else 0)
        place = f"line {self._line + problem.lineno - 1}, column {column}"
        return UserError(f"{self._file} is not JSON: {problem.msg} at {place}; {PARTIAL}")
