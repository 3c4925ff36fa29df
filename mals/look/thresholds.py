"""What a threshold costs: a histogram of its number, how many rows another value would keep, and the rows nearest to the line."""

import shlex
from dataclasses import dataclass
from typing import Any

from mals.look.query import Where, select
from mals.look.rules import THRESHOLDS, Threshold, name_of
from mals.look.run_source import RunSource
from mals.look.source import FAILED, WAITING

BINS = 60
NEAREST = 12  # rows on each side of the line
SPREAD = 24  # shards that say whether the run has a number
TAIL = 0.005  # of the rows beyond each end of the histogram, which its first and last bar hold


@dataclass(frozen=True)
class Histogram:
    """Counts of a number in bins of one width; what lies beyond an end is counted in the first or last bin."""

    start: float
    end: float
    counts: list[int]
    rows: int
    least: float
    greatest: float
    whole: bool  # the number is a whole one

    @property
    def width(self) -> float:
        """Of one bin."""
        return (self.end - self.start) / len(self.counts)

    @property
    def step(self) -> float:
        """Of a slider."""
        return 1.0 if self.whole else float(f"{(self.end - self.start) / 500:.1g}") or 1e-6

    def place(self, value: float) -> float:
        """Where a value stands, in percent of the width."""
        return max(0.0, min(100.0, 100 * (value - self.start) / (self.end - self.start)))

    @property
    def heights(self) -> list[float]:
        """Heights of the bars, in percent: the square root of counts, so that rare values can be seen."""
        top = max(self.counts) or 1
        return [100 * (count / top) ** 0.5 for count in self.counts]


@dataclass(frozen=True)
class Line:
    """One threshold in the list of all."""

    name: str
    threshold: Threshold
    least: float | None  # the limits in the settings
    greatest: float | None
    refused: int  # rows on which the rule fired
    alone: int  # of them those on which no other rule did


@dataclass(frozen=True)
class Effect:
    """What other limits would do with the rows that have the number; rows of stages before are as they are."""

    rows: int
    refused: int  # by these limits
    newly_refused: int  # now kept by this stage
    newly_kept: int  # now refused by this rule alone
    kept_nearest: list[tuple[int, float]]  # row, number
    refused_nearest: list[tuple[int, float]]
    overlap: list[tuple[str, int]]  # another rule of the stage -> rows that it refuses among those refused by these limits


def lines(source: RunSource) -> list[Line]:
    """The thresholds whose number the run has."""

    def count() -> list[Line]:
        fired = {(stage, reason): (rows, alone) for stage, reason, rows, alone in select(source, FIRED)}
        lines = []
        for threshold in THRESHOLDS:
            if threshold.stage not in source.grid.stages:
                continue
            rows, alone = fired.get((threshold.stage, threshold.reason), (0, 0))
            if _has_columns(source, threshold):
                lines.append(Line(name_of(threshold), threshold, *threshold.limits(source.run.config), rows, alone))
        return lines

    return source.cached("thresholds", count)


FIRED = """
    WITH alone AS (SELECT row FROM refusals GROUP BY row HAVING count(*) = 1)
    SELECT stage, reason, count(*), count(*) FILTER (row IN (SELECT row FROM alone)) FROM refusals GROUP BY ALL
"""


