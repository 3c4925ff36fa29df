"""Questions about the rows of a source, answered by DuckDB over the columns in memory; values are parameters, never part of the SQL."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from mals.errors import UserError
from mals.look.source import ROW, STAGE, STATE, STATES, Source

PAGE = 60  # images of one page
MEMORY = "384MB"  # of DuckDB, for sorting and grouping


@dataclass(frozen=True)
class Filters:
    """Which rows a page shows, in which order."""

    state: str = ""  # one of STATES; empty: any
    stage: str = ""  # that refused the row, or failed on it
    reason: str = ""  # any rule that refused it
    text: str = ""  # words that the caption contains, in any order
    id: str = ""  # a part of the id
    person: str = ""  # the identity
    attributes: tuple[str, ...] = ()  # "hat=yes"
    verdict: str = ""  # of a person: "keep" or "reject"
    number: str = ""  # a column of numbers, which the rows are sorted by
    least: float | None = None  # of that number
    greatest: float | None = None
    descending: bool = False

    def problems(self, source: Source) -> str:
        """What is wrong with the filters, a sentence; empty if nothing is."""
        if self.state and self.state not in STATES:
            return f"there is no state {self.state!r}; there are {', '.join(STATES)}"
        if self.verdict not in ("", "keep", "reject"):
            return f"there is no verdict {self.verdict!r}; there are keep and reject"
        if self.number and self.number not in numbers(source):
            return f"there is no number {self.number!r} in this {source.kind}"
        for pair in self.attributes:
            name, _, value = pair.partition("=")
            if name not in source.attributes or value not in (*source.attributes[name], "unknown"):
                return f"there is no attribute value {pair!r}"
        return ""


@dataclass
class Where:
    """The condition of a query, and what it needs."""

    conditions: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    reason: bool = False  # the table `refusals` is used

    def add(self, condition: str, *values: Any, columns: Iterable[str] = ()) -> None:
        self.conditions.append(condition)
        self.values += values
        self.columns += columns

    @property
    def sql(self) -> str:
        return " AND ".join(self.conditions) or "TRUE"


def numbers(source: Source) -> list[str]:
    """The columns that hold one number a row."""
    return [name for name, kind in source.columns.items() if pa.types.is_integer(kind) or pa.types.is_floating(kind)]


def quoted_name(name: str) -> str:
    """A column as SQL names it."""
    return '"' + name.replace('"', '""') + '"'


def where(source: Source, filters: Filters) -> Where:
    """The condition of `filters`; UserError where they name what is not there."""
    if problem := filters.problems(source):
        raise UserError(problem)
    condition = Where()
    if filters.state:
        condition.add(f"{STATE} = ?", filters.state, columns=[STATE])
    if filters.stage:
        condition.add(f"{STAGE} = ?", filters.stage, columns=[STAGE])
    if filters.reason:
        condition.add("row IN (SELECT row FROM refusals WHERE reason = ?)", filters.reason)
        condition.reason = True
    for word in filters.text.split():
        condition.add("contains(lower(caption), ?)", word.lower(), columns=["caption"])
    if filters.id:
        condition.add("contains(id, ?)", filters.id, columns=["id"])
    if filters.person:
        condition.add("person = ?", filters.person, columns=["person"])
    if filters.verdict:
        judged = [row for row, keep in source.verdicts().items() if keep == (filters.verdict == "keep")]
        condition.add("id IN (SELECT unnest(?::VARCHAR[]))", judged, columns=["id"])
    for pair in filters.attributes:
        name, _, value = pair.partition("=")
        place = [*source.attributes].index(name) + 1
        label = source.attributes[name].index(value) if value != "unknown" else -1
        condition.add(f"attributes[{place}] = ?", label, columns=["attributes"])
    if filters.number:
        column = quoted_name(filters.number)
        condition.add(f"{column} IS NOT NULL", columns=[filters.number])
        for sign, limit in ((">=", filters.least), ("<=", filters.greatest)):
            if limit is not None:
                condition.add(f"{column} {sign} ?", limit)
    return condition


@dataclass(frozen=True)
class Page:
    """The rows of one page, and how many fit the filters in all."""

    rows: list[int]
    total: int


def page(source: Source, filters: Filters, number: int, size: int = PAGE) -> Page:
    """The page with this number, from 0."""
    condition = where(source, filters)

    def ask() -> Page:
        total = select(source, f"SELECT count(*) FROM rows WHERE {condition.sql}", condition)[0][0]
        sql = f"SELECT row FROM rows WHERE {condition.sql} ORDER BY {_order(filters)} LIMIT {size:d} OFFSET {number * size:d}"
        return Page([row for (row,) in select(source, sql, condition)], total)

    return ask() if filters.verdict else source.cached(("page", filters, number, size), ask)


def ids(source: Source, filters: Filters) -> list[str]:
    """The ids of all rows that fit the filters, in the order of the pages."""
    condition = where(source, filters)
    condition.columns.append("id")
    sql = f"SELECT id FROM rows WHERE {condition.sql} ORDER BY {_order(filters)}"
    return [name for (name,) in select(source, sql, condition)]


def _order(filters: Filters) -> str:
    """The SQL of the order of pages."""
    return f"{quoted_name(filters.number)} {'DESC' if filters.descending else 'ASC'}, row" if filters.number else "row"


def select(source: Source, sql: str, condition: Where | None = None, columns: Sequence[str] = ()) -> list[tuple[Any, ...]]:
    """The lines that a query of the tables `rows` and `refusals` gives.

    `rows` has the columns that are named in `condition` and `columns`, and `row`; `refusals` has row, stage and reason.
    """
    import duckdb

    condition = condition or Where()
    required = [*condition.columns, *columns]
    tables = {"rows": _rows(source, required)}
    if condition.reason or "refusals" in sql:
        lines = source.refusals()
        tables["refusals"] = pa.table({"row": lines.rows, "stage": lines.stages, "reason": lines.reasons})
    with duckdb.connect(config={"threads": 2, "memory_limit": MEMORY, "enable_external_access": False}) as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return connection.execute(sql, condition.values).fetchall()


def _rows(source: Source, names: Iterable[str]) -> pa.Table:
    """The table `rows` of a query."""
    loaded = source.load(names)
    numbered = source.cached(ROW, lambda: pa.array(np.arange(source.rows, dtype=np.int64)))
    return pa.table({ROW: numbered, **loaded})
