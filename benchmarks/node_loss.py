"""Many machines: `python -m benchmarks.node_loss [simulation|dispatch]`, one JSON line each.

simulation  what lost nodes cost: 3,000 shards x 7 stages on 64 actors of a node each; a node is lost with 1 % an hour and replaced after
            10 minutes. A discrete simulation: the scheduler, its surveys, its memory and its budgets of losses are the real ones, stages,
            actors and time are not.
dispatch    what Ray costs: 10,002 cells of one row each, by stages that do nothing, in two actors on this machine; the coordinator's memory
            on the way. `--cells N` for fewer.
"""

import argparse
import heapq
import json
import os
import pickle
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.grid import planned
from mals.grid.executor import Failure, Job, Lost, Outcome, Sources
from mals.grid.progress import Progress
from mals.grid.receipt import SUMMARY, Receipt
from mals.grid.run import Run, executor_of
from mals.grid.schedule import Rules, Schedule
from mals.grid.spending import Budget
from mals.grid.summary import SummaryReceipt
from mals.grid.versions import environment

MINUTES = {"generate": 10.0, "safety": 0.5, "filter": 0.2, "crop": 1.0, "caption": 3.0, "label": 0.2, "keep": 0.1}  # of a shard
ACTORS, ACTORS_A_NODE = 64, 1
REPLACED_AFTER = 10.0  # minutes
NOTICED_AFTER = 0.1  # minutes: Ray took 2 s in the tests
START = 1.0  # minutes until a stage's model is loaded
EVERY = 100  # cells between two samples


