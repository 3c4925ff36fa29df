"""The local executor: one process a GPU for stages with a model, others for the rest, or all in this process.

A process keeps the stage that it worked on last. So of the stages with a model one is at work at a time, on all GPUs, until none of its
shards is ready, and no model is loaded twice for want of patience; stages without a model are worked on beside it.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

from mals.grid.cells import Grid
from mals.grid.executor import Failure, Job, Outcome, Sources
from mals.grid.process import ProcessDied, WorkerProcess
from mals.grid.receipt import Receipt
from mals.grid.summary import SummaryReceipt
from mals.grid.worker import Worker, make_worker

WORKER_DIED = "WorkerDied: a worker process was killed; when the machine ran out of memory, lower run.workers or the batch"


@dataclass(frozen=True)
class Machine:
    """How much may be at work on this machine at once."""

    workers: Mapping[str, int]  # processes of each stage
    at_once: int  # processes of all stages together
    gpus: int
    ahead: int  # jobs that a process may have beside the one that it computes


def local_executor(url: str, user_settings: dict[str, Any], grid: Grid, machine: Machine) -> "InlineExecutor | LocalExecutor":
    """The executor of this machine."""
    if machine.at_once == 1:
        return InlineExecutor(url, user_settings, grid)
    return LocalExecutor(url, user_settings, grid, machine)


class InlineExecutor:
    """Works on one shard at a time in this process, and on one stage until none of its shards is ready."""

    def __init__(self, url: str, user_settings: dict[str, Any], grid: Grid):
        self.url, self.user_settings, self.grid = url, user_settings, grid
        self._worker: Worker | None = None
        self._jobs: deque[Job] = deque()

    def room(self, stage: str, left: int) -> bool:
        """See Executor."""
        return not self._jobs or (len(self._jobs) < 2 and self._jobs[0].stage == stage)

    def start(self, job: Job) -> None:
        """See Executor; the work is done in `wait`."""
        self._jobs.append(job)

    def wait(self) -> list[tuple[Job, Outcome]]:
        """See Executor."""
        job = self._jobs.popleft()
        return [(job, self._own_worker().attempt(job.stage, job.shard, job.attempt, job.sources, job.summary_inputs))]

    def summarise(self, stage: str, sources: dict[int, Sources], inputs: str) -> SummaryReceipt | Failure:
        """See Worker.summarise."""
        return self._own_worker().summarise(stage, sources, inputs)

    def place(self) -> str:
        """See Executor."""
        return ""

    def close(self) -> None:
        """See Executor."""
        self._jobs.clear()

    def _own_worker(self) -> Worker:
        if self._worker is None:
            self._worker = make_worker(self.url, self.user_settings, self.grid)
        return self._worker


@dataclass
class Group:
    """Processes that take work from one queue."""

    processes: list[WorkerProcess] = field(default_factory=list)
    waiting: deque[Job] = field(default_factory=deque)

    def jobs(self) -> list[Job]:
        """All that are at work or wait."""
        return [*(job for process in self.processes for job in process.jobs), *self.waiting]

    def idle(self, stage: str) -> WorkerProcess | None:
        """A process that does nothing; one that has worked on this stage where there is any."""
        processes = [process for process in self.processes if not process.jobs and process.is_alive()]
        return min(processes, key=lambda process: process.stage != stage, default=None)


class LocalExecutor:
    """Works on shards in processes of its own."""

    def __init__(self, url: str, user_settings: dict[str, Any], grid: Grid, machine: Machine):
        self.url, self.user_settings, self.grid, self.machine = url, user_settings, grid, machine
        self._models, self._others = Group(), Group()
        self._left: dict[str, int] = {}  # of each stage, as `room` heard it last

    def room(self, stage: str, left: int) -> bool:
        """See Executor. One job more waits for each process than it may have, so that none is without for a moment."""
        self._left[stage] = left
        jobs, most = self._group(stage).jobs(), 2 + self.machine.ahead
        if self._has_model(stage):
            return len(jobs) < most * self.machine.workers[stage] and (not jobs or jobs[0].stage == stage)
        own = sum(job.stage == stage for job in jobs)
        return own < most * self.machine.workers[stage] and len(jobs) < most * self.machine.at_once

    def start(self, job: Job) -> None:
        """See Executor."""
        self._group(job.stage).waiting.append(job)
        self._dispatch()

    def wait(self) -> list[tuple[Job, Outcome]]:
        """See Executor."""
        busy = {process.connection: process for group in (self._models, self._others) for process in group.processes if process.jobs}
        ended = [self._ended(busy[end]) for end in connection.wait(list(busy)) if isinstance(end, Connection)]
        self._dispatch()
        return ended

    def summarise(self, stage: str, sources: dict[int, Sources], inputs: str) -> SummaryReceipt | Failure:
        """See Executor."""
        process = self._free_process(stage)
        process.send((stage, sources, inputs))
        try:
            result = process.receive()
        except ProcessDied:
            self._remove(process)
            return Failure(0, 1, self.grid.plan.rows, {WORKER_DIED: self.grid.plan.rows})
        assert not isinstance(result, Receipt)
        return result

    def place(self) -> str:
        """See Executor."""
        return ""

    def close(self) -> None:
        """See Executor."""
        processes = [*self._models.processes, *self._others.processes]
        for process in processes:
            process.end()
        for process in processes:
            process.join()
        self._models, self._others = Group(), Group()

    def _has_model(self, stage: str) -> bool:
        return self.grid.stages[stage].resources.gpus > 0

    def _group(self, stage: str) -> Group:
        return self._models if self._has_model(stage) else self._others

    def _dispatch(self) -> None:
        """Give waiting jobs to idle processes, as far as Machine allows, those with a model first, and the others to busy ones ahead."""
        busy = sum(bool(process.jobs) for group in (self._models, self._others) for process in group.processes)
        for group in (self._models, self._others):
            for job in list(group.waiting):
                own = sum(process.jobs[0].stage == job.stage for process in group.processes if process.jobs)
                if busy < self.machine.at_once and own < self.machine.workers[job.stage]:
                    group.waiting.remove(job)
                    self._free_process(job.stage).send(job)
                    busy += 1
            for job in list(group.waiting):
                if process := self._ahead(group, job.stage):
                    group.waiting.remove(job)
                    process.send(job)

    def _ahead(self, group: Group, stage: str) -> WorkerProcess | None:
        """A busy process that may have another job of its stage; none where so few are left that another process may get to it first."""
        own = [process for process in group.processes if process.jobs and process.jobs[0].stage == stage]
        process = min(own, key=lambda process: len(process.jobs), default=None)
        if process is None or len(process.jobs) > self.machine.ahead:
            return None
        left = self._left.get(stage, 0) + sum(job.stage == stage for job in group.waiting)
        return process if len(own) == 1 or left > len(own) else None

    def _free_process(self, stage: str) -> WorkerProcess:
        """An idle process for a stage, or a new one."""
        group = self._group(stage)
        process = group.idle(stage)
        if process is None:
            device = None
            if self.machine.gpus and group is self._models:
                used = [process.device for process in group.processes]
                device = min(range(self.machine.gpus), key=used.count)
            process = WorkerProcess(self.url, self.user_settings, device)
            group.processes.append(process)
        return process

    def _ended(self, process: WorkerProcess) -> tuple[Job, Outcome]:
        """What came of the job that a process worked on."""
        try:
            result = process.receive()
        except ProcessDied:
            self._remove(process)
            job = process.computed_job()
            process.jobs.remove(job)
            self._group(job.stage).waiting.extendleft(reversed(process.jobs))
            rows = self.grid.row_count(job.shard)
            return job, Failure(job.shard, job.attempt, rows, {WORKER_DIED: rows})
        assert not isinstance(result, SummaryReceipt)
        return process.jobs.popleft(), result

    def _remove(self, process: WorkerProcess) -> None:
        """Forget a process that died."""
        for group in (self._models, self._others):
            if process in group.processes:
                group.processes.remove(process)
        process.end()
        process.join()