def _has_columns(source: RunSource, threshold: Threshold) -> bool:
    """Whether the columns are there and hold a number in some row of shards that are spread over the run; the others are not read."""
    if any(column not in source.columns for column in threshold.columns):
        return False
    done = source.shards_with(threshold.columns[0])
    spread = dict.fromkeys(done[at * len(done) // SPREAD] for at in range(SPREAD)) if done else {}
    names = list(threshold.columns)
    return any(all(array.null_count < len(array) for array in source.read_part(part, names).values()) for part in spread)


def overlap(source: RunSource) -> tuple[list[str], list[list[int]]]:
    """The rules that fired, and how many rows each two of them refuse together; a rule's own rows stand on the diagonal."""

    def count() -> tuple[list[str], list[list[int]]]:
        pairs = {(a, b): rows for a, b, rows in select(source, PAIRS)}
        names = sorted({a for a, _ in pairs}, key=lambda name: -pairs[name, name])
        return names, [[pairs.get((a, b), 0) for b in names] for a in names]

    return source.cached("overlap", count)


PAIRS = "SELECT a.reason, b.reason, count(*) FROM refusals a JOIN refusals b ON a.row = b.row GROUP BY ALL"


def histogram(source: RunSource, threshold: Threshold) -> Histogram | None:
    """The histogram of the number; None where no row has it."""

    def count() -> Histogram | None:
        sql = f"""SELECT count(v), min(v), max(v), quantile_cont(v, {TAIL}), quantile_cont(v, {1 - TAIL}), bool_and(v = floor(v))
            FROM (SELECT ({threshold.sql})::DOUBLE AS v FROM rows) WHERE v IS NOT NULL AND NOT isnan(v)"""
        rows, least, greatest, start, end, whole = select(source, sql, columns=threshold.columns)[0]
        if not rows:
            return None
        limits = [limit for limit in threshold.limits(source.run.config) if limit is not None]
        start, end = _around(min([start, *limits]), max([end, *limits]), least, greatest)
        bins = int(min(BINS, end - start + 1)) if whole else BINS
        sql = f"""SELECT least(greatest(floor((v - ?) / ?), 0), {bins - 1})::INT AS bin, count(*)
            FROM (SELECT ({threshold.sql})::DOUBLE AS v FROM rows) WHERE v IS NOT NULL AND NOT isnan(v) GROUP BY bin"""
        if whole:
            end = start + bins * max(1, round((end - start + 1) / bins))
        counted = dict(select(source, sql, Where(values=[start, (end - start) / bins]), threshold.columns))
        return Histogram(start, end, [counted.get(number, 0) for number in range(bins)], rows, least, greatest, whole)

    return source.cached(("histogram", name_of(threshold)), count)


def _around(start: float, end: float, least: float, greatest: float) -> tuple[float, float]:
    """The ends of a histogram, with some room beyond, as far as there are values."""
    room = (end - start) / 20
    start, end = min(start, max(least, start - room)), max(end, min(greatest, end + room))
    return (start, end) if end > start else (start, start + 1)


def effect(source: RunSource, threshold: Threshold, least: float | None, greatest: float | None) -> Effect:
    """What the limits `least` and `greatest` would do."""

    def count() -> Effect:
        refused_by = " OR ".join(f"v {sign} {limit!r}" for sign, limit in (("<", least), (">", greatest)) if limit is not None)
        table = _judged(threshold, refused_by or "FALSE")
        rule = [threshold.stage, threshold.reason]
        ((rows, refused, new_refused, new_kept),) = select(source, f"{table} {COUNTS}", Where(values=rule), _needs(threshold))
        nearest = {side: _nearest(source, threshold, table, side, least, greatest) for side in (False, True)}
        others = select(source, f"{table} {OTHERS}", Where(values=rule * 2), _needs(threshold))
        overlaps = [(reason, count) for reason, count in others]
        return Effect(rows, refused, new_refused, new_kept, nearest[False], nearest[True], overlaps)

    return source.cached(("effect", name_of(threshold), least, greatest), count)


def _needs(threshold: Threshold) -> list[str]:
    return [*threshold.columns, "row_state", "row_stage"]


def _judged(threshold: Threshold, refused: str) -> str:
    """The start of a query: `judged` has a row's number, whether the limits refuse it, and what refuses it now."""
    return f"""WITH here AS (SELECT row, list(reason) AS reasons FROM refusals WHERE stage = ? GROUP BY row),
        numbers AS (SELECT row, row_state, row_stage, ({threshold.sql})::DOUBLE AS v FROM rows),
        judged AS (SELECT n.*, ({refused}) AS out, h.reasons, coalesce(h.reasons = [?], FALSE) AS alone
            FROM numbers n LEFT JOIN here h USING (row) WHERE v IS NOT NULL AND NOT isnan(v))"""


COUNTS = """SELECT count(*), count(*) FILTER (out), count(*) FILTER (out AND reasons IS NULL), count(*) FILTER (NOT out AND alone)
    FROM judged"""
OTHERS = """SELECT reason, count(*) FROM (SELECT unnest(reasons) AS reason FROM judged WHERE out)
    WHERE ? IS NOT NULL AND reason != ? GROUP BY ALL ORDER BY 2 DESC"""


def _nearest(
    source: RunSource, threshold: Threshold, table: str, out: bool, least: float | None, greatest: float | None
) -> list[tuple[int, float]]:
    """The rows of one side whose numbers are nearest to a limit, with them."""
    distances = [f"abs(v - {limit!r})" for limit in (least, greatest) if limit is not None]
    if not distances:
        return []
    distance = distances[0] if len(distances) == 1 else f"least({', '.join(distances)})"
    sql = f"""{table} SELECT row, v FROM judged WHERE {"out" if out else "NOT out"} AND row_state NOT IN ('{FAILED}', '{WAITING}')
        ORDER BY {distance}, row LIMIT {NEAREST}"""
    return [(row, value) for row, value in select(source, sql, Where(values=[threshold.stage, threshold.reason]), _needs(threshold))]


def command(url: str, threshold: Threshold, least: float | None, greatest: float | None, config_limits: tuple[Any, Any]) -> str:
    """The command that takes these limits over; empty where they are those of the settings."""
    pairs = ((threshold.least, least, config_limits[0]), (threshold.greatest, greatest, config_limits[1]))
    changed = [f"--set {name}={_setting(limit)}" for name, limit, old in pairs if name is not None and limit is not None and limit != old]
    return f"mals run {shlex.quote(url)} {' '.join(changed)} --rerun {threshold.stage}" if changed else ""


def _setting(limit: float) -> str:
    """A limit with all its digits, a whole number without a point, as settings take it."""
    return f"{limit:.0f}" if limit.is_integer() and abs(limit) < 1e15 else repr(limit)
