"""The local executor: one process a GPU, or N processes on a machine without; each loads a stage's model once and works on shards.

A second executor (Ray) is one more file that makes a Worker where it likes and calls `attempt`, and before the shards of a global stage
once `summarise` in one of its workers.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mals import settings
from mals.config import Config
from mals.errors import UserError
from mals.grid.cells import Damaged, Grid, build_stage
from mals.grid.plan import read_plan
from mals.grid.receipt import Receipt, Source
from mals.grid.shard import AdaptiveBatch, ShardFailed, free_memory, run_shard
from mals.grid.stage import AnyStage, GlobalStage, error_message
from mals.grid.store import Store
from mals.grid.summary import SummaryReceipt, make_summary, read_summary
from mals.processes import end_with_parent

Sources = dict[int, dict[str, Source]]  # the shards to make, in order -> the earlier cells of each, by stage
PAUSE = 1.0  # seconds before a damaged cell is read again
WORKER_DIED = "WorkerDied: a worker process was killed; when the machine ran out of memory, lower run.workers or the batch"


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


@dataclass
class Worker:
    """What one process keeps between shards: the grid, and the one stage whose model is loaded."""

    grid: Grid
    config: Config
    _stage: AnyStage | None = None
    _summary_inputs: str | None = None  # of the summary that the stage was set up with
    _batches: dict[str, AdaptiveBatch] = field(default_factory=dict)

    def attempt(
        self, name: str, shard: int, number: int, sources: dict[str, Source], summary_inputs: str | None = None
    ) -> Receipt | Failure:
        """Attempt `number` (from 1) at one shard, from the earlier cells `sources`, and by the summary made from `summary_inputs`.

        Raises UserError, since another attempt would fail alike. An earlier cell that is damaged costs this shard and no other.
        """
        try:
            try:
                return self._run_shard(name, shard, number, sources, summary_inputs)
            except Damaged:
                time.sleep(PAUSE)
                # by the receipts of now: another command may have made the cell again
                return self._run_shard(name, shard, number, None, summary_inputs)
        except Damaged as error:
            return self._failure(shard, number, error, "")
        except UserError:
            raise
        except ShardFailed as failed:
            return Failure(shard, number, failed.rows, dict(failed.errors.most_common(10)), failed.trace)
        except (Exception, SystemExit) as error:
            return self._failure(shard, number, error, traceback.format_exc(limit=-8))

    def summarise(self, name: str, sources: Sources, inputs: str) -> SummaryReceipt | Failure:
        """The summary of a global stage, made from the cells `sources` of all shards; `inputs` is their Survey.summary_inputs.

        Raises UserError, as for an earlier cell that is damaged.
        """
        stage = build_stage(name, self.config)
        assert isinstance(stage, GlobalStage)
        limit_threads(self.config.run.threads)
        try:
            return make_summary(self.grid, stage, inputs, sources)
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            return Failure(0, 1, self.grid.plan.rows, {error_message(error): self.grid.plan.rows}, traceback.format_exc(limit=-8))

    def _run_shard(self, name: str, shard: int, number: int, sources: dict[str, Source] | None, summary_inputs: str | None) -> Receipt:
        stage = self._load(name, summary_inputs)
        batch = self._batches.setdefault(name, AdaptiveBatch(stage.batch, stage.batch))
        return run_shard(self.grid, stage, shard, batch, self.config.run.max_error_rate, number, sources, summary_inputs)

    def _failure(self, shard: int, number: int, error: BaseException, trace: str) -> Failure:
        rows = self.grid.row_count(shard)
        return Failure(shard, number, rows, {error_message(error): rows}, trace)

    def _load(self, name: str, summary_inputs: str | None) -> AnyStage:
        if self._stage is None or self._stage.name != name or self._summary_inputs != summary_inputs:
            self._stage = None  # free the old model before loading the next
            free_memory()
            stage = build_stage(name, self.config)  # not the grid's, which would keep it
            limit_threads(self.config.run.threads)
            if isinstance(stage, GlobalStage):
                assert summary_inputs is not None
                stage.setup(read_summary(self.grid, name, summary_inputs))
            else:
                stage.setup()
            limit_threads(self.config.run.threads)  # of libraries that setup has imported
            self._stage, self._summary_inputs = stage, summary_inputs
        return self._stage


def limit_threads(threads: int) -> None:
    """Hold the libraries that are loaded to `threads` threads: floating-point results depend on the number."""
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
    if "cv2" in sys.modules:
        import cv2

        cv2.setNumThreads(threads)


class LocalExecutor:
    """Works on shards in this process (one worker) or in processes of its own."""

    def __init__(self, url: str, user_settings: dict[str, Any], grid: Grid, *, workers: int, gpus: int):
        self.url, self.user_settings, self.grid, self.workers, self.gpus = url, user_settings, grid, workers, gpus
        self._inline: Worker | None = None
        self._pool: ProcessPoolExecutor | None = None
        self._pids: Any = None  # a queue of the process ids of the pool's workers
        self._size = 0

    def run(
        self, stage: str, shards: Sources, workers: int, attempts: int, summary_inputs: str | None = None
    ) -> Iterator[Receipt | Failure]:
        """A Receipt or a Failure for every attempt at every shard; a shard that failed is tried `attempts` times in all.

        `summary_inputs`: what the summary of a global stage was made from.
        """
        if workers == 1:
            yield from self._run_inline(stage, shards, attempts, summary_inputs)
        else:
            yield from self._run_pool(stage, shards, workers, attempts, summary_inputs)

    def summarise(self, stage: str, sources: Sources, workers: int, inputs: str) -> SummaryReceipt | Failure:
        """See Worker.summarise; where there are several workers, one of them makes it."""
        if workers == 1:
            return self._inline_worker().summarise(stage, sources, inputs)
        try:
            return self._start_pool(min(workers, self.workers)).submit(_summarise, stage, sources, inputs).result()
        except BrokenProcessPool:
            self.close()
            return Failure(0, 1, self.grid.plan.rows, {WORKER_DIED: self.grid.plan.rows})

    def _inline_worker(self) -> Worker:
        if self._inline is None:
            self._inline = make_worker(self.url, self.user_settings, self.grid)
        return self._inline

    def _run_inline(self, stage: str, shards: Sources, attempts: int, summary_inputs: str | None) -> Iterator[Receipt | Failure]:
        worker = self._inline_worker()
        for shard, sources in shards.items():
            for attempt in range(1, attempts + 1):
                result = worker.attempt(stage, shard, attempt, sources, summary_inputs)
                yield result
                if isinstance(result, Receipt):
                    break

    def _run_pool(
        self, stage: str, shards: Sources, workers: int, attempts: int, summary_inputs: str | None
    ) -> Iterator[Receipt | Failure]:
        queue = [(shard, 1) for shard in reversed(list(shards))]
        running: dict[Future[Receipt | Failure], tuple[int, int]] = {}
        while queue or running:
            pool = self._start_pool(min(workers, self.workers))
            try:
                while queue and len(running) < 2 * workers:
                    job = queue.pop()
                    running[pool.submit(_attempt, stage, *job, shards[job[0]], summary_inputs)] = job
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    shard, attempt = running[future]
                    result = future.result()
                    del running[future]
                    if isinstance(result, Failure) and attempt < attempts:
                        queue.append((shard, attempt + 1))
                    yield result
            except BrokenProcessPool:
                self.close()
                for shard, attempt in running.values():
                    rows = self.grid.row_count(shard)
                    yield Failure(shard, attempt, rows, {WORKER_DIED: rows})
                    if attempt < attempts:
                        queue.append((shard, attempt + 1))
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


def make_worker(url: str, user_settings: dict[str, Any], grid: Grid | None = None) -> Worker:
    """The worker of this process, from what a coordinator can send: the run's place and its settings."""
    config = settings.check(user_settings)
    if grid is None:
        store = Store(url)
        plan = read_plan(store)
        assert plan is not None  # the coordinator has read it
        grid = Grid(store, config, plan)
    import pyarrow as pa

    pa.set_cpu_count(config.run.threads)
    return Worker(grid, config)


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


def _attempt(stage: str, shard: int, number: int, sources: dict[str, Source], summary_inputs: str | None) -> Receipt | Failure:
    with _portable_errors():
        return _worker().attempt(stage, shard, number, sources, summary_inputs)


def _summarise(stage: str, sources: Sources, inputs: str) -> SummaryReceipt | Failure:
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


def portable(error: UserError) -> UserError:
    """The error as another process can read it: one of a stage's own that cannot be pickled becomes a plain one of the same text."""
    try:
        copy = pickle.loads(pickle.dumps(error))
        return error if str(copy) == str(error) else UserError(str(error))
    except Exception:
        return UserError(str(error))
