"""The local executor: one process a GPU, or N processes on a machine without; each loads a stage's model once and works off shards.

A second executor (Ray) is one more file that makes a Worker where it likes and calls `work`.
"""

import json
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from mals import settings
from mals.config import Config
from mals.errors import UserError
from mals.grid.cells import Grid, build
from mals.grid.receipt import Receipt
from mals.grid.shard import Pace, ShardFailed, free_memory, run_shard
from mals.grid.stage import Stage, describe
from mals.grid.store import Store
from mals.processes import end_with_parent


@dataclass(frozen=True)
class Failure:
    """Why one attempt at a shard came to nothing."""

    shard: int
    attempt: int
    rows: int
    errors: dict[str, int]  # message -> rows
    trace: str = ""

    @property
    def top(self) -> str:
        return next(iter(self.errors))


@dataclass
class Worker:
    """What one process keeps between shards: the grid, and the one stage whose model is loaded."""

    grid: Grid
    config: Config
    _stage: Stage | None = None
    _paces: dict[str, Pace] = field(default_factory=dict)

    def work(self, name: str, shard: int, attempt: int) -> Receipt | Failure:
        """One attempt at one shard; a UserError goes up, since another attempt would meet it too."""
        try:
            stage = self._ready(name)
            pace = self._paces.setdefault(name, Pace(stage.batch, stage.batch))
            return run_shard(self.grid, stage, shard, pace, self.config.run.max_error_rate, attempt)
        except UserError:
            raise
        except ShardFailed as failed:
            return Failure(shard, attempt, failed.rows, dict(failed.errors.most_common(10)), failed.trace)
        except Exception as error:
            return Failure(shard, attempt, self.grid.rows(shard), {describe(error): self.grid.rows(shard)}, traceback.format_exc(limit=-8))

    def _ready(self, name: str) -> Stage:
        if self._stage is None or self._stage.name != name:
            self._stage = None  # the old model goes before the new one comes
            free_memory()
            stage = build(name, self.config)  # not the grid's, which would keep it
            limit_threads(self.config.run.threads)
            stage.setup()
            limit_threads(self.config.run.threads)  # of what setup has imported
            self._stage = stage
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
    """Works off shards in this process (one worker) or in processes of its own."""

    def __init__(self, url: str, given: dict[str, Any], grid: Grid, workers: int, gpus: int):
        self.url, self.given, self.grid, self.workers, self.gpus = url, given, grid, workers, gpus
        self._inline: Worker | None = None
        self._pool: ProcessPoolExecutor | None = None
        self._size = 0

    def run(self, stage: str, shards: list[int], workers: int, attempts: int) -> Iterator[Receipt | Failure]:
        """A Receipt or a Failure for every attempt at every shard; a shard that failed is tried `attempts` times in all."""
        if workers == 1:
            yield from self._run_here(stage, shards, attempts)
        else:
            yield from self._run_pool(stage, shards, workers, attempts)

    def _run_here(self, stage: str, shards: list[int], attempts: int) -> Iterator[Receipt | Failure]:
        if self._inline is None:
            self._inline = make_worker(self.url, self.given, self.grid)
        for shard in shards:
            for attempt in range(1, attempts + 1):
                result = self._inline.work(stage, shard, attempt)
                yield result
                if isinstance(result, Receipt):
                    break

    def _run_pool(self, stage: str, shards: list[int], workers: int, attempts: int) -> Iterator[Receipt | Failure]:
        queue = [(shard, 1) for shard in reversed(shards)]
        flying: dict[Future[Receipt | Failure], tuple[int, int]] = {}
        while queue or flying:
            pool = self._ready(min(workers, self.workers))
            try:
                while queue and len(flying) < 2 * workers:
                    job = queue.pop()
                    flying[pool.submit(_work, stage, *job)] = job
                finished, _ = wait(flying, return_when=FIRST_COMPLETED)
                for future in finished:
                    shard, attempt = flying[future]
                    result = future.result()
                    del flying[future]
                    if isinstance(result, Failure) and attempt < attempts:
                        queue.append((shard, attempt + 1))
                    yield result
            except BrokenProcessPool:
                self.close()
                for shard, attempt in flying.values():
                    trouble = "WorkerDied: a worker process was killed; when the machine ran out of memory, lower run.workers or the batch"
                    yield Failure(shard, attempt, self.grid.rows(shard), {trouble: self.grid.rows(shard)})
                    if attempt < attempts:
                        queue.append((shard, attempt + 1))
                flying.clear()

    def _ready(self, workers: int) -> ProcessPoolExecutor:
        if self._pool is None or self._size != workers:
            self.close()
            context = multiprocessing.get_context("spawn")  # a forked CUDA context does not work
            slots = context.Queue()
            for slot in range(workers):
                slots.put(slot % self.gpus if self.gpus else None)
            self._pool = ProcessPoolExecutor(workers, context, _start, (self.url, self.given, slots, os.getpid()))
            self._size = workers
        return self._pool

    def close(self) -> None:
        """End the processes; what they were at is lost, what they committed is not."""
        if self._pool is not None:
            processes = list((self._pool._processes or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            for process in processes:
                process.join(10)
            self._pool = None


_WORKER: Worker | None = None


def make_worker(url: str, given: dict[str, Any], grid: Grid | None = None) -> Worker:
    """The worker of this process, from what a coordinator can send: the run's place and its settings."""
    config = settings.check(given)
    if grid is None:
        store = Store(url)
        grid = Grid(store, config, json.loads(store.read("plan/plan.json")))
    import pyarrow as pa

    pa.set_cpu_count(config.run.threads)
    return Worker(grid, config)


def _start(url: str, given: dict[str, Any], slots: Any, parent: int) -> None:
    global _WORKER
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the coordinator decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent(parent)
    slot = slots.get()
    if slot is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = _visible(slot)
    _WORKER = make_worker(url, given)


def _visible(slot: int) -> str:
    """The device of one worker, within those that this machine's owner left visible."""
    allowed = [device for device in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if device.strip()]
    return allowed[slot] if allowed else str(slot)


def _work(stage: str, shard: int, attempt: int) -> Receipt | Failure:
    assert _WORKER is not None
    return _WORKER.work(stage, shard, attempt)
