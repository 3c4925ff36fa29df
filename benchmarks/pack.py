"""The packed files: which size of row groups is best, and with what speed and memory a run is packed. JSON lines.

python -m benchmarks.pack groups [ROWS]    a file of ROWS crops of some 28 kB written with several sizes of row groups, rows read at random
python -m benchmarks.pack run [ROWS]       a whole run packed: rows/s, MB/s, peak memory, and a second call that has nothing to do

The runs have stages without models in place of those of mals: every row has the same caption and labels, and one of 64 images.
"""

import io
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
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
from mals.dataset.splits import hash64
from mals.grid.run import Run, run_stages
from mals.grid.stage import Resources, output_batch
from mals.planning.create import create

GROUP_SIZES = (16, 64, 128, 256, 512, 1024, 2048, 4096)
READS = 200
IMAGES = 64
WIDTH, HEIGHT = 152, 384
CAPTION = "a man in a red shirt and blue jeans with a black backpack walks along a street"
CAPTION_FIELDS = [(name, pa.string()) for name in ("text", "raw", "model", "revision", "prompt")] + [("repetition", pa.float32())]
COLUMNS: dict[str, dict[str, tuple[pa.DataType, Any]]] = {  # stage -> column -> its type and value
    "generate": {"image": (pa.binary(), b""), "model": (pa.string(), "constant"), "steps": (pa.int32(), 30)},
    "safety": {"nsfw_score": (pa.float32(), None)},
    "filter": {"ref_bytes": (pa.int32(), 30_000), "bits_per_pixel": (pa.float32(), 4.1), "phash": (pa.uint64(), 1 << 63)},
    "crop": {
        "keypoints": (pa.list_(pa.list_(pa.float32(), 3), 17), [[70.0, 190.0, 0.9]] * 17),
        "person_box": (pa.list_(pa.float32(), 4), [1.0, 2.0, 150.0, 380.0]),
        "crop_width": (pa.int32(), WIDTH),
        "crop_height": (pa.int32(), HEIGHT),
    },
    "caption": {
        "caption": (pa.string(), CAPTION),
        "captions": (
            pa.list_(pa.struct(CAPTION_FIELDS)),
            [{"text": CAPTION, "raw": CAPTION, "model": "constant", "revision": "0", "prompt": "", "repetition": 0.0}],
        ),
    },
    "label": {
        "attributes": (pa.list_(pa.int8()), [0, 1, -1] * 9),
        "attribute_source": (pa.list_(pa.string()), ["explicit", "implicit", "unknown"] * 9),
    },
}


class ConstantStage:
    """A stage whose columns have the same value in every row."""

    version = 1
    batch = 64
    needs = ("id",)
    resources = Resources()

    def __init__(self, name: str, columns: Mapping[str, tuple[pa.DataType, Any]]):
        self.name, self.columns = name, columns
        self.adds = pa.schema({column: dtype for column, (dtype, _) in columns.items()})

    def params(self) -> dict[str, Any]:
        return {}

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return output_batch(self.adds, {column: [value] * len(batch) for column, (_, value) in self.columns.items()})


class ConstantCrop(ConstantStage):
    """The crop stage, with images of a realistic size."""

    def __init__(self) -> None:
        super().__init__("crop", COLUMNS["crop"])
        self.adds = self.adds.append(pa.field("crop", pa.binary()))

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = {column: [value] * len(batch) for column, (_, value) in self.columns.items()}
        return output_batch(self.adds, columns | {"crop": [example_images()[hash64(row) % IMAGES] for row in batch["id"].to_pylist()]})


def generate(config: Config) -> ConstantStage:
    return ConstantStage("generate", COLUMNS["generate"])


def safety(config: Config) -> ConstantStage:
    return ConstantStage("safety", COLUMNS["safety"])


def filter(config: Config) -> ConstantStage:
    return ConstantStage("filter", COLUMNS["filter"])


def crop(config: Config) -> ConstantStage:
    return ConstantCrop()


def caption(config: Config) -> ConstantStage:
    return ConstantStage("caption", COLUMNS["caption"])


def label(config: Config) -> ConstantStage:
    return ConstantStage("label", COLUMNS["label"])


