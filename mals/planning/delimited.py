"""Tables as text: fields between commas, semicolons, tabs or bars, as spreadsheets and databases write them.

The delimiter is not told by a file's name: a spreadsheet writes semicolons into .csv where the comma is the decimal sign. It is the one
that splits the first line into column names, or the one that a first line "sep=;" names.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import IO

from mals.errors import UserError

DELIMITERS = ",;\t|"
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
LONGEST_FIELD = 1 << 30  # characters; the default of Python's csv is 131,072
SEPARATOR = re.compile(r'"?sep=(.)"?\1*[\r\n]+')  # the first line that Excel writes to name the delimiter


@dataclass(frozen=True)
class Layout:
    """How a file's fields are divided, and its column names."""

    delimiter: str
    names: list[str]
    separator_line: bool = False  # a line "sep=;" stands before the names


def layout(sample: str, column: str, preferred: str = ",") -> Layout:
    """The layout of a file that begins with `sample`, in which a column of the name `column` is expected.

    Where the name is not there, the layout with the most columns; where every delimiter gives the same, `preferred`.
    """
    lines = sample.lstrip("\r\n")
    if match := SEPARATOR.match(lines):
        return Layout(match[1], _first_row(lines[match.end() :], match[1]), separator_line=True)
    candidates = [Layout(delimiter, _first_row(lines, delimiter)) for delimiter in dict.fromkeys(preferred + DELIMITERS)]
    with_column = [candidate for candidate in candidates if column in candidate.names]
    return max(with_column or candidates, key=lambda candidate: len(candidate.names))


def _first_row(text: str, delimiter: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader(StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True), [])]
    except csv.Error:
        return []


def rows(stream: IO[str], layout: Layout, file: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its last line, fields) of each row after the column names; blank lines are skipped.

    Raises UserError for a row that has not as many fields as there are names, and for quotes that do not fit.
    """
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(stream, delimiter=layout.delimiter, skipinitialspace=True, strict=True)
    columns = len(layout.names)
    name = NAMES.get(layout.delimiter, repr(layout.delimiter))
    before = 1 + layout.separator_line  # lines that hold no row
    try:
        for row in reader:
            if row and before:
                before -= 1
            elif len(row) == columns:
                yield reader.line_num, row
            elif row:
                quotes = f"put texts that hold {name} into quotes"
                raise UserError(f"{file}, line {reader.line_num} has {len(row)} fields where the header has {columns}; {quotes}")
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num} is not CSV: {error}") from None


def lacks_header(names: list[str]) -> bool:
    """Whether the first line of a file looks like a caption rather than column names: a field has four words or more."""
    return any(len(name.split()) >= 4 for name in names)