class Simulated:
    """An executor in which nothing happens but time, in minutes."""

    def __init__(self, run: Run, loss_an_hour: float, slowness: float, seed: int):
        self.grid, self.loss, self.slowness, self.random = run.grid, loss_an_hour / 60, slowness, random.Random(seed)
        self.now = self.useful = self.twice = 0.0
        self.lost = 0
        self.events: list[tuple[float, int, str, Any]] = []  # time, number, kind, what
        self.numbers = iter(range(10**9))
        self.free = list(range(ACTORS))
        self.stage: dict[int, str] = {}  # of an actor
        self.work: dict[int, tuple[Job, float]] = {}  # actor -> its job, since when
        for node in range(ACTORS // ACTORS_A_NODE):
            self._live(node)

    def _at(self, minutes: float, kind: str, value: Any) -> None:
        heapq.heappush(self.events, (self.now + minutes, next(self.numbers), kind, value))

    def _live(self, node: int) -> None:
        if self.loss:
            self._at(self.random.expovariate(self.loss), "loss", node)

    def room(self, stage: str, left: int) -> bool:
        return bool(self.free)

    def start(self, job: Job) -> None:
        actor = max(self.free, key=lambda actor: self.stage.get(actor) == job.stage)
        self.free.remove(actor)
        loading = 0.0 if self.stage.get(actor) == job.stage else START
        self.stage[actor] = job.stage
        self.work[actor] = (job, self.now)
        self._at(loading + MINUTES[job.stage] * self.slowness * self.random.uniform(0.8, 1.2), "end", (actor, job))

    def wait(self) -> list[tuple[Job, Outcome]]:
        self.now, _, kind, value = heapq.heappop(self.events)
        if kind == "end":
            actor, job = value
            if actor not in self.work or self.work[actor][0] is not job:  # lost meanwhile
                return []
            self.useful += self.now - self.work.pop(actor)[1]
            self.free.append(actor)
            return [(job, self._receipt(job))]
        if kind == "noticed":
            return [value]
        actors = range(value * ACTORS_A_NODE, (value + 1) * ACTORS_A_NODE)
        if kind == "loss":
            self._at(REPLACED_AFTER, "back", value)
            for actor in actors:
                if actor in self.work:
                    job, since = self.work.pop(actor)
                    self.lost += 1
                    self.twice += self.now - since
                    self._at(NOTICED_AFTER, "noticed", (job, Lost(job.shard, f"node {value}", "lost")))
                else:
                    self.free.remove(actor)
                self.stage.pop(actor, None)
        else:
            self.free += actors
            self._live(value)
        return []

    def _receipt(self, job: Job) -> Receipt:
        stage, grid = job.stage, self.grid
        inputs = {name: source.sha256 for name, source in job.sources.items()} | (
            {SUMMARY: job.summary_inputs} if job.summary_inputs else {}
        )
        receipt = Receipt(
            stage=stage,
            shard=job.shard,
            fingerprint=grid.fingerprints[stage],
            version=grid.stages[stage].version,
            params=grid.params[stage],
            inputs=inputs,
            size=1,
            sha256=f"{stage}-{job.shard}".zfill(64),
            rows=1,
            active=1,
            env=environment(),
        )
        return pickle.loads(pickle.dumps(receipt))  # as it would come from another process

    def summarise(self, stage: str, sources: dict[int, Sources], inputs: str) -> SummaryReceipt | Failure:
        return SummaryReceipt(stage=stage, fingerprint="", inputs=inputs, rows=len(sources), size=1, sha256="", seconds=0.0)

    def place(self) -> str:
        return ""

    def close(self) -> None:
        pass


@dataclass
class Sample:
    """The state of a run at one moment."""

    cells: int
    clock: float  # seconds
    mib: float  # of this process
    processor: tuple[float, float, float]  # seconds, of this process, of the actors, and of Ray's own processes below it

    @classmethod
    def now(cls, cells: int) -> "Sample":
        import psutil

        process = psutil.Process()
        seconds = [sum(process.cpu_times()[:2]), 0.0, 0.0]
        for child in process.children(recursive=True):
            try:
                seconds[1 if child.name().startswith("ray::RayMember") else 2] += sum(child.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        return cls(cells, time.perf_counter(), process.memory_info().rss / 2**20, (seconds[0], seconds[1], seconds[2]))


def memory(samples: list[Sample]) -> dict[int, float]:
    """Cells -> MiB of this process: at first, after 1,000 and 10,000 cells, and in the end."""
    chosen = [samples[0], *(sample for sample in samples if sample.cells in (1000, 10_000)), samples[-1]]
    return {sample.cells: round(sample.mib, 1) for sample in chosen}


class Watched(Progress):
    """Takes a sample every hundred finished cells, from the hundredth on, when the actors have begun."""

    def __init__(self, run: Run):
        super().__init__(run.store, quiet=True)
        self.cells = 0
        self.samples: list[Sample] = []

    def __enter__(self) -> "Watched":
        super().__enter__()
        return self

    def finished(self, receipt: Receipt, place: str = "") -> None:
        super().finished(receipt, place)
        self.cells += 1
        if self.cells % EVERY == 0:
            self.samples.append(Sample.now(self.cells))


def simulation(folder: Path, shards: int) -> Iterator[dict[str, Any]]:
    """Runs without a loss, with 1 % an hour, and with 1 % an hour and shards that take twelve times as long."""
    run = Run.open(planned(folder, shards, "shard_rows=1", "keep.by=sharpness", "keep.share=0.9"))
    for loss, slowness in ((0.0, 1.0), (0.01, 1.0), (0.01, 12.0)):
        executor = Simulated(run, loss, slowness, seed=0)
        rules, budget = Rules(attempts=2, overlap=True), Budget(run.grid.stages, None, lambda stage: ACTORS)
        clock = time.process_time()
        with Watched(run) as progress:
            outcome = Schedule(run.grid, run.grid.survey(), executor, progress, budget, rules).make(list(run.grid.stages), range(shards))
        yield {
            "simulated": "actors, stages and time; the scheduler is real",
            "shards": shards,
            "stages": len(run.grid.stages),
            "actors": ACTORS,
            "node_loss_per_hour": loss,
            "hours": round(executor.now / 60, 2),
            "generate_minutes_a_shard": MINUTES["generate"] * slowness,
            "cells": sum(outcome.new_cells.values()),
            "failed_shards": sum(map(len, outcome.failures.values())),
            "lost_attempts": executor.lost,
            "work_done_twice": round(executor.twice / (executor.useful + executor.twice), 5),
            "coordinator_mib": memory(progress.samples),
            "scheduler_processor_ms_a_cell": round(1000 * (time.process_time() - clock) / sum(outcome.new_cells.values()), 3),
        }


def dispatch(folder: Path, cells: int) -> Iterator[dict[str, Any]]:
    """The milliseconds a cell, by the clock and of processor, and the coordinator's memory after a tenth of the cells and at the end."""
    run = Run.open(planned(folder, -(-cells // 6), "shard_rows=1", "run.workers=2"))
    executor = executor_of(run, "ray")
    rules, budget = Rules(attempts=2, overlap=True), Budget(run.grid.stages, None, lambda stage: 2)
    progress = Watched(run)
    try:
        with progress:
            schedule = Schedule(run.grid, run.grid.survey(), executor, progress, budget, rules)
            schedule.make(list(run.grid.stages), range(run.grid.shards))
    finally:
        executor.close()
    first, last = progress.samples[0], progress.samples[-1]
    cell = 1000 / (last.cells - first.cells)
    used = [round(cell * (end - begin), 2) for begin, end in zip(first.processor, last.processor, strict=True)]
    yield {
        "cells": progress.cells,
        "actors": 2,
        "ms_a_cell": round(cell * (last.clock - first.clock), 2),
        **dict(zip(("coordinator_processor_ms_a_cell", "actors_processor_ms_a_cell", "ray_processor_ms_a_cell"), used, strict=True)),
        "coordinator_mib": memory(progress.samples),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measures", nargs="*", default=["simulation", "dispatch"], metavar="MEASURE")
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=3_000)
    options = parser.parse_args()
    for name in options.measures:
        with tempfile.TemporaryDirectory(prefix="mals-bench-") as folder:
            lines = simulation(Path(folder), options.shards) if name == "simulation" else dispatch(Path(folder), options.cells)
            for line in lines:
                print(json.dumps({"benchmark": f"node_loss.{name}", "cores": os.cpu_count(), **line}), flush=True)


if __name__ == "__main__":
    main()
