"""Overlap against one after the other (`run.overlap`): `python -m benchmarks.overlap [stages|worker|demo|dispatch]`, one JSON line each.

stages    stages that differ in what they use: two wait for a card (0.4 s and 0.3 s a shard), one for a server (0.3 s), two compute
          (0.3 s and 0.2 s)
worker    a worker that waits 0.3 s for a card and then writes 50 MB a shard, and one that reads them and waits
demo      the data half of `mals demo`, with fewer rows: on a machine without a GPU all of its stages compute
dispatch  10,000 tiny cells with two processes: milliseconds a cell by the clock and of the processor, and the coordinator's memory

Both ways take turns, and their cells are compared. `bound_s` is the work of what is used most: the card, the server or the cores.
"""

import hashlib
import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import pyarrow as pa

from benchmarks.grid import Bare
from mals.config import Config
from mals.grid.receipt import Receipt
from mals.grid.run import Run, run_stages
from mals.grid.stage import Resources, Stage
from mals.grid.status import status
from mals.planning.create import STARTER, create

ROWS = 16  # of a shard
USES = {"card": Resources(gpus=1), "server": Resources(workers=1), "core": Resources()}
WORK = {"generate": ("card", 0.4), "filter": ("core", 0.3), "crop": ("card", 0.3), "caption": ("server", 0.3), "label": ("core", 0.2)}
LARGE = 3 << 20  # bytes of an image of `worker`
WAIT = 0.3  # seconds a shard that a stage of `worker` waits


class Working(Bare):
    """A stage that waits, or computes in one thread, for some seconds a shard."""

    def __init__(self, name: str, config: Config, uses: str, seconds: float):
        super().__init__(name, config)
        self.uses, self.seconds, self.resources = uses, seconds, USES[uses]

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.uses == "core":
            end = time.process_time() + self.seconds
            while time.process_time() < end:
                hashlib.sha256(b"x" * 1000).digest()
        else:
            time.sleep(self.seconds)
        return super().__call__(batch)


class Large(Working):
    """A stage that waits for a card, and has large images."""

    image = b""

    def setup(self) -> None:
        self.image = random.Random(0).randbytes(LARGE)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        output = super().__call__(batch)
        column = "image" if self.name == "generate" else "crop"
        images = pa.array([self.image] * len(batch) if self.name == "generate" else batch["image"], pa.binary())
        return output.set_column(output.schema.get_field_index(column), column, images)


def generate(config: Config) -> Stage:
    return Working("generate", config, *WORK["generate"])


def filter_(config: Config) -> Stage:
    return Working("filter", config, *WORK["filter"])


def crop(config: Config) -> Stage:
    return Working("crop", config, *WORK["crop"])


def caption(config: Config) -> Stage:
    return Working("caption", config, *WORK["caption"])


def label(config: Config) -> Stage:
    return Working("label", config, *WORK["label"])


def large_generate(config: Config) -> Stage:
    return Large("generate", config, "card", WAIT)


def large_crop(config: Config) -> Stage:
    return Large("crop", config, "card", WAIT)


FUNCTIONS = {"generate": "generate", "filter": "filter_", "crop": "crop", "caption": "caption", "label": "label"}
WORKING = [f"stages.{name}=benchmarks.overlap:{function}" for name, function in FUNCTIONS.items()]
BARE = [
    f"stages.{name}=benchmarks.grid:{function}"
    for name, function in {"generate": "generate", "crop": "crop", "caption": "caption", "filter": "filter_"}.items()
]


def captions(folder: Path, rows: int) -> Path:
    file = folder / "captions.txt"
    file.write_text("".join(f"a man number {n} in a red coat\n" for n in range(rows)))
    return file


