"""The receipts of a run that is being made, read once each: what pages show of stages without reading a cell."""

import json
import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from mals.grid.cells import RECEIPT_NAME, Grid
from mals.grid.events import last_events
from mals.grid.receipt import Receipt
from mals.grid.store import Store

FAILED_NAME = re.compile(r"/\d+\.failed\.json$")  # of the last failed attempt at a cell
SETTLED = 2_000_000_000  # nanoseconds after which a folder that changes has another time of change, on every file system
QUIET = 600.0  # seconds without an event after which nothing seems to go on


class Cell(NamedTuple):
    """What is kept of a receipt."""

    stamp: str  # of the cell: its hash
    size: int  # bytes
    fingerprint: str
    active: int
    failed: int
    rejects: dict[str, int]
    errors: dict[str, int]
    seconds: float
    node: str  # the machine that made it


@dataclass
class StageCells:
    """The cells of one stage that are done."""

    cells: dict[int, Cell] = field(default_factory=dict)  # shard -> cell
    failures: dict[int, dict[str, int]] = field(default_factory=dict)  # shard -> message -> rows, of its last failed attempt
    _stamps: dict[str, tuple[int, int]] = field(default_factory=dict)  # file -> (bytes, time of change)
    _changed: int | None = None  # time of change of the folder

    def refresh(self, grid: Grid, stage: str) -> set[int]:
        """Read receipts that are new or have changed; the shards whose cells are not what they were."""
        folder = grid.store.folder / stage if grid.store.folder else None
        try:
            changed = folder.stat().st_mtime_ns if folder else None
        except FileNotFoundError:
            changed = -1
        if changed is not None and changed == self._changed:
            return set()
        stamps = _stamps(grid.store, stage)
        before = {shard: cell.stamp for shard, cell in self.cells.items()}
        self._read(grid, stage, stamps)
        self._changed = None if changed is not None and time.time_ns() - changed < SETTLED else changed
        after = {shard: cell.stamp for shard, cell in self.cells.items()}
        return {shard for shard in before.keys() | after.keys() if before.get(shard) != after.get(shard)}

    def _read(self, grid: Grid, stage: str, stamps: dict[str, tuple[int, int]]) -> None:
        names = [name for name in stamps if RECEIPT_NAME.search(name) or FAILED_NAME.search(name)]
        unread = [name for name in names if self._stamps.get(name) != stamps[name]]
        contents = grid.store.read_all(unread)
        for name, data in contents.items():
            shard = int(name.rsplit("/", 1)[1].split(".")[0])
            if name.endswith(".failed.json"):
                self.failures[shard] = _errors(data)
            elif (receipt := Receipt.from_bytes(data)) is not None and shard < grid.shards:
                self.cells[shard] = _cell(receipt)
        there = {int(name.rsplit("/", 1)[1].split(".")[0]) for name in names if not name.endswith(".failed.json")}
        failed = {int(name.rsplit("/", 1)[1].split(".")[0]) for name in names if name.endswith(".failed.json")}
        sizes = {shard: stamps.get(grid.cell_name(stage, shard), (-1, 0))[0] for shard in self.cells}
        self.cells = {shard: cell for shard, cell in self.cells.items() if shard in there and sizes[shard] == cell.size}
        self.failures = {shard: errors for shard, errors in self.failures.items() if shard in failed}
        self._stamps = {name: stamps[name] for name in names if name in contents or self._stamps.get(name) == stamps[name]}


def _errors(data: bytes) -> dict[str, int]:
    """The errors of a failed attempt; none where its file is damaged."""
    try:
        attempt = json.loads(data)
    except ValueError:
        return {}
    return attempt.get("errors") or {} if isinstance(attempt, dict) else {}


def _cell(receipt: Receipt) -> Cell:
    return Cell(
        receipt.sha256,
        receipt.size,
        sys.intern(receipt.fingerprint),
        receipt.active,
        receipt.failed,
        receipt.rejects,
        receipt.errors,
        receipt.seconds,
        sys.intern(receipt.node),
    )


def _stamps(store: Store, stage: str) -> dict[str, tuple[int, int]]:
    """File -> (bytes, time of change in nanoseconds) of the folder of a stage; on object stores the time is 0."""
    if store.folder is None:
        return {name: (size, 0) for name, size in store.list(stage).items()}
    try:
        with os.scandir(store.folder / stage) as entries:
            return dict(stamp for entry in entries if (stamp := _stamp(stage, entry)) is not None)
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _stamp(stage: str, entry: "os.DirEntry[str]") -> tuple[str, tuple[int, int]] | None:
    try:
        stat = entry.stat()
    except FileNotFoundError:  # it was removed since
        return None
    return f"{stage}/{entry.name}", (stat.st_size, stat.st_mtime_ns)


