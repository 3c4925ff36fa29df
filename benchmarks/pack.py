"""The packed files: which size of row groups is best, and with what speed and memory a run is packed. JSON lines.

python -m benchmarks.pack groups [ROWS]    a file of ROWS crops of some 28 kB written with several sizes of row groups, rows read at random
python -m benchmarks.pack run [ROWS]       a whole run packed: rows/s, MB/s, peak memory, and a second call that has nothing to do
"""

import io
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mals.config import Config
from mals.dataset.pack import pack
from mals.dataset.parquet import write_parquet
from mals.dataset.rows import PackedRows
from mals.dataset.source import packed_columns
from mals.grid.run import Run
from tests.small import cells

SIZES = (16, 64, 128, 256, 512, 1024, 2048, 4096)
READS = 200
POOL: list[bytes] = []


def pool() -> list[bytes]:
    """Pictures of 384 x 152 pixels whose JPEG (quality 95, 4:4:4) takes about 28 kB: smooth blocks and some noise."""
    if not POOL:
        for seed in range(64):
            draw = np.random.default_rng(seed)
            blocks = Image.fromarray(draw.integers(0, 256, (12, 5, 3), np.uint8)).resize((152, 384), Image.Resampling.BICUBIC)
            pixels = np.asarray(blocks, np.float32) + draw.normal(0, 2.9, (384, 152, 3))
            buffer = io.BytesIO()
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=95, subsampling=0)
            POOL.append(buffer.getvalue())
    return POOL


def crop(config: Config) -> cells.Small:
    """The small crop stage with pictures of a real size."""
    stage = cells.crop(config)
    small = stage.answer_row

    def one(row: dict[str, Any]) -> dict[str, Any]:
        found = small(row)
        return found | {"crop": pool()[cells.number(row["id"]) % 64], "crop_width": 152, "crop_height": 384} if "crop" in found else found

    stage.answer_row = one
    return stage


def large_run(folder: str, rows: int) -> Run:
    """A finished run with crops of a real size, in shards of 512 rows."""
    stages = {name: f"tests.small.cells:{name}" for name in cells.STAGES} | {"crop": "benchmarks.pack:crop"}
    return cells.small_run(folder, rows, 512, stages=stages, rows_per_file=4096, rows_per_group=512)


def groups(rows: int) -> Iterator[dict[str, Any]]:
    """One line a row group size: bytes, time to write, and milliseconds for a picture with caption and labels at random."""
    with tempfile.TemporaryDirectory() as folder:
        run = large_run(f"{folder}/run", 1024)
        packed_rows = PackedRows(run.grid, packed_columns(run)["default"])
        kept = np.flatnonzero([not row["refused_by"] and not row["failed_in"] for row in run.grid.table(0, []).to_pylist()])
        table = packed_rows.read(0, pa.array(kept))
        table = pa.concat_tables([table] * (-(-rows // len(table)))).slice(0, rows)
        for size in SIZES:
            path = Path(folder) / "file.parquet"
            began = time.perf_counter()
            write_parquet(path, iter([table]), packed_rows.schema, size)
            wrote = time.perf_counter() - began
            file = pq.ParquetFile(path)
            group = file.metadata.row_group(0)
            yield {
                "rows_per_group": size,
                "group_mb": round(sum(group.column(at).total_compressed_size for at in range(group.num_columns)) / 1e6, 2),
                "file_mb": round(path.stat().st_size / 1e6, 2),
                "overhead_percent": round(100 * (path.stat().st_size / table["image"].nbytes - 1), 2),
                "write_s": round(wrote, 2),
                "random_row_ms": round(random_rows(path, size, cold=False), 2),
                "random_row_cold_ms": round(random_rows(path, size, cold=True), 2),
                "sequential_rows_s": round(sequential(path, size)),
            }


def random_rows(path: Path, size: int, cold: bool) -> float:
    """Milliseconds for one row at random: its row group is read and the row taken; `cold` drops the file from the page cache each time."""
    file = pq.ParquetFile(path, memory_map=True)
    draw = np.random.default_rng(0)
    spent = 0.0
    for row in draw.integers(0, file.metadata.num_rows, READS):
        if cold:
            drop(path)
        began = time.perf_counter()
        found = file.read_row_group(int(row) // size, columns=["id", "image", "caption", "attributes"])
        found.slice(int(row) % size, 1).to_pylist()
        spent += time.perf_counter() - began
    return 1000 * spent / READS


def sequential(path: Path, size: int) -> float:
    """Rows a second when the file is read from end to end."""
    file = pq.ParquetFile(path, memory_map=True)
    began = time.perf_counter()
    rows = sum(len(file.read_row_group(at, columns=["id", "image", "caption", "attributes"])) for at in range(file.num_row_groups))
    return rows / (time.perf_counter() - began)


def drop(path: Path) -> None:
    """Ask the kernel to forget a file's pages."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def whole(rows: int) -> dict[str, Any]:
    """Pack a run of `rows` planned rows in this process."""
    with tempfile.TemporaryDirectory() as folder:
        run = large_run(folder, rows)
        before = peak()
        began = time.perf_counter()
        receipt = pack(run).receipt
        packed = time.perf_counter() - began
        began = time.perf_counter()
        assert not pack(run).new
        again = time.perf_counter() - began
        facts = {"planned": rows, "kept": receipt.kept, "mb": round(receipt.bytes / 1e6, 1), "seconds": round(packed, 2)}
        speed = {"rows_s": round(receipt.kept / packed), "mb_s": round(receipt.bytes / 1e6 / packed, 1), "again_seconds": round(again, 3)}
        return facts | speed | {"peak_mb_before": before, "peak_mb": peak()}


def peak() -> int:
    """The most memory that this process had so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    what, rows = (sys.argv[1] if len(sys.argv) > 1 else "groups"), int(sys.argv[2]) if len(sys.argv) > 2 else 4096
    for line in groups(rows) if what == "groups" else [whole(rows)]:
        print(json.dumps(line), flush=True)