def both_ways(folder: Path, plan: Callable[[str], object], upto: str, rounds: int) -> dict[str, Any]:
    """The seconds of a run with overlap and without, in turn, and whether their cells are the same; `plan` plans a run at a folder."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    cells: list[dict[str, str]] = []
    for turn in range(rounds):
        for overlap in (False, True):
            place = str(folder / f"{turn}-{overlap}")
            plan(place)
            run = Run.open(place, [f"run.overlap={str(overlap).lower()}"])
            clock = time.perf_counter()
            run_stages(run, upto, quiet=True)
            seconds[overlap].append(time.perf_counter() - clock)
            cells.append({f"{name} {shard}": receipt.sha256 for (name, shard), receipt in receipts(run).items()})
    without, with_overlap = statistics.median(seconds[False]), statistics.median(seconds[True])
    return {
        "one_after_the_other_s": round(without, 2),
        "overlap_s": round(with_overlap, 2),
        "times_faster": round(without / with_overlap, 2),
        "rounds": rounds,
        "same_cells": all(one == cells[0] for one in cells),
    }


def receipts(run: Run) -> dict[tuple[str, int], Receipt]:
    return {(name, shard): receipt for name in run.grid.stages for shard, receipt in run.grid.receipts(name).items()}


def stages(folder: Path, shards: int = 16, rounds: int = 3) -> dict[str, Any]:
    """Stages that differ in what they use."""
    file = captions(folder, shards * ROWS)
    times = both_ways(folder, lambda place: create(place, captions=file, assignments=[*WORKING, f"shard_rows={ROWS}"]), "label", rounds)
    work = {uses: shards * sum(seconds for kind, seconds in WORK.values() if kind == uses) for uses in USES}
    work["core"] /= os.cpu_count() or 1
    return {"shards": shards, **times, "bound_s": round(max(work.values()), 2), "bound_by": max(work, key=work.__getitem__)}


def worker(folder: Path, shards: int = 16, rounds: int = 3) -> dict[str, Any]:
    """One worker whose stage waits, and which reads and writes much."""
    file = captions(folder, shards * ROWS)
    sets = ["stages.generate=benchmarks.overlap:large_generate", "stages.crop=benchmarks.overlap:large_crop", f"shard_rows={ROWS}"]
    sets += [set_ for set_ in BARE if "filter" in set_]
    times = both_ways(folder, lambda place: create(place, captions=file, assignments=sets), "crop", rounds)
    waited = {}
    for name in ("False", "True"):
        lines = [line for line in status(Run.open(folder / f"0-{name}")).stages if line.stage in ("generate", "crop")]
        waited[name] = round(sum(line.waited for line in lines) / sum(line.seconds for line in lines), 3)
    shares = {"share_waited_one_after_the_other": waited["False"], "share_waited_overlap": waited["True"]}
    return {"shards": shards, "bytes_a_shard": ROWS * LARGE, **times, **shares, "bound_s": round(2 * shards * WAIT, 2), "bound_by": "card"}


def demo(folder: Path, rows: int = 64, rounds: int = 1) -> dict[str, Any]:
    """The data half of the demo, in shards of 16 rows in place of 64."""
    plan = {"captions": STARTER / "starter.txt", "count": rows, "preset": "tiny", "file": STARTER / "starter.yaml"}
    times = both_ways(folder, lambda place: create(place, **plan, assignments=["shard_rows=16"]), "label", rounds)  # type: ignore[arg-type]
    run = Run.open(folder / "0-False")
    seconds = {line.stage: line.seconds for line in status(run).stages}
    models = sum(seconds[name] for name, stage in run.grid.stages.items() if stage.resources.gpus)
    by_stage = {name: round(of_stage, 1) for name, of_stage in seconds.items()}
    return {"rows": rows, "shards": run.grid.shards, **times, "stage_s": by_stage, "bound_s": round(models, 1), "bound_by": "models"}


def dispatch(folder: Path, shards: int = 1667) -> dict[str, Any]:
    """Six stages that do nothing, of shards of one row."""
    create(str(folder / "run"), captions=captions(folder, shards), assignments=[*BARE, "shard_rows=1", "run.workers=2"])
    run, memory, done = Run.open(folder / "run"), list[int](), Event()

    def watch() -> None:
        while not done.wait(0.2):
            memory.append(psutil.Process().memory_info().rss)

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    clock, own_clock = time.perf_counter(), time.process_time()
    cells = sum(run_stages(run, quiet=True).new_cells.values())
    seconds, own_seconds = time.perf_counter() - clock, time.process_time() - own_clock
    done.set()
    watcher.join()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    at_a_tenth, at_the_end = (memory[at] / 2**20 for at in (len(memory) // 10, -1))
    return {
        "cells": cells,
        "workers": 2,
        "seconds": round(seconds, 1),
        "ms_a_cell": round(1000 * seconds / cells, 2),
        "coordinator_cpu_ms_a_cell": round(1000 * own_seconds / cells, 2),
        "workers_cpu_ms_a_cell": round(1000 * (children.ru_utime + children.ru_stime) / cells, 2),
        "coordinator_mib_at_a_tenth": round(at_a_tenth, 1),
        "coordinator_mib_at_the_end": round(at_the_end, 1),
    }


MEASURES: dict[str, Callable[[Path], dict[str, Any]]] = {"stages": stages, "worker": worker, "demo": demo, "dispatch": dispatch}


def main() -> None:
    for name in sys.argv[1:] or MEASURES:
        with tempfile.TemporaryDirectory(prefix="mals-bench-") as folder:
            values = {"benchmark": f"overlap.{name}", "cores": os.cpu_count(), **MEASURES[name](Path(folder))}
            print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
