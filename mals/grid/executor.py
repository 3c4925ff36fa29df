"""What works on the shards of a run: the protocol that the coordinator speaks, and what comes back.

`mals/grid/local.py` works in this process or in processes of this machine. Another one calls `Worker.attempt` (mals/grid/worker.py) where
it likes, and has to pass tests/mals/grid/test_executor.py.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from mals.grid.receipt import Receipt, Source
from mals.grid.summary import SummaryReceipt

Sources = dict[str, Source]  # earlier stage -> its cell of one shard


@dataclass(frozen=True)
class Failure:
    """Why one attempt at a shard failed."""

    shard: int
    attempt: int
    rows: int
    errors: dict[str, int]  # message -> rows, the commonest first
    trace: str = ""

    @property
    def commonest(self) -> str:
        """The error of the most rows."""
        return next(iter(self.errors))


@dataclass(frozen=True)
class Lost:
    """A worker was lost with the shard that it worked on, which is made elsewhere: no failure of the shard, and no attempt at it."""

    shard: int
    node: str  # where the worker was
    reason: str


Outcome = Receipt | Failure | Lost


class Executor(Protocol):
    """Makes cells somewhere. It is closed in every case, and leaves no process behind."""

    def run(self, stage: str, shards: Iterable[tuple[int, Sources]], attempts: int, summary_inputs: str | None = None) -> Iterator[Outcome]:
        """The outcomes of the shards of one stage, in any order: for each a Receipt, or a Failure for each of its `attempts`.

        `shards` are the numbers of shards with their earlier cells. They are taken one at a time when there is room for them, so `shards`
        may be an iterator that has not got all of them yet. `summary_inputs`: what the summary of a global stage was made from. How many
        workers there are is the executor's business. Raises the UserError of a worker: another attempt would fail alike.
        """
        ...

    def summarise(self, stage: str, sources: dict[int, Sources], inputs: str) -> SummaryReceipt | Failure:
        """The summary of a global stage, made by one worker from the cells `sources` of all shards; see `Worker.summarise`."""
        ...

    def place(self) -> str:
        """Where the work is done, for the line of progress, such as "3 nodes"; empty for this machine."""
        ...

    def close(self) -> None:
        """End all workers; the shards that they work on are lost, finished cells are not."""
        ...


@dataclass(frozen=True)
class Job:
    """One attempt, numbered from 1, at one shard, from its earlier cells."""

    shard: int
    sources: Sources
    attempt: int = 1


class Jobs:
    """The shards of one stage that wait for a worker: those that are tried again first, the others in order, taken when they are needed."""

    def __init__(self, shards: Iterable[tuple[int, Sources]], attempts: int):
        self._shards, self._attempts = iter(shards), attempts
        self._waiting: deque[Job] = deque()

    def ahead(self, most: int) -> int:
        """How many jobs wait, `most` at most."""
        while len(self._waiting) < most and (shard := next(self._shards, None)):
            self._waiting.append(Job(*shard))
        return min(most, len(self._waiting))

    def take(self) -> Job | None:
        """The next job; None where none is left."""
        return self._waiting.popleft() if self.ahead(1) else None

    def failed(self, job: Job) -> None:
        """The shard of `job` failed: it is tried again while it has attempts left."""
        if job.attempt < self._attempts:
            self.again(replace(job, attempt=job.attempt + 1))

    def again(self, job: Job) -> None:
        """Put a job back."""
        self._waiting.appendleft(job)
