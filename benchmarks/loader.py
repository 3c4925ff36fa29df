"""Rows a second of the loader against decoding alone, on one core: `python -m benchmarks.loader`, JSON lines.

    --data DIR      a packed data set (default: one is drawn, `mals world make` with pictures of 384 x 192, 95, 4:4:4)
    --pictures N    how many are drawn (default 2000)
    --height N      of drawn pictures and of batches, which are a third as wide (default 384)
    --batch N       rows of a batch (default 64)
    --batches N     timed ones a round (default 8)
    --rounds N      of all measurements in turn, whose median counts (default 5)

The data are taken twice: as they are, and encoded anew at the size of the batches, which nothing has to resize. Decoding alone is that
of the same files, in memory, by Pillow and by simplejpeg, which gives the same pixels. `work` is what has to be done to a picture, with no
loader around it: simplejpeg, resizing, flip, RandAugment. The loader does this and more: it reads rows at random from Parquet, writes their
captions as tokens, masks them, and makes batches, whose pictures are bytes. Its parts are switched on one after the other; `all` is what
APTM trains on, `worker` the same in a worker process, `finished` is `all` normalised and erased too, which is done where the training is:
on a GPU, or, as here, on the processor. Everything has one thread and one core, and `core_ms` are milliseconds of a processor for a row, of
which the ratios are made: unlike rows a second they do not depend on what else the machine does.
"""

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
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
from mals.pack import write
from mals.world.make import World, make
from pretrain import augment
from pretrain.augment import Augment
from pretrain.data import AHEAD, Loader
from pretrain.method import Wants
from pretrain.pairs import Decoder, Pairs, decode
from pretrain.text import Tokenizer, train_vocabulary

SPACE = load_space("market1501")
VIEWS = 4  # pictures of a drawn person
SAMPLE = 256  # files that are decoded, a round
ALONE = ("pillow", "simplejpeg", "work")
WHOLE = ("all", "finished", "worker")
GROUP = 128  # rows of a row group, as `mals pack` writes


