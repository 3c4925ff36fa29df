"""How long the pages of `mals look` take over a large run, and in how much memory. JSON lines; exit code 1 over a limit.

python -m benchmarks.look [ROWS] [--keep FOLDER]    a run of ROWS rows (1,500,000) in shards of 512, with images of 400 bytes

The run is made first, unless FOLDER holds it. Limits: overview 1 s, a slider's count 0.5 s, the first page of a filtered grid 1.5 s,
60 thumbnails 1 s, 1 GiB of memory.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mals import settings
from mals.grid.cells import Grid
from mals.grid.plan import RECEIPT, PlanFile, PlanReceipt, PlanRequest, plan_file, plan_settings
from mals.grid.receipt import Receipt
from mals.grid.run import Run, save_settings
from mals.grid.store import Store
from mals.planning.table import PLAN

SHARD_ROWS, SHARDS_PER_FILE = 512, 64
LIMITS = {"overview": 1.0, "slider": 0.5, "grid": 1.5, "thumbnails": 1.0}  # seconds
MEMORY = 1 << 30  # bytes
REFUSED = 0.1  # of the rows, by the filter
WORDS = [
    "red",
    "blue",
    "black",
    "white",
    "green",
    "yellow",
    "coat",
    "shirt",
    "skirt",
    "hat",
    "bag",
    "man",
    "woman",
    "child",
    "street",
    "shop",
]


def make_run(folder: str, rows: int) -> None:
    """Write a finished run: the plan, every cell, and its receipt."""
    tree = {"preset": "tiny", "shard_rows": SHARD_ROWS}
    store, config = Store(folder), settings.check(tree)
    save_settings(store, tree)
    files = []
    for number, start in enumerate(range(0, rows, SHARD_ROWS * SHARDS_PER_FILE)):
        count = min(rows - start, SHARD_ROWS * SHARDS_PER_FILE)
        ids = [f"{row:08d}" for row in range(start, start + count)]
        columns = {"id": ids, "prompt": ["a person on a street"] * count, "caption": ["a person on a street"] * count}
        table = pa.table({name: columns.get(name, pa.nulls(count, PLAN.field(name).type)) for name in PLAN.names}, PLAN)
        with store.writer(plan_file(number)) as path:
            pq.write_table(table, path, row_group_size=SHARD_ROWS, compression="zstd")
        files.append(PlanFile(path=plan_file(number), bytes=store.size(plan_file(number)) or 0, sha256=""))
    request = PlanRequest(captions_file=None, count=rows, images=None, form={}, grammar={}, settings=plan_settings(config))
    receipt = PlanReceipt(
        rows=rows,
        shard_rows=SHARD_ROWS,
        shards_per_file=SHARDS_PER_FILE,
        fingerprint="0" * 64,
        files=files,
        request=request,
        prompts_cut=None,
        token_limit=None,
    )
    store.commit(RECEIPT, json.dumps(receipt.to_json()).encode())
    grid = Run.open(folder).grid
    for shard in range(grid.shards):
        _write_shard(grid, shard)


def _write_shard(grid: Grid, shard: int) -> None:
    """All cells of a shard; the filter refuses a tenth of its rows."""
    rows, random = grid.row_count(shard), np.random.default_rng(shard)
    refused = random.random(rows) < REFUSED
    ids = pa.array([f"{shard * SHARD_ROWS + at:08d}" for at in range(rows)])
    for name, stage in grid.stages.items():
        columns = {field.name: _column(field, rows, random) for field in stage.adds}
        reject = (
            [["blurred", "grey"][: 1 + at % 2] if out else None for at, out in enumerate(refused)] if name == "filter" else [None] * rows
        )
        columns |= {"id": ids, "reject": pa.array(reject, pa.list_(pa.string())), "error": pa.nulls(rows, pa.string())}
        sink = BytesIO()
        pq.write_table(pa.table(columns), sink, compression="zstd", row_group_size=1024)
        data = sink.getvalue()
        grid.store.commit(grid.cell_name(name, shard), data)
        out = int(refused.sum())
        active = rows if name in ("generate", "safety", "filter") else rows - out
        receipt = Receipt(
            stage=name,
            shard=shard,
            fingerprint=grid.fingerprints[name],
            version=stage.version,
            params=grid.params[name],
            inputs={},
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            rows=rows,
            active=active,
            rejects={"blurred": out} if name == "filter" else {},
            seconds=1.0,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        grid.store.commit(grid.receipt_name(name, shard), receipt.to_bytes())


def _column(field: pa.Field, rows: int, random: np.random.Generator) -> pa.Array:
    """Random values of a column of a stage."""
    if pa.types.is_binary(field.type):
        return pa.array([IMAGE] * rows, field.type)
    if pa.types.is_integer(field.type):
        return pa.array(random.integers(1, 1000, rows), pa.int64()).cast(field.type)
    if pa.types.is_floating(field.type):
        return pa.array(random.gamma(2, 50, rows).astype(np.float32)).cast(field.type)
    if field.name == "caption":
        return pa.array([" ".join(words) for words in np.array(WORDS)[random.integers(0, len(WORDS), (rows, 12))]])
    if field.name == "attributes":
        return pa.array(random.integers(-1, 2, (rows, 27), np.int8).tolist(), field.type)
    return pa.nulls(rows, field.type)


def _image() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (16, 40), (90, 120, 160)).save(buffer, "JPEG", quality=50)
    return buffer.getvalue()


IMAGE = _image()


class Clock:
    """Seconds of each page, and of the CPU in the server: on a machine that does much else the latter says more."""

    def __init__(self, pid: int) -> None:
        self.process = psutil.Process(pid)
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Keep the greatest of the times with this name."""
        wall, cpu = time.perf_counter(), sum(self.process.cpu_times()[:2])
        yield
        self.wall[name] = max(self.wall.get(name, 0), time.perf_counter() - wall)
        self.cpu[name] = max(self.cpu.get(name, 0), sum(self.process.cpu_times()[:2]) - cpu)

    def fetch(self, name: str, address: str) -> str:
        with self.measure(name):
            return fetch(address)


