"""Progress on stderr while a run works, and its events, which keep it; no result depends on what is written here.

A line of events.jsonl (mals.grid.events) is a JSON object with `time` (UTC, ISO 8601), `event`, `stage` and more keys, by the event:

    begin    shards (to make), rows (of these shards), done (shards made before)
    shard    shard, attempt, rows, active, rejects, failed, seconds, batch, node: as in its receipt
    summary  rows, bytes, seconds: of the summary of a global stage
    failed   shard, attempt, errors (message -> rows), trace
    lost     shard, node, reason: a worker was lost, its shard is made elsewhere
    end      shards (made), seconds
    stopped  stages (at work), reason: the error that ended the command

Several stages are at work at a time, so the events of one stage lie between those of others.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from mals.grid.events import EventLog
from mals.grid.executor import Failure, Lost
from mals.grid.receipt import Receipt
from mals.grid.remote import StoreFailed
from mals.grid.store import Store

log = logging.getLogger(__name__)


@dataclass
class StageProgress:
    """One stage that is at work."""

    stage: str
    shards: int  # to make
    all_rows: int  # of these
    began: float  # seconds of the monotonic clock
    reported: float
    task: TaskID | None = None  # its line of the live display
    done: int = 0  # shards
    rows: int = 0
    active: int = 0
    kept: int = 0

    def add(self, receipt: Receipt) -> None:
        """Count a new cell."""
        self.done += 1
        self.rows += receipt.rows
        self.active += receipt.active
        self.kept += receipt.active - sum(receipt.rejects.values()) - receipt.failed

    def rate(self, place: str) -> str:
        """ "6,144 rows, 3.2 rows/s, kept 91 %, 12 min left" """
        seconds = max(time.monotonic() - self.began, 1e-6)
        parts = [f"{self.rows:,} rows", f"{self.rows / seconds:.1f} rows/s"]
        if self.active:
            parts.append(f"kept {100 * self.kept / self.active:.0f} %")
        if self.rows and self.done < self.shards:
            parts.append(f"{_span((self.all_rows - self.rows) * seconds / self.rows)} left")
        return ", ".join([*parts, place] if place else parts)


class Progress:
    """A line a stage at work on stderr: live bars on a terminal, plain lines every ten seconds elsewhere."""

    def __init__(self, store: Store, quiet: bool = False):
        self.quiet = quiet
        self.console = Console(stderr=True)
        self.events = EventLog(store)
        self.bar: Bar | None = None
        self.stages: dict[str, StageProgress] = {}  # that are at work
        self.place = ""

    def __enter__(self) -> "Progress":
        self.events.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop_bar()
        if kind is not None:
            self.event("stopped", stages=list(self.stages), reason=f"{kind.__name__}: {error}")
        self.events.close(lost=isinstance(error, StoreFailed))

    def event(self, kind: str, **values: Any) -> None:
        """Append one line to the events."""
        self.events.add(kind, **values)

    def began(self, stage: str) -> bool:
        """Whether a stage has begun and not ended."""
        return stage in self.stages

    def begin(self, stage: str, shards: int, rows: int, done: int) -> None:
        """A stage starts with `shards` to make, which have `rows` rows; `done` shards were made before."""
        now = time.monotonic()
        self.stages[stage] = StageProgress(stage, shards, rows, now, now)
        self.event("begin", stage=stage, shards=shards, rows=rows, done=done)
        if not self.quiet and self.console.is_terminal:
            if self.bar is None:
                self.bar = self._live_bar()
                self.bar.start()
            self.stages[stage].task = self.bar.add_task(stage, total=shards, rate="")

    def _live_bar(self) -> Bar:
        texts = (TextColumn("{task.description:9}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
        return Bar(SpinnerColumn(), *texts, TimeElapsedColumn(), console=self.console)

    def dropped(self, stage: str, rows: int) -> None:
        """One shard less is made in a stage: its cell is good as it is, or cannot be made."""
        if stage in self.stages:
            self.stages[stage].shards -= 1
            self.stages[stage].all_rows -= rows
            self._report(self.stages[stage])

    def finished(self, receipt: Receipt, place: str = "") -> None:
        """A new cell is finished; `place`: where the work is done (Executor.place)."""
        self.place = place
        self.stages[receipt.stage].add(receipt)
        values = {
            "rows": receipt.rows,
            "active": receipt.active,
            "rejects": receipt.rejects,
            "failed": receipt.failed,
            "seconds": receipt.seconds,
            "node": receipt.node,
        }
        self.event("shard", stage=receipt.stage, shard=receipt.shard, attempt=receipt.attempt, batch=receipt.batch, **values)
        self._report(self.stages[receipt.stage])

    def failed(self, stage: str, failure: Failure) -> None:
        """An attempt at a shard failed."""
        self.event("failed", stage=stage, shard=failure.shard, attempt=failure.attempt, errors=failure.errors, trace=failure.trace)
        if not self.quiet:
            self.console.print(
                f"{stage} shard {failure.shard}, attempt {failure.attempt}: {failure.commonest}", highlight=False, markup=False
            )

    def lost(self, stage: str, lost: Lost) -> None:
        """A worker was lost with a shard."""
        self.event("lost", stage=stage, shard=lost.shard, node=lost.node, reason=lost.reason)
        if not self.quiet:
            self.console.print(f"{stage} shard {lost.shard}: lost with {lost.node}, made elsewhere", highlight=False, markup=False)

    def end(self, stage: str) -> None:
        """A stage is finished."""
        line = self.stages.pop(stage)
        self._report(line, last=True)
        self.event("end", stage=stage, shards=line.done, seconds=round(time.monotonic() - line.began, 3))

    def _report(self, line: StageProgress, last: bool = False) -> None:
        if self.quiet:
            return
        if self.bar is not None and line.task is not None:
            self.bar.update(line.task, completed=line.done, total=line.shards, rate=line.rate(self.place))
            if last:
                self.bar.stop_task(line.task)
        elif last or time.monotonic() - line.reported > 10:
            line.reported = time.monotonic()
            log.info("%s %d/%d shards, %s", line.stage, line.done, line.shards, line.rate(self.place))

    def _stop_bar(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def log_every_ten_seconds(verb: str, unit: str) -> Callable[[int, int], None]:
    """A callback (done, total) that logs, every ten seconds, how many units are done."""
    reported = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal reported
        if time.monotonic() - reported > 10:
            reported = time.monotonic()
            log.info("%s %d/%d %s", verb, done, total, unit)

    return report


def _span(seconds: float) -> str:
    """A time in seconds, minutes or hours, whichever is easiest to read."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
