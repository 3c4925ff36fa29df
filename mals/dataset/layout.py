"""Which row goes into which Parquet file of a packed data set."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mals.config import Config
from mals.dataset.receipts import FOLDER, REJECTED
from mals.dataset.splits import assign_splits
from mals.dataset.statistics import RunStatistics
from mals.grid.cells import Damaged
from mals.grid.run import Run

REJECTED_NUMBER = -1  # the destination of rows that were not kept
REJECTED_ROWS = 65_536  # rows of a file of the rejected config: half a kilobyte each


@dataclass(frozen=True)
class PlannedFile:
    """One Parquet file to write: the rows [first, last) of one destination (a split, or the rejected config)."""

    path: str
    config: str  # "default" or "rejected"
    split: str
    destination: int  # number of the split, or REJECTED_NUMBER
    first: int
    last: int


@dataclass
class Layout:
    """The destination of every row, and the files."""

    destinations: list[NDArray[np.int8]]  # for each shard, [rows] number of the split, or REJECTED_NUMBER
    files: list[PlannedFile]
    _ends: dict[int, NDArray[np.int64]] = field(default_factory=dict)  # destination -> its rows up to the end of each shard

    def positions(self, file: PlannedFile) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The shards that a file takes rows from, with the positions of these rows in the shard."""
        ends = self._ends.get(file.destination)
        if ends is None:
            counts = [np.count_nonzero(numbers == file.destination) for numbers in self.destinations]
            ends = self._ends[file.destination] = np.cumsum(counts)
        for shard in range(int(np.searchsorted(ends, file.first, side="right")), len(ends)):
            rows = np.flatnonzero(self.destinations[shard] == file.destination)
            before = int(ends[shard]) - len(rows)
            if before >= file.last:
                return
            if len(rows):
                yield shard, rows[max(0, file.first - before) : file.last - before]


def lay_out(statistics: RunStatistics, config: Config) -> Layout:
    """Destinations of all rows, and the files for them; no file has no rows, because `datasets` cannot load an empty one."""
    settings = config.pack
    numbers = assign_splits(statistics.all_units, settings.split)
    destinations, assigned = [], 0
    for kept in statistics.kept:
        count = int(kept.sum())
        shard = np.full(len(kept), REJECTED_NUMBER, np.int8)
        shard[kept] = numbers[assigned : assigned + count]
        assigned += count
        destinations.append(shard)
    files = []
    for number, split in enumerate(settings.split):
        files += plan_files("data", split, number, int((numbers == number).sum()), settings.rows_per_file)
    files += plan_files(REJECTED, "train", REJECTED_NUMBER, statistics.rows - len(numbers), REJECTED_ROWS)
    return Layout(destinations, files)


def plan_files(folder: str, split: str, destination: int, rows: int, rows_per_file: int) -> list[PlannedFile]:
    """The files of one destination with that many rows."""
    config = REJECTED if folder == REJECTED else "default"
    return [
        PlannedFile(f"{FOLDER}/{path}", config, split, destination, first, last)
        for path, first, last in file_ranges(folder, split, rows, rows_per_file)
    ]


def file_ranges(folder: str, split: str, rows: int, rows_per_file: int) -> Iterator[tuple[str, int, int]]:
    """Path, first row and end of each file of a split, named as the hub names them: `data/train-00000-of-00003.parquet`."""
    count = -(-rows // rows_per_file)
    for number in range(count):
        path = f"{folder}/{split}-{number:05d}-of-{count:05d}.parquet"
        yield path, number * rows_per_file, min(rows, (number + 1) * rows_per_file)


def check_ids(run: Run, layout: Layout) -> None:
    """Compare the ids of the written files with the plan, in order: each is in one file, once. Raises Damaged otherwise."""
    paths: dict[int, list[str]] = {}
    for file in layout.files:
        paths.setdefault(file.destination, []).append(file.path)
    streams = [_ids(run, paths[destination]) for destination in sorted(paths)]
    heads: list[Any] = [next(stream, None) for stream in streams]
    for shard in range(run.grid.shards):
        for row in run.grid.plan_rows(shard, ["id"])["id"].to_pylist():
            number = next((i for i, head in enumerate(heads) if head == row), None)
            if number is None:
                raise Damaged(f"the row {row} of the plan is not at its place in the packed files")
            heads[number] = next(streams[number], None)
    if left := [head for head in heads if head is not None]:
        raise Damaged(f"the packed files hold the row {left[0]} more than once, or without a plan")


def _ids(run: Run, paths: list[str]) -> Iterator[str]:
    for path in paths:
        for batch in run.store.parquet(path).iter_batches(columns=["id"]):
            yield from batch["id"].to_pylist()
