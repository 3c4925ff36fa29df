"""The local executor: one process a GPU, or N processes on a machine without; each loads a stage's model once and works on shards."""

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from mals.errors import UserError
from mals.grid.cells import Grid
from mals.grid.executor import Failure, Job, Jobs, Outcome, Sources
from mals.grid.receipt import Receipt
from mals.grid.stage import error_message
from mals.grid.summary import SummaryReceipt
from mals.grid.worker import Worker, make_worker, portable
from mals.processes import end_with_parent

WORKER_DIED = "WorkerDied: a worker process was killed; when the machine ran out of memory, lower run.workers or the batch"


class LocalExecutor:
    """Works on shards in this process (one worker) or in processes of its own."""

    def __init__(self, url: str, user_settings: dict[str, Any], grid: Grid, *, workers: Mapping[str, int], gpus: int):
        """`workers`: how many each stage has; `gpus`: of this machine."""
        self.url, self.user_settings, self.grid, self.workers, self.gpus = url, user_settings, grid, workers, gpus
        self._inline: Worker | None = None
        self._pool: ProcessPoolExecutor | None = None
        self._pids: Any = None  # a queue of the process ids of the pool's workers
        self._size = 0

    def run(self, stage: str, shards: Iterable[tuple[int, Sources]], attempts: int, summary_inputs: str | None = None) -> Iterator[Outcome]:
        """See Executor."""
        jobs = Jobs(shards, attempts)
        if self.workers[stage] == 1:
            yield from self._run_inline(stage, jobs, summary_inputs)
        else:
            yield from self._run_pool(stage, jobs, summary_inputs)

    def summarise(self, stage: str, sources: dict[int, Sources], inputs: str) -> SummaryReceipt | Failure:
        """See Worker.summarise; where there are several workers, one of them makes it."""
        if self.workers[stage] == 1:
            return self._inline_worker().summarise(stage, sources, inputs)
        try:
            return self._start_pool(self.workers[stage]).submit(_summarise, stage, sources, inputs).result()
        except BrokenProcessPool:
            self.close()
            return Failure(0, 1, self.grid.plan.rows, {WORKER_DIED: self.grid.plan.rows})

    def place(self) -> str:
        """See Executor."""
        return ""

    def _inline_worker(self) -> Worker:
        if self._inline is None:
            self._inline = make_worker(self.url, self.user_settings, self.grid)
        return self._inline

    def _run_inline(self, stage: str, jobs: Jobs, summary_inputs: str | None) -> Iterator[Outcome]:
        worker = self._inline_worker()
        while job := jobs.take():
            result = worker.attempt(stage, job.shard, job.attempt, job.sources, summary_inputs)
            if isinstance(result, Failure):
                jobs.failed(job)
            yield result

    def _run_pool(self, stage: str, jobs: Jobs, summary_inputs: str | None) -> Iterator[Outcome]:
        workers = self.workers[stage]
        running: dict[Future[Receipt | Failure], Job] = {}
        while jobs.ahead(1) or running:
            pool = self._start_pool(workers)
            try:
                while len(running) < 2 * workers and (job := jobs.take()):
                    running[pool.submit(_attempt, stage, job.shard, job.attempt, job.sources, summary_inputs)] = job
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    result = future.result()
                    job = running.pop(future)
                    if isinstance(result, Failure):
                        jobs.failed(job)
                    yield result
            except BrokenProcessPool:
                self.close()
                for job in running.values():
                    rows = self.grid.row_count(job.shard)
                    yield Failure(job.shard, job.attempt, rows, {WORKER_DIED: rows})
                    jobs.failed(job)
                running.clear()

    def _start_pool(self, workers: int) -> ProcessPoolExecutor:
        if self._pool is None or self._size != workers:
            self.close()
            context = multiprocessing.get_context("spawn")  # a forked CUDA context does not work
            slots = context.Queue()
            for slot in range(workers):
                slots.put(slot % self.gpus if self.gpus else None)
            self._pids = context.SimpleQueue()
            arguments = (self.url, self.user_settings, slots, self._pids, os.getpid())
            self._pool = ProcessPoolExecutor(workers, context, _start_worker, arguments)
            self._size = workers
        return self._pool

    def close(self) -> None:
        """End the processes; the shards that they work on are lost, finished cells are not."""
        if self._pool is None:
            return
        pids = set()
        while not self._pids.empty():
            pids.add(self._pids.get())
        processes = [process for process in multiprocessing.active_children() if process.pid in pids]
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(10)
        self._pool = None


_WORKER: Worker | UserError | None = None  # of a process of the pool, or why there is none; _start_worker sets it once


def _start_worker(url: str, user_settings: dict[str, Any], slots: Any, pids: Any, parent: int) -> None:
    global _WORKER
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the coordinator decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent(parent)
    pids.put(os.getpid())
    slot = slots.get()
    if slot is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = _visible_device(slot)
    try:
        _WORKER = make_worker(url, user_settings)
    except UserError as error:
        _WORKER = portable(error)
    except Exception as error:
        _WORKER = UserError(f"a worker process could not start: {error_message(error)}")


def _visible_device(slot: int) -> str:
    """The GPU of one worker, among those that CUDA_VISIBLE_DEVICES leaves visible."""
    allowed = [device for device in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if device.strip()]
    return allowed[slot] if allowed else str(slot)


def _attempt(stage: str, shard: int, number: int, sources: Sources, summary_inputs: str | None) -> Receipt | Failure:
    with _portable_errors():
        return _worker().attempt(stage, shard, number, sources, summary_inputs)


def _summarise(stage: str, sources: dict[int, Sources], inputs: str) -> SummaryReceipt | Failure:
    with _portable_errors():
        return _worker().summarise(stage, sources, inputs)


def _worker() -> Worker:
    """The worker of this process; raises why there is none."""
    assert _WORKER is not None
    if isinstance(_WORKER, UserError):
        raise _WORKER
    return _WORKER


@contextmanager
def _portable_errors() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise portable(error) from None
