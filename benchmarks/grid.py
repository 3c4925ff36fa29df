"""The cost of the grid itself: `python -m benchmarks.grid [overhead|memory|finished|help]`, one JSON line each.

overhead  rows/s of an identity stage that copies images of about 30 kB, against writing the same Parquet files with pyarrow alone
memory    the peak memory of a worker for runs of 20 and of 200 shards
finished  the seconds in which a finished run of 3,000 shards answers `mals run` and `mals status`
help      the seconds of `mals --help`
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.images import encoded, photograph
from mals.config import Config
from mals.grid.cells import build_stage
from mals.grid.run import Run, run_stages
from mals.grid.stage import Resources, Stage, output_batch
from mals.planning.create import create

ROOT = Path(__file__).parent.parent
IMAGE = encoded(photograph(0, 320, 160))  # about 30 kB


class Bare:
    """A stage that does nothing but fill its columns."""

    version = 1
    batch = 64
    resources = Resources()

    def __init__(self, name: str, config: Config):
        self.name, self.adds = name, build_stage(name, config.model_copy(update={"stages": {}})).adds
        self.needs: tuple[str, ...] = ("image",) if name == "crop" else ("id",)

    def params(self) -> dict[str, Any]:
        return {}

    def setup(self) -> None:
        pass

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns: dict[str, Any] = {field.name: [None] * len(batch) for field in self.adds}
        if self.name == "generate":
            columns["image"] = [IMAGE] * len(batch)
        if self.name == "crop":
            columns |= {"crop": batch["image"], "crop_width": [160] * len(batch), "crop_height": [320] * len(batch)}
        if self.name == "caption":
            columns |= {"caption": ["a man in a red coat and blue jeans"] * len(batch), "captions": [[]] * len(batch)}
        return output_batch(self.adds, columns)


def generate(config: Config) -> Stage:
    return Bare("generate", config)


def crop(config: Config) -> Stage:
    return Bare("crop", config)


def caption(config: Config) -> Stage:
    return Bare("caption", config)


def filter_(config: Config) -> Stage:
    return Bare("filter", config)


BARE = [
    f"stages.{name}=benchmarks.grid:{function}" for name, function in (("generate", "generate"), ("crop", "crop"), ("caption", "caption"))
]
BARE += ["stages.filter=benchmarks.grid:filter_", "run.workers=1"]


def planned(folder: Path, rows: int, *sets: str) -> Path:
    """The folder of a run of `rows` rows that is planned and not started."""
    file = folder / f"captions{rows}.txt"
    file.write_text("".join(f"a man number {n} in a red coat\n" for n in range(rows)))
    create(str(folder / f"run{rows}"), captions=file, assignments=[*BARE, *sets])
    return folder / f"run{rows}"


def overhead(folder: Path) -> dict[str, Any]:
    """The identity stage through a worker, against reading and writing the same columns with pyarrow alone, in turn."""
    run = Run.open(planned(folder, 2048, "shard_rows=512"))
    run_stages(run, "filter", quiet=True)
    grid_s, bare_s = [], []
    for _ in range(5):
        for shard in range(4):
            run.store.remove(run.grid.receipt_name("crop", shard))
        clock = time.perf_counter()
        run_stages(run, "crop", quiet=True)
        grid_s.append(time.perf_counter() - clock)
        clock = time.perf_counter()
        for shard in range(4):
            table = run.store.parquet(run.grid.cell_name("generate", shard)).read(columns=["id", "image"])
            pq.write_table(table, folder / "bare.parquet", compression="none", use_dictionary=False)
            with (folder / "bare.parquet").open("rb") as file:
                os.fsync(file.fileno())
        bare_s.append(time.perf_counter() - clock)
    grid, bare = statistics.median(grid_s), statistics.median(bare_s)
    return {
        "rows": 2048,
        "image_bytes": len(IMAGE),
        "rows_per_s": round(2048 / grid),
        "pyarrow_alone_rows_per_s": round(2048 / bare),
        "grid_ms_per_row": round(1000 * grid / 2048, 4),
        "overhead_ms_per_row": round(1000 * (grid - bare) / 2048, 4),
    }


def memory(folder: Path) -> dict[str, Any]:
    """Peak memory of the process that works on a run of few and of many shards of one size."""
    peaks = {}
    for shards in (20, 200):
        run = planned(folder, shards * 128, "shard_rows=128")
        code = f"from mals.grid.run import Run, run_stages; run_stages(Run.open({str(run)!r}), 'crop', quiet=True)"
        code += "; import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        peaks[f"peak_mib_{shards}_shards"] = round(int(printed) / 1024, 1)
    few, many = peaks.values()
    return {**peaks, "ratio": round(many / few, 3)}


def finished(folder: Path) -> dict[str, Any]:
    """The seconds in which a finished run of 3,000 shards reports that nothing is to do."""
    run = planned(folder, 6000, "shard_rows=2", "run.workers=2")
    command_line = [sys.executable, "-m", "cli.main"]
    clock = time.perf_counter()
    subprocess.run([*command_line, "run", str(run), "-q"], cwd=ROOT, check=True, capture_output=True)
    first = time.perf_counter() - clock
    times = {}
    for command in ("run", "status"):
        seconds = []
        for _ in range(3):
            clock = time.perf_counter()
            subprocess.run([*command_line, command, str(run)], cwd=ROOT, check=True, capture_output=True)
            seconds.append(time.perf_counter() - clock)
        times[f"{command}_s"] = round(statistics.median(seconds), 2)
    cells = 3000 * 6
    return {"shards": 3000, "cells": cells, **times, "first_s": round(first, 1), "ms_per_cell_at_first": round(1000 * first / cells, 2)}


def help_(folder: Path) -> dict[str, Any]:
    """The seconds of `mals --help`, the first time not counted."""
    seconds = []
    for _ in range(6):
        clock = time.perf_counter()
        subprocess.run([sys.executable, "-m", "cli.main", "--help"], cwd=ROOT, check=True, capture_output=True)
        seconds.append(time.perf_counter() - clock)
    return {"help_s": round(statistics.median(seconds[1:]), 3)}


MEASURES = {"overhead": overhead, "memory": memory, "finished": finished, "help": help_}


def main() -> None:
    for name in sys.argv[1:] or MEASURES:
        with tempfile.TemporaryDirectory(prefix="mals-bench-") as folder:
            print(json.dumps({"benchmark": f"grid.{name}", "cores": os.cpu_count(), **MEASURES[name](Path(folder))}), flush=True)


if __name__ == "__main__":
    main()
