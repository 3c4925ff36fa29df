"""Progress on stderr while a run works, and events.jsonl, which keeps it; no result depends on what is written here.

A line of events.jsonl is a JSON object with `time` (UTC, ISO 8601), `event`, `stage` and more keys, by the event:

    begin    shards (to make), rows (of these shards), done (shards made before)
    shard    shard, attempt, rows, active, rejects, failed, seconds, batch, node: as in its receipt
    summary  rows, bytes, seconds: of the summary of a global stage
    failed   shard, attempt, errors (message -> rows), trace
    lost     shard, node, reason: a worker was lost, its shard is made elsewhere
    end      shards (made), seconds
    stopped  reason: the error that ended the command
"""

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from mals.grid.executor import Failure, Lost
from mals.grid.receipt import Receipt
from mals.grid.remote import StoreFailed
from mals.grid.store import Store

log = logging.getLogger(__name__)

EVENTS = "events.jsonl"


class Progress:
    """One line a stage on stderr: a live bar on a terminal, a plain line every ten seconds elsewhere."""

    def __init__(self, store: Store, quiet: bool = False):
        self.store, self.quiet = store, quiet
        self.console = Console(stderr=True)
        self.events: TextIO | None = None
        self.pending: list[str] = []
        self.bar: Bar | None = None
        self.task: TaskID | None = None
        self.stage, self.shards, self.done, self.rows, self.all_rows, self.kept, self.active = "", 0, 0, 0, 0, 0, 0
        self.place = ""
        self.began = self.reported = 0.0  # seconds of the monotonic clock

    def __enter__(self) -> "Progress":
        if self.store.folder is not None:
            try:
                self.events = (self.store.folder / EVENTS).open("a", encoding="utf-8")
            except OSError as error:  # a full disk is an error of the work, not of its log
                log.warning("%s is not written: %s", EVENTS, error)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop_bar()
        if kind is not None:
            self.event("stopped", stage=self.stage, reason=f"{kind.__name__}: {error}")
        if self.events is not None:
            try:
                self.events.close()
            except OSError:
                self.events = None
        elif self.pending and self.store.folder is None:  # object stores cannot append
            try:
                if not isinstance(error, StoreFailed):
                    self._append_remotely()
            except StoreFailed as failed:
                log.warning("%s is not written: %s", EVENTS, failed)

    def _append_remotely(self) -> None:
        try:
            before = self.store.read(EVENTS)
        except FileNotFoundError:
            before = b""
        self.store.commit(EVENTS, before + "".join(self.pending).encode())

    def event(self, kind: str, **values: Any) -> None:
        """Append one line to events.jsonl."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": kind, **values}, ensure_ascii=False) + "\n"
        if self.events is None:
            self.pending.append(line)
            return
        try:
            self.events.write(line)
            self.events.flush()
        except OSError:
            self.events = None

    def begin(self, stage: str, shards: int, rows: int, done: int) -> None:
        """A stage starts with `shards` to make, which have `rows` rows; `done` shards were made before."""
        self.stage, self.shards, self.all_rows = stage, shards, rows
        self.done = self.rows = self.kept = self.active = 0
        self.began = self.reported = time.monotonic()
        self.event("begin", stage=stage, shards=shards, rows=rows, done=done)
        if not self.quiet and self.console.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description:9}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
            )
            self.bar = Bar(*columns, TimeElapsedColumn(), console=self.console)
            self.bar.start()
            self.task = self.bar.add_task(stage, total=shards, rate="")

    def finished(self, receipt: Receipt, place: str = "") -> None:
        """A new cell is finished; `place`: where the work is done (Executor.place)."""
        self.place = place
        self.done += 1
        self.rows += receipt.rows
        self.active += receipt.active
        self.kept += receipt.active - sum(receipt.rejects.values()) - receipt.failed
        values = {
            "rows": receipt.rows,
            "active": receipt.active,
            "rejects": receipt.rejects,
            "failed": receipt.failed,
            "seconds": receipt.seconds,
            "node": receipt.node,
        }
        self.event("shard", stage=receipt.stage, shard=receipt.shard, attempt=receipt.attempt, batch=receipt.batch, **values)
        self._report()

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

    def end(self) -> None:
        """The stage is finished."""
        self._report(last=True)
        self._stop_bar()
        self.event("end", stage=self.stage, shards=self.done, seconds=round(time.monotonic() - self.began, 3))

    def _report(self, last: bool = False) -> None:
        if self.quiet:
            return
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=self.done, rate=self.rate())
        elif last or time.monotonic() - self.reported > 10:
            self.reported = time.monotonic()
            log.info("%s %d/%d shards, %s", self.stage, self.done, self.shards, self.rate())

    def rate(self) -> str:
        """ "6,144 rows, 3.2 rows/s, kept 91 %, 12 min left" """
        seconds = max(time.monotonic() - self.began, 1e-6)
        parts = [f"{self.rows:,} rows", f"{self.rows / seconds:.1f} rows/s"]
        if self.active:
            parts.append(f"kept {100 * self.kept / self.active:.0f} %")
        if self.rows and self.done < self.shards:
            parts.append(f"{_span((self.all_rows - self.rows) * seconds / self.rows)} left")
        return ", ".join([*parts, self.place] if self.place else parts)

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
