"""Verdicts of people about rows of a run, which `mals pack` applies: RUN/verdicts.jsonl.

A line is a JSON object: `id` of the row, `keep` (true, false, or null to take a verdict back), `why`, `who`, `time` (UTC, ISO 8601). Of
several lines about a row the last one counts. A row that a person rejects is refused as `person_rejected` by `verdict`, which comes after
all stages. A row that a person keeps is kept where a stage refused it that comes after its labels were made: a row that was refused
earlier has no crop or no caption. Rows that failed, unsafe images, damaged ones and those of a benchmark are never kept.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from mals.errors import UserError
from mals.grid.cells import Grid
from mals.grid.lock import one_at_a_time
from mals.grid.receipt import canonical
from mals.grid.store import Store

VERDICTS = "verdicts.jsonl"
VERDICT = "verdict"  # stands for the stage
PERSON_REJECTED = "person_rejected"
NEVER_KEPT = {
    "unsafe": "is unsafe",
    "damaged_image": "has lost pixels",
    "in_benchmark": "stands in a benchmark",
}  # reason -> what the image is
LAST_MAKER = "label"  # the last stage that makes a column of the packed set


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one person said about a row at one time."""

    id: str
    keep: bool | None  # None: the verdict is taken back
    why: str = ""
    who: str = ""
    time: str = ""

    @classmethod
    def from_line(cls, line: str) -> "Verdict | None":
        """None for a line that is no verdict."""
        try:
            values = json.loads(line)
            return cls(**{name: values[name] for name in ("id", "keep", "why", "who", "time") if name in values})
        except (ValueError, TypeError):
            return None


def read(store: Store) -> list[Verdict]:
    """All verdicts of a run in their order; UserError where a line is none."""
    try:
        text = store.read(VERDICTS).decode(errors="replace").removesuffix("\n")
    except FileNotFoundError:
        return []
    lines = text.split("\n") if text else []  # at no other character: an id may hold those at which str.splitlines cuts
    verdicts = []
    for number, line in enumerate(lines, 1):
        verdict = Verdict.from_line(line)
        if verdict is None or not isinstance(verdict.id, str) or verdict.keep not in (True, False, None):
            raise UserError(f"line {number} of {store.url}/{VERDICTS} is no verdict; correct it, or take the line away")
        verdicts.append(verdict)
    return verdicts


def add(store: Store, verdicts: Iterable[Verdict]) -> None:
    """Append verdicts. The file is whole at every moment, and of two processes that add at once none loses a line."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    lines = [json.dumps(asdict(verdict) | {"time": verdict.time or now}, ensure_ascii=False) + "\n" for verdict in verdicts]
    with one_at_a_time(store, "verdicts"):
        try:
            before = store.read(VERDICTS)
        except FileNotFoundError:
            before = b""
        store.commit(VERDICTS, before + "".join(lines).encode())


def current(verdicts: Iterable[Verdict]) -> dict[str, bool]:
    """Id -> whether a person keeps the row, of rows that have a verdict."""
    last = {verdict.id: verdict.keep for verdict in verdicts}
    return {row: keep for row, keep in last.items() if keep is not None}


def problem(state: str, stage: str | None, reasons: Sequence[str], keep: bool, stages: Sequence[str]) -> str:
    """Why a verdict about a row cannot be taken, a sentence; empty where it can.

    `state` is kept, refused, failed or waiting; `stage` refused the row or failed on it; `stages` are those of the run, in order.
    """
    if state == "failed":
        return f"the row failed in the stage {stage}, so there is nothing to keep; `mals run --retry-errors` tries it again"
    if never := next((what for reason, what in NEVER_KEPT.items() if reason in reasons), None):
        return f"the image {never}, and a person cannot overrule that"
    if keep and state == "refused" and stage not in after_labels(stages):
        return f"the stage {stage} refused the row before it had a caption and labels; change the threshold, and run {stage} again"
    return ""


def after_labels(stages: Sequence[str]) -> Sequence[str]:
    """The stages whose refusals a person can overrule."""
    return stages[stages.index(LAST_MAKER) + 1 :] if LAST_MAKER in stages else []


class Verdicts:
    """The verdicts that count, as a pack applies them."""

    def __init__(self, keep: dict[str, bool], stages: Sequence[str] = ()) -> None:
        self.keep, self.overruled_stages = keep, frozenset(after_labels(stages))

    @classmethod
    def of(cls, grid: Grid) -> "Verdicts":
        """Those of a run."""
        return cls(current(read(grid.store)), list(grid.stages))

    def __bool__(self) -> bool:
        return bool(self.keep)

    @property
    def fingerprint(self) -> str:
        """A hash of them; empty where there are none."""
        return hashlib.sha256(canonical(self.keep)).hexdigest() if self.keep else ""

    def apply(self, table: pa.Table) -> pa.Table:
        """A table of `Grid.table` with the verdicts in its columns refused_by and reject."""
        if not self.keep:
            return table
        verdicts = [self.keep.get(row) for row in table["id"].to_pylist()]
        if all(verdict is None for verdict in verdicts):
            return table
        columns = zip(verdicts, *(table[name].to_pylist() for name in ("refused_by", "reject", "failed_in")), strict=True)
        rows = [self._row(verdict, stage, reasons, failed) for verdict, stage, reasons, failed in columns]
        for name, values in (("refused_by", [stage for stage, _ in rows]), ("reject", [reasons for _, reasons in rows])):
            at = table.column_names.index(name)
            table = table.set_column(at, table.schema.field(name), pa.chunked_array([pa.array(values, table.schema.field(name).type)]))
        return table

    def _row(self, keep: bool | None, stage: str | None, reasons: Any, failed: str | None) -> tuple[str | None, Any]:
        """The stage that refuses a row and the reasons, after its verdict."""
        if keep is False and stage is None and failed is None:
            return VERDICT, [PERSON_REJECTED]
        if keep is True and stage in self.overruled_stages and not any(reason in NEVER_KEPT for reason in reasons):
            return None, None
        return stage, reasons
