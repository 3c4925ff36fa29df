"""Rows per second of the loader compared with decoding alone, on one core: `python -m benchmarks.loader`, JSON lines.

    --data DIR      a packed data set (default: `mals world make` with images of 384 x 192, JPEG quality 95, 4:4:4)
    --images N      how many are drawn (default 2000)
    --height N      of drawn images and of batches, which are a third as wide (default 384)
    --batch N       rows of a batch (default 64)
    --batches N     timed batches in a round (default 8)
    --rounds N      of all measurements in turn, each in a process of its own; the median counts (default 7)

The data set is measured three times: as it is; encoded again at the size of the batches, so that no image needs resizing; and at 531 x
208, the mean size of the images of MALS (docs/papers/mals.md, section Data). Decoding alone is that of the same files, in memory, by
Pillow and by simplejpeg, which gives the same pixels; `work` is simplejpeg and resizing, without a loader. The loader does more: it reads
rows in random order from Parquet, tokenizes and masks their captions, and makes batches of bytes with their random augmentation. Its
parts are switched on one after the other; `all` is what APTM trains on, `worker` the same in a worker process, `finished` also flips,
augments, normalises and erases images, which happens on the device of the training, here the CPU. Everything uses one thread and one
core. `core_ms` are milliseconds of CPU time for a row (median, minimum and maximum), from which the ratios are computed: unlike rows per
second they do not depend on other work of the machine. The memory layout of a process does matter: Pillow takes from 0.57 to 1.15 ms for
the same images, hence the many processes.
"""

import argparse
import io
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
import torch
from PIL import Image

from mals.attributes import load_space
from mals.dataset.parquet import write_parquet
from mals.images import Decoder, decode_image
from mals.world.make import make
from mals.world.settings import WorldSettings
from pretrain.data import augment
from pretrain.data.augment import ImageTransform
from pretrain.data.loader import AHEAD, Loader
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers import WordPiece
from pretrain.data.tokenizers.masking import WholeWordMasking
from pretrain.data.tokenizers.vocabulary import train_vocabulary
from pretrain.method import DataNeeds

SPACE = load_space("market1501")
VIEWS = 4  # images of a drawn person
SAMPLE = 256  # files that are decoded, a round
ALONE = ("pillow", "simplejpeg", "work")
WHOLE = ("all", "finished", "worker")
MALS = (531, 208)  # pixels of its average image
GROUP = 128  # rows of a row group, as `mals pack` writes


