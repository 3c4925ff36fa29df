"""Which row goes into which Parquet file of a packed data set.

A row that was kept goes to a split, which has a number, of the config `default`; any other row to the config `rejected`, whose number is
REJECTED_NUMBER. These numbers are the destinations of rows. A config is here what `datasets` calls so: a part of a data set with columns
of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mals.config import Config
from mals.dataset.folder import PlannedFile, file_ranges
from mals.dataset.receipts import FOLDER, REJECTED
from mals.dataset.splits import assign_splits
from mals.dataset.statistics import RunStatistics
from mals.grid.cells import Damaged
from mals.grid.run import Run

REJECTED_NUMBER = -1
REJECTED_ROWS = 65_536  # rows of a file of the rejected config: half a kilobyte each


@dataclass(frozen=True)
class RunFile(PlannedFile):
    """One Parquet file of the packed data set of a run: the rows [first, last), counted over the rows of its destination."""

    destination: int = REJECTED_NUMBER

    @property
    def receipt_name(self) -> str:
        """The path of its receipt in the run."""
        return f"pack/{self.path.removeprefix(FOLDER + '/').replace('/', '-')}.json"


@dataclass
class Layout:
    """The destination of every row, and the files."""

    destinations: list[NDArray[np.int8]]  # for each shard: [rows]
    files: list[RunFile]

    @cached_property
    def _ends(self) -> dict[int, NDArray[np.int64]]:
        """Destination -> [shards] its rows up to the end of each shard."""
        return {
            destination: np.cumsum([np.count_nonzero(shard == destination) for shard in self.destinations])
            for destination in {file.destination for file in self.files}
        }

    def positions(self, file: RunFile) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The shards that a file takes rows from, with the positions of these rows in the shard."""
        ends = self._ends[file.destination]
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
    numbers = assign_splits(statistics.all_group_hashes, settings.split)
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


def plan_files(folder: str, split: str, destination: int, rows: int, rows_per_file: int) -> list[RunFile]:
    """The files of one destination with that many rows."""
    config_name = REJECTED if folder == REJECTED else "default"
    return [
        RunFile(f"{FOLDER}/{path}", split, first, last, config_name=config_name, destination=destination)
        for path, first, last in file_ranges(folder, split, rows, rows_per_file)
    ]


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