@cache
def example_images() -> list[bytes]:
    """Images of 384 x 152 pixels whose JPEG (quality 95, 4:4:4) takes about 28 kB: smooth blocks and some noise."""
    images = []
    for seed in range(IMAGES):
        random = np.random.default_rng(seed)
        blocks = Image.fromarray(random.integers(0, 256, (12, 5, 3), np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        pixels = np.asarray(blocks, np.float32) + random.normal(0, 2.9, (HEIGHT, WIDTH, 3))
        buffer = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=95, subsampling=0)
        images.append(buffer.getvalue())
    return images


def finished_run(folder: str, rows: int) -> Run:
    """A finished run with crops of a realistic size, in shards of 512 rows."""
    captions = Path(folder).with_suffix(".txt")
    captions.write_text(f"{CAPTION}\n", encoding="utf-8")
    stages = [f"stages.{name}=benchmarks.pack:{name}" for name in COLUMNS]
    create(
        folder, captions=captions, count=rows, assignments=[*stages, "shard_rows=512", "pack.rows_per_file=4096", "pack.rows_per_group=512"]
    )
    run = Run.open(folder)
    run_stages(run, quiet=True)
    return run


def compare_group_sizes(rows: int) -> Iterator[dict[str, Any]]:
    """One line for each size: bytes, time to write, and milliseconds for a random image with caption and labels."""
    with tempfile.TemporaryDirectory() as folder:
        run = finished_run(f"{folder}/run", 512)
        packed_rows = PackedRows(run.grid, packed_columns(run)["default"])
        table = packed_rows.read(0, pa.array(range(run.grid.row_count(0))))
        table = pa.concat_tables([table] * (-(-rows // len(table)))).slice(0, rows)
        for size in GROUP_SIZES:
            path = Path(folder) / "file.parquet"
            started = time.perf_counter()
            write_parquet(path, iter([table]), packed_rows.schema, size)
            seconds = time.perf_counter() - started
            file = pq.ParquetFile(path)
            group = file.metadata.row_group(0)
            yield {
                "rows_per_group": size,
                "group_mb": round(sum(group.column(number).total_compressed_size for number in range(group.num_columns)) / 1e6, 2),
                "file_mb": round(path.stat().st_size / 1e6, 2),
                "overhead_percent": round(100 * (path.stat().st_size / table["image"].nbytes - 1), 2),
                "write_s": round(seconds, 2),
                "random_row_ms": round(random_row_ms(path, size, cold=False), 2),
                "random_row_cold_ms": round(random_row_ms(path, size, cold=True), 2),
                "sequential_rows_s": round(sequential_speed(path)),
            }


def random_row_ms(path: Path, rows_per_group: int, cold: bool) -> float:
    """Milliseconds to read one random row through its row group; `cold` drops the file from the page cache before each read."""
    file = pq.ParquetFile(path, memory_map=True)
    seconds = 0.0
    for row in np.random.default_rng(0).integers(0, file.metadata.num_rows, READS):
        if cold:
            drop_pages(path)
        started = time.perf_counter()
        group = file.read_row_group(int(row) // rows_per_group, columns=["id", "image", "caption", "attributes"])
        group.slice(int(row) % rows_per_group, 1).to_pylist()
        seconds += time.perf_counter() - started
    return 1000 * seconds / READS


def sequential_speed(path: Path) -> float:
    """Rows per second when the file is read from end to end."""
    file = pq.ParquetFile(path, memory_map=True)
    started = time.perf_counter()
    groups = (file.read_row_group(number, columns=["id", "image", "caption", "attributes"]) for number in range(file.num_row_groups))
    rows = sum(map(len, groups))
    return rows / (time.perf_counter() - started)


def drop_pages(path: Path) -> None:
    """Ask the kernel to drop a file's pages from its cache."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def pack_run(rows: int) -> dict[str, Any]:
    """Pack a run of `rows` rows in this process."""
    with tempfile.TemporaryDirectory() as folder:
        run = finished_run(f"{folder}/run", rows)
        before = peak_mb()
        started = time.perf_counter()
        receipt = pack(run).receipt
        seconds = time.perf_counter() - started
        started = time.perf_counter()
        assert not pack(run).new
        again = time.perf_counter() - started
        return {
            "planned": rows,
            "kept": receipt.kept,
            "mb": round(receipt.bytes / 1e6, 1),
            "seconds": round(seconds, 2),
            "rows_s": round(receipt.kept / seconds),
            "mb_s": round(receipt.bytes / 1e6 / seconds, 1),
            "again_seconds": round(again, 3),
            "peak_mb_before": before,
            "peak_mb": peak_mb(),
        }


def peak_mb() -> int:
    """The peak memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    command, rows = (sys.argv[1] if len(sys.argv) > 1 else "groups"), int(sys.argv[2]) if len(sys.argv) > 2 else 4096
    for line in compare_group_sizes(rows) if command == "groups" else [pack_run(rows)]:
        print(json.dumps(line), flush=True)