def drawn(folder: Path, images: int, height: int) -> Path:
    """Draw a pedestrian world of one split."""
    make(str(folder), WorldSettings.checked(persons=max(1, images // VIEWS), views=VIEWS, split="train=1", seed=2, height=height))
    return folder


def stored(folder: Path, data: Path, look: ImageTransform) -> Path:
    """The same rows with images of another size."""
    (folder / "data").mkdir(parents=True)
    for file in sorted((data / "data").glob("train-*.parquet")):
        table = pq.read_table(file)
        rows = table["image"].to_pylist()
        for row in rows:
            pixels = np.ascontiguousarray(augment.resize(decode_image(row["bytes"]), look))
            row["bytes"] = simplejpeg.encode_jpeg(pixels, 95, "RGB", "444")
        place = table.schema.get_field_index("image")
        table = table.set_column(place, table.schema.field("image"), pa.array(rows, table.schema.field("image").type))
        write_parquet(folder / "data" / file.name, iter([table]), table.schema, GROUP)
    return folder


class Measured:
    """The measurements of one data set: wall time and CPU time of each, in seconds for a row."""

    def __init__(self, data: Path, look: ImageTransform, batch: int, batches: int) -> None:
        self.pairs = ImageTextPairs.open([data], "train", SPACE.classes)
        self.tokenizer = WordPiece.of(train_vocabulary(self.pairs.captions(), 30522))
        self.look, self.batch, self.batches = look, batch, batches
        rows = np.random.default_rng(0).permutation(len(self.pairs))[:SAMPLE].tolist()
        self.files = [self.pairs.image_bytes(row) for row in rows]
        self.taken: dict[str, tuple[float, float]] = {}

    def round(self) -> None:
        """Measure everything once."""
        for name, decoder in {"pillow": pillow, "simplejpeg": simplejpeg.decode_jpeg}.items():
            self.note(name, len(self.files), lambda decoder=decoder: deque(map(decoder, self.files), 0))  # type: ignore[misc]
        self.note("work", len(self.files), self.work)
        self.load("images", DataNeeds(captions=False))
        self.load("captions", DataNeeds())
        self.load("all", DataNeeds(masking=WholeWordMasking(), attributes=True))
        self.load("finished", DataNeeds(masking=WholeWordMasking(), attributes=True), finished=True)
        self.load("worker", DataNeeds(masking=WholeWordMasking(), attributes=True), 1)

    def work(self) -> None:
        """What is done to each image, without a loader."""
        decoder = Decoder()
        for file in self.files:
            augment.resize(decoder(file), self.look)

    def load(self, name: str, needs: DataNeeds, workers: int = 0, finished: bool = False) -> None:
        """Measure the batches of a loader, after those that a worker prepares before the first request."""
        ready = AHEAD + 2 if workers else 1
        loader = Loader(
            self.pairs, self.tokenizer, needs, batch=self.batch, seed=1, stop=ready + self.batches, transform=self.look, workers=workers
        )
        batches = iter(loader) if finished else loader.unfinished()
        for _ in range(ready):
            next(batches)
        self.note(name, self.batch * self.batches, lambda: [None for _ in batches])

    def note(self, name: str, rows: int, work: Callable[[], object]) -> None:
        """Time some work on rows."""
        began, used = time.perf_counter(), processor()
        work()
        self.taken[name] = (time.perf_counter() - began) / rows, (processor() - used) / rows


def processor() -> float:
    """CPU time of this process and its workers so far."""
    workers = [worker.cpu_times() for worker in psutil.Process().children(recursive=True)]
    return time.process_time() + sum(times.user + times.system for times in workers)


def pillow(file: bytes) -> object:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"))


def ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def spread(seconds: list[float]) -> list[float]:
    """Median, minimum and maximum of several rounds in milliseconds."""
    return [ms(statistics.median(seconds)), ms(min(seconds)), ms(max(seconds))]


def on_one_core() -> None:
    """Restrict this process and its workers to one thread each and one core."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def measured(data: Path, look: ImageTransform, batch: int, batches: int) -> dict[str, tuple[float, float]]:
    """One round of all measurements of a data set."""
    on_one_core()
    measurement = Measured(data, look, batch, batches)
    measurement.round()
    return measurement.taken


def result_lines(data: Path, rounds: list[dict[str, tuple[float, float]]], batch: int) -> Iterator[dict[str, Any]]:
    """The lines of one data set: decoding, the parts of the loader, the whole loader."""
    wall, core = ({name: statistics.median(taken[name][at] for taken in rounds) for name in rounds[0]} for at in (0, 1))
    pairs = ImageTextPairs.open([data], "train", SPACE.classes)
    files = [pairs.image_bytes(row) for row in range(min(SAMPLE, len(pairs)))]
    facts = {"image": list(decode_image(files[0]).shape[:2]), "bytes": round(statistics.mean(map(len, files)))}
    yield {"benchmark": "loader.alone", **facts, "core_ms": {name: spread([taken[name][1] for taken in rounds]) for name in ALONE}}
    yield {"benchmark": "loader.parts", **facts, "core_ms_up_to": {name: ms(core[name]) for name in ("images", "captions", "all")}}
    for name in WHOLE:
        ratios = {f"ratio_to_{other}": round(core[other] / core[name], 3) for other in ALONE}
        speed = {"core_ms": spread([taken[name][1] for taken in rounds]), "rows_s": round(1 / wall[name])}
        yield {"benchmark": "loader", **facts, "batch": batch, "what": name, **speed, **ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--height", type=int, default=384)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    look = ImageTransform(options.height, options.height // 3)
    with tempfile.TemporaryDirectory(prefix="mals-bench-") as scratch:
        data = options.data or drawn(Path(scratch) / "drawn", options.images, options.height)
        resized = [stored(Path(scratch) / f"{size.height}x{size.width}", data, size) for size in (look, ImageTransform(*MALS))]
        for folder in (data, *resized):
            rounds = []
            for _ in range(options.rounds):
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                    rounds.append(process.submit(measured, folder, look, options.batch, options.batches).result())
            for line in result_lines(folder, rounds, options.batch):
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