def drawn(folder: Path, pictures: int, height: int) -> Path:
    """A world of one split."""
    make(str(folder), World.checked(max(1, pictures // VIEWS), VIEWS, "train=1", 2, height))
    return folder


def stored(folder: Path, data: Path, look: Augment) -> Path:
    """The same rows with pictures of the batches' size."""
    (folder / "data").mkdir(parents=True)
    for file in sorted((data / "data").glob("train-*.parquet")):
        table = pq.read_table(file)
        rows = table["image"].to_pylist()
        for row in rows:
            pixels = np.ascontiguousarray(augment.resized(decode(row["bytes"]), look))
            row["bytes"] = simplejpeg.encode_jpeg(pixels, 95, "RGB", "444")
        place = table.schema.get_field_index("image")
        table = table.set_column(place, table.schema.field("image"), pa.array(rows, table.schema.field("image").type))
        write(folder / "data" / file.name, iter([table]), table.schema, GROUP)
    return folder


class Measured:
    """One data set, what is done with it, and how long each took: seconds of the wall and of the processor, for a row."""

    def __init__(self, data: Path, look: Augment, batch: int, batches: int) -> None:
        self.pairs = Pairs.open([data], "train", SPACE.classes)
        self.tokenizer = Tokenizer.of(train_vocabulary(self.pairs.captions(), 30522))
        self.look, self.batch, self.batches = look, batch, batches
        rows = np.random.default_rng(0).permutation(len(self.pairs))[:SAMPLE].tolist()
        self.files = [self.pairs.picture(row) for row in rows]
        self.taken: dict[str, list[tuple[float, float]]] = {}

    def round(self) -> None:
        """Everything once."""
        for name, decoder in {"pillow": pillow, "simplejpeg": simplejpeg.decode_jpeg}.items():
            self.note(name, len(self.files), lambda decoder=decoder: deque(map(decoder, self.files), 0))  # type: ignore[misc]
        self.note("work", len(self.files), self.work)
        plain = Augment(self.look.height, self.look.width, flip=False, augment=False, erase=0.0)
        looks = {"decode, resize": plain, "flip": vary(plain, flip=True), "RandAugment": vary(self.look, erase=0.0)}
        for name, look in (looks | {"erase": self.look}).items():
            self.load(name, look, Wants(captions=False))
        self.load("captions", self.look, Wants())
        self.load("all", self.look, Wants(masked=True, attributes=True))
        self.load("finished", self.look, Wants(masked=True, attributes=True), finished=True)
        self.load("worker", self.look, Wants(masked=True, attributes=True), 1)

    def work(self) -> None:
        """What is done to each picture, without a loader."""
        decoder = Decoder()
        for at, file in enumerate(self.files):
            augment.train(decoder(file), self.look, np.random.default_rng((1, at)))

    def load(self, name: str, look: Augment, wants: Wants, workers: int = 0, finished: bool = False) -> None:
        """Batches of a loader, after those that a worker has ready before the first is asked for."""
        ready = AHEAD + 2 if workers else 1
        loader = Loader(self.pairs, self.tokenizer, wants, batch=self.batch, seed=1, stop=ready + self.batches, look=look, workers=workers)
        batches = iter(loader) if finished else loader.unfinished()
        for _ in range(ready):
            next(batches)
        self.note(name, self.batch * self.batches, lambda: [None for _ in batches])

    def note(self, name: str, rows: int, work: Callable[[], object]) -> None:
        """Time some work on rows."""
        began, used = time.perf_counter(), processor()
        work()
        self.taken.setdefault(name, []).append(((time.perf_counter() - began) / rows, (processor() - used) / rows))

    def told(self) -> Iterator[dict[str, Any]]:
        """Decoding, the parts, and the whole loader beside them."""
        wall, core = ({name: statistics.median(one[at] for one in taken) for name, taken in self.taken.items()} for at in (0, 1))
        height, width = decode(self.files[0]).shape[:2]
        facts = {"picture": [height, width], "bytes": round(statistics.mean(map(len, self.files)))}
        yield {"benchmark": "loader.alone", **facts, "core_ms": {name: ms(core[name]) for name in ALONE}}
        parts = {name: ms(seconds) for name, seconds in core.items() if name not in (*ALONE, *WHOLE[1:])}
        yield {"benchmark": "loader.parts", **facts, "core_ms_up_to": parts}
        for name in WHOLE:
            ratios = {f"ratio_to_{other}": round(core[other] / core[name], 3) for other in ALONE}
            speed = {"core_ms": ms(core[name]), "rows_s": round(1 / wall[name])}
            yield {"benchmark": "loader", **facts, "batch": self.batch, "what": name, **speed, **ratios}


def processor() -> float:
    """Seconds of a processor that this process and its workers have taken."""
    workers = [one.cpu_times() for one in psutil.Process().children(recursive=True)]
    return time.process_time() + sum(one.user + one.system for one in workers)


def pillow(file: bytes) -> object:
    with Image.open(io.BytesIO(file)) as picture:
        return np.asarray(picture.convert("RGB"))


def vary(look: Augment, **changes: Any) -> Augment:
    return Augment(**(vars(look) | changes))


def ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def on_one_core() -> None:
    """This process and its workers, with one thread each, on one processor."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--height", type=int, default=384)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    on_one_core()
    look = Augment(given.height, given.height // 3)
    with tempfile.TemporaryDirectory(prefix="mals-bench-") as scratch:
        data = given.data or drawn(Path(scratch) / "drawn", given.pictures, given.height)
        for one in (data, stored(Path(scratch) / "stored", data, look)):
            measured = Measured(one, look, given.batch, given.batches)
            for _ in range(given.rounds):
                measured.round()
            for line in measured.told():
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