def fetch(address: str) -> str:
    """The text of a page."""
    with urllib.request.urlopen(address, timeout=300) as answer:
        return str(answer.read().decode(errors="replace"))


def measure(folder: str) -> bool:
    """Ask for the pages of the run in a server of its own; whether all limits hold."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "cli.main", "look", folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address, clock = process.stdout.readline().strip(), Clock(process.pid)
        clock.wall["start"] = time.perf_counter() - start
        for page in ("", "live"):
            clock.fetch("overview", address + page)
        for page in ("thresholds?rule=filter.sharpness", "images?text=red+coat", "images?number=sharpness", "images?attribute=hat%3Dno"):
            clock.fetch("first_of_a_column", address + page)
        for least in (5, 30, 60, 120):
            clock.fetch("slider", f"{address}thresholds?rule=filter.sharpness&least={least}")
        queries = ("reason=grey", "text=green+hat", "state=kept&number=sharpness&descending=1", "attribute=hat%3Dyes&text=woman")
        pages = [clock.fetch("grid", f"{address}images?{query}") for query in queries]
        rows = [int(part.split(".")[0]) for part in pages[2].split("/thumbnail/")[1:]]
        with clock.measure("thumbnails"):
            for row in rows:
                fetch(f"{address}thumbnail/{row}.jpg")
        memory = clock.process.memory_info().rss
    finally:
        process.terminate()
        process.wait(30)
    wall, cpu = ({name: round(value, 3) for name, value in times.items()} for times in (clock.wall, clock.cpu))
    holds = all(wall[name] <= limit for name, limit in LIMITS.items()) and memory <= MEMORY
    result = {"seconds": wall, "cpu_seconds": cpu, "thumbnails": len(rows), "memory_mb": memory >> 20, "limits_hold": holds}
    print(json.dumps(result | {"load": psutil.getloadavg()[0], "cores": psutil.cpu_count()}), flush=True)
    return holds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, nargs="?", default=1_500_000)
    parser.add_argument("--keep", help="the folder of the run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or f"{scratch}/run"
        if not Path(folder, "mals.yaml").exists():
            clock = time.perf_counter()
            make_run(folder, arguments.rows)
            print(json.dumps({"rows": arguments.rows, "made_in_s": round(time.perf_counter() - clock, 1)}), flush=True)
        if not measure(folder):
            sys.exit(1)


if __name__ == "__main__":
    main()