@dataclass(frozen=True)
class StageLine:
    """One stage on the overview."""

    stage: str
    shards: int
    done: int
    stale: int
    rows: int  # that reached it
    kept: int
    rejects: list[tuple[str, int]]  # reason -> rows, the commonest first
    errors: list[tuple[str, int]]  # message -> rows
    rate: float | None  # rows a second of one worker


def stage_line(stage: str, cells: StageCells, shards: int, fingerprint: str | None) -> StageLine:
    """The sums over the cells of a stage."""
    rejects: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    rows = kept = stale = 0
    seconds = 0.0
    for cell in cells.cells.values():
        rejects.update(cell.rejects)
        errors.update(cell.errors)
        rows += cell.active
        kept += cell.active - cell.failed - sum(cell.rejects.values())
        seconds += cell.seconds
        stale += fingerprint is not None and cell.fingerprint != fingerprint
    for messages in cells.failures.values():
        errors.update(messages)
    rate = rows / seconds if seconds else None
    return StageLine(stage, shards, len(cells.cells), stale, rows, kept, rejects.most_common(), errors.most_common(5), rate)


@dataclass(frozen=True)
class Activity:
    """What a command does with the run now, by its last events."""

    stage: str  # the first one at work
    beside: list[str]  # other stages at work
    done: int  # shards of the stage that this command has made
    shards: int  # that it makes
    rate: float | None  # rows a second
    left: float | None  # seconds until the stage is finished
    workers: float | None  # that were busy on average
    stopped: str  # why the last command ended, where it did not end well; empty otherwise
    working: bool


def activity(store: Store) -> Activity | None:
    """What goes on; None where no command has left an event."""
    events = last_events(store)
    if not events:
        return None
    begins = _stages_at_work(events)
    stage, first = next(iter(begins.items()), (str(events[-1].get("stage", "")), 0))
    begin, later = events[first], events[first + 1 :]
    shards = [event for event in later if event.get("event") == "shard" and event.get("stage") == stage]
    stopped = next((str(event.get("reason", "")) for event in later if event.get("event") == "stopped"), "")
    ended = bool(stopped) or any(event.get("event") == "end" and event.get("stage") == stage for event in later)
    idle = (datetime.now(UTC) - _time((later or [begin])[-1])).total_seconds()
    seconds = max((_time((shards or [begin])[-1]) - _time(begin)).total_seconds(), 1.0)
    rows = sum(int(event.get("rows", 0)) for event in shards)
    rate = rows / seconds if rows else None
    planned = int(begin.get("rows", 0)) if begins else 0
    return Activity(
        stage=stage,
        beside=[name for name in begins if name != stage],
        done=len(shards),
        shards=int(begin.get("shards", 0)) if begins else 0,
        rate=rate,
        left=max(0, planned - rows) / rate if rate and planned else None,
        workers=sum(float(event.get("seconds", 0)) for event in shards) / seconds if shards else None,
        stopped=stopped,
        working=not ended and idle < QUIET,
    )


def _stages_at_work(events: list[dict[str, Any]]) -> dict[str, int]:
    """Stage -> the number of the event with which it began, of the stages that have not ended, or of the one that began last.

    Of a stage with very many shards the beginning is not among the events, which are the end of the file.
    """
    begins: dict[str, int] = {}
    ended: set[str] = set()
    for at, event in enumerate(events):
        stage = str(event.get("stage", ""))
        if event.get("event") == "begin":
            another_command = stage in begins or "" in ended
            begins = {} if another_command else {name: begin for name, begin in begins.items() if name not in ended}
            ended.clear()
            begins[stage] = at
        elif event.get("event") in ("end", "stopped"):
            ended.add(stage)  # "" where the command was stopped
    return {name: begin for name, begin in begins.items() if name not in ended} or dict(list(begins.items())[-1:])


def _time(event: dict[str, Any]) -> datetime:
    try:
        return datetime.fromisoformat(str(event["time"]))
    except ValueError:
        return datetime.now(UTC)


class Receipts:
    """The cells of all stages of a run."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.stages = {name: StageCells() for name in grid.stages}
        self._read_at = float("-inf")

    def refresh(self, every: float = 1.0) -> dict[str, set[int]]:
        """Stage -> shards whose cell has changed; the folders are looked at once in `every` seconds."""
        if time.monotonic() - self._read_at < every:
            return {}
        changed = {name: cells.refresh(self.grid, name) for name, cells in self.stages.items()}
        self._read_at = time.monotonic()
        return {name: shards for name, shards in changed.items() if shards}

    def nodes(self) -> dict[str, int]:
        """Machine -> cells that it made, the most first."""
        return dict(Counter(cell.node for stage in self.stages.values() for cell in stage.cells.values()).most_common())

    def lines(self, fingerprints: dict[str, str] | None) -> list[StageLine]:
        """A line for each stage, in order."""
        return [
            stage_line(name, cells, self.grid.shards, fingerprints[name] if fingerprints else None) for name, cells in self.stages.items()
        ]
