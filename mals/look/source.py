"""What pages show: rows with columns, and an image a row. Columns are read when a page needs them, and kept; images are never kept whole.

A source is cut into parts (shards of a run, files of a set). A row has its number, counted over all parts from 0: the number is in the
addresses of pages, so that no id or path of a set is ever part of one.
"""

import threading
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from mals.errors import UserError

KEPT, REFUSED, FAILED, WAITING = "kept", "refused", "failed", "waiting"
STATES = (KEPT, REFUSED, FAILED, WAITING)  # of a row; waiting: its shard has not passed all stages
ROW = "row"  # a column of every query: the number of the row
STATE, STAGE, REASON = "row_state", "row_stage", "row_reason"  # columns of every source: the state; where the row stopped, and why
Kind = Literal["run", "set", "folder"]


@dataclass(frozen=True)
class Part:
    """The rows [start, start + rows) of a source."""

    start: int
    rows: int


@dataclass(frozen=True)
class Refusals:
    """One line for each rule that refused a row, in the order of rows: arrays of one length."""

    rows: pa.Array  # int64
    stages: pa.Array  # string
    reasons: pa.Array  # string


def first_line(error: Exception) -> str:
    """The first line of an error, at most 200 characters of it, or its type where it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


class Source(ABC):
    """Rows with columns and images; safe for several threads."""

    kind: Kind
    title: str  # the path or URL that was given
    parts: list[Part]
    attributes: dict[str, list[str]]  # attribute -> the names of its two values, in the order of the lists in the columns

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.version = 0  # raised when rows changed
        self.unreadable: dict[str, str] = {}  # file -> what is wrong with it
        self._chunks: dict[str, list[pa.Array | None]] = {}  # column -> an array for each part; None where it was not read
        self._whole: dict[str, pa.ChunkedArray] = {}
        self._results: dict[Any, tuple[int, Any]] = {}

    @property
    def rows(self) -> int:
        return self.parts[-1].start + self.parts[-1].rows if self.parts else 0

    @property
    @abstractmethod
    def columns(self) -> Mapping[str, pa.DataType]:
        """The columns without pixels, in the order in which people look at them."""

    @abstractmethod
    def read_part(self, part: int, names: list[str]) -> Mapping[str, pa.Array]:
        """Columns of one part, an array of its rows each; nulls where a cell is not there yet."""

    @abstractmethod
    def refusals(self) -> Refusals:
        """Every rule that refused a row."""

    @abstractmethod
    def image(self, row: int) -> bytes | None:
        """The encoded image of a row; None where there is none to show."""

    @abstractmethod
    def stamp(self, row: int) -> str:
        """A text that changes where the image of a row does; OSError where it cannot be known."""

    def reasons_of(self, row: int) -> list[str]:
        """Every rule that refused a row."""
        return []

    def verdicts(self) -> dict[str, bool]:
        """Id -> whether a person keeps the row."""
        return {}

    def refresh(self) -> None:  # noqa: B027 - not all change
        """Take up what is new."""

    def part_of(self, row: int) -> tuple[int, int]:
        """The part of a row, and the row's place in it; UserError where there is no such row."""
        if not 0 <= row < self.rows:
            rows = f"the rows 0 to {self.rows - 1}" if self.rows else "no rows"
            raise UserError(f"there is no row {row}: {self.title} has {rows}")
        part = bisect_right(self.parts, row, key=lambda part: part.start) - 1
        return part, row - self.parts[part].start

    def load(self, names: Iterable[str]) -> dict[str, pa.ChunkedArray]:
        """Columns of all rows; what was not read before is read now."""
        required = list(dict.fromkeys(names))
        for part in range(len(self.parts)):  # others may read between two parts
            with self.lock:
                self._read_missing(part, [name for name in required if name not in self._whole])
        with self.lock:
            missing = [name for name in required if name not in self._whole]
            for part in range(len(self.parts)):  # those that changed meanwhile
                self._read_missing(part, missing)
            for name in missing:
                self._join(name)
            return {name: self._whole[name] for name in required}

    def _read_missing(self, part: int, names: list[str]) -> None:
        """Read those of the columns of a part that were not read."""
        for name in names:
            self._chunks.setdefault(name, [None] * len(self.parts))
        if unread := [name for name in names if self._chunks[name][part] is None]:
            for name, array in self.read_part(part, unread).items():
                self._chunks[name][part] = array

    def _join(self, name: str) -> None:
        """Make one array of the parts of a column of plain values; the parts become slices of it, so that nothing is held twice."""
        arrays = [array for array in self._chunks[name] if array is not None]
        whole = pa.chunked_array(arrays, self.columns.get(name) if not arrays else None)
        if arrays and pa.types.is_primitive(whole.type):
            array = whole.combine_chunks()
            whole = pa.chunked_array([array])
            self._chunks[name] = [array.slice(part.start, part.rows) for part in self.parts]
        self._whole[name] = whole

    def forget(self, names: Iterable[str], parts: Iterable[int]) -> None:
        """Read these columns of these parts again when they are needed the next time."""
        changed = list(parts)
        with self.lock:
            for name in names:
                if name in self._chunks:
                    self._whole.pop(name, None)
                    for part in changed:
                        self._chunks[name][part] = None
            self.version += 1

    def first_kept(self, count: int) -> list[int]:
        """The first rows that are kept; no more parts are read than needed."""
        rows: list[int] = []
        for number, part in enumerate(self.parts):
            if len(rows) >= count:
                break
            states = self.read_part(number, [STATE])[STATE].to_pylist()
            rows += [part.start + place for place, state in enumerate(states) if state == KEPT]
        return rows[:count]

    def batches(self, names: list[str]) -> Iterator[pa.Table]:
        """Columns of one part after the other; nothing of them is kept."""
        for part in range(len(self.parts)):
            yield pa.table(dict(self.read_part(part, names)))

    def take(self, rows: Sequence[int], names: list[str]) -> list[dict[str, Any]]:
        """Columns of some rows, in their order; only the parts that they are in are read."""
        if not names:  # a table without columns has no rows
            return [{} for _ in rows]
        places = [self.part_of(row) for row in rows]
        values: dict[int, dict[str, Any]] = {}
        for part in dict.fromkeys(part for part, _ in places):
            inside = sorted({place for of, place in places if of == part})
            for place, line in zip(inside, self.take_part(part, inside, names), strict=True):
                values[self.parts[part].start + place] = line
        return [values[row] for row in rows]

    def take_part(self, part: int, places: list[int], names: list[str]) -> list[dict[str, Any]]:
        """Columns of the rows at `places` of one part."""
        with self.lock:
            kept = {name: self._chunks[name][part] for name in names if name in self._chunks}
        arrays = {name: array for name, array in kept.items() if array is not None}
        if unread := [name for name in names if name not in arrays]:
            arrays |= self.read_part(part, unread)
        indices = pa.array(places, pa.int64())
        return pa.table({name: arrays[name].take(indices) for name in names}).to_pylist()

    def cached(self, key: Any, make: Callable[[], Any]) -> Any:
        """The result of `make`, made again only after rows changed."""
        version = self.version
        if key in self._results and self._results[key][0] == version:
            return self._results[key][1]
        result = make()
        self._results[key] = (version, result)
        return result
