"""What works on the shards of a run: the protocol that the coordinator speaks, and what comes back.

`mals/grid/local.py` works in this process or in processes of this machine. Another one calls `Worker.attempt` (mals/grid/worker.py) where
it likes, and has to pass tests/mals/grid/test_executor.py.
"""

from dataclasses import dataclass, field
from typing import Protocol

from mals.grid.receipt import Receipt, Source
from mals.grid.stage import Used
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
    used: Used = field(default_factory=dict)  # of servers, by an attempt of which too many rows failed

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


@dataclass(frozen=True)
class Job:
    """One attempt, numbered from 1, at one shard of one stage, from its earlier cells."""

    stage: str
    shard: int
    sources: Sources
    attempt: int = 1
    summary_inputs: str | None = None  # what the summary of a global stage was made from


class Executor(Protocol):
    """Makes cells somewhere. It is closed in every case, and leaves no process behind.

    `mals/grid/schedule.py` says which cells may begin, of several stages at a time, and tries shards again; an executor attempts what it
    is given, once.
    """

    def room(self, stage: str, left: int) -> bool:
        """Whether a job of `stage` would begin now, or wait for a worker that is nearly free.

        `left`: the jobs of the stage that are ready or will be, by which an executor may choose how many workers it wants. Only a stage
        with a job that is ready is asked for. Where nothing is at work, an executor that has workers has room for any stage.
        """
        ...

    def start(self, job: Job) -> None:
        """Take a job for which there is room; returns before it is done."""
        ...

    def wait(self) -> list[tuple[Job, Outcome]]:
        """The jobs that ended, with their outcomes: at least one, or none where workers came or went and `room` may have changed.

        Raises the UserError of a worker: another attempt would fail alike.
        """
        ...

    def summarise(self, stage: str, sources: dict[int, Sources], inputs: str) -> SummaryReceipt | Failure:
        """The summary of a global stage, made by one worker from the cells `sources` of all shards; no job is at work meanwhile.

        See `Worker.summarise`.
        """
        ...

    def place(self) -> str:
        """Where the work is done, for the line of progress, such as "3 nodes"; empty for this machine."""
        ...

    def close(self) -> None:
        """End all workers; the shards that they work on are lost, finished cells are not."""
        ...
