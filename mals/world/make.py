"""A benchmark from the world: persons seen by several cameras, with true captions, attributes and keypoints, packed as `mals pack` packs.

Rows are in the order of persons and their views; the first persons are the first split, and so on. Everything is a function of the
`World`: no time, path, host or number of workers is in the files. `mals.dataset.folder` tells how a folder is made, `world.json` claims
it; a make that was killed keeps its finished files and draws the others. Two at once in one folder do the work twice, with equal results.
"""

import hashlib
import os
import re
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from multiprocessing import get_context
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import simplejpeg

from mals.attributes import load_space
from mals.dataset.features import CAPTION, Column, Columns, Feature, label, several, value
from mals.dataset.folder import ROWS_PER_FILE, SUMS, File, claim, files_of, finish, kept, made
from mals.dataset.splits import quotas
from mals.dataset.xmp import DRAWN, marked
from mals.errors import UserError
from mals.grid.receipt import canonical
from mals.grid.store import Store
from mals.processes import end_with_parent
from mals.world.camera import CAMERAS
from mals.world.captions import tell
from mals.world.scene import picture

VERSION = 1  # raised by hand when the bytes change
QUALITY = 95  # of the JPEGs, whose colour is as fine as their light
CAPTIONS = 2  # of a picture
CHUNK = 64  # pictures that a worker draws at a time
AHEAD = 3  # chunks in work for each worker: results wait in order, not in heaps
CLAIM = "world.json"
HEIGHTS = (32, 1024)
SPACE = "market1501"
Progress = Callable[[int, int], None]  # rows done, rows in all


@dataclass(frozen=True, kw_only=True)
class World:
    """What a benchmark is made of; equal worlds have equal bytes."""

    persons: int
    views: int
    split: dict[str, int]  # split -> persons
    seed: int
    height: int
    rows_per_file: int = ROWS_PER_FILE
    version: int = VERSION

    @classmethod
    def checked(cls, persons: int, views: int, split: str, seed: int, height: int, rows_per_file: int = ROWS_PER_FILE) -> "World":
        """Raises UserError for what cannot be made."""
        if views < 1:
            raise UserError(f"--views must be 1 or more, not {views}")
        if not 0 <= seed < 2**63:
            raise UserError(f"--seed must be a number from 0 to 2^63 - 1, not {seed}")
        if not HEIGHTS[0] <= height <= HEIGHTS[1] or height % 2:
            raise UserError(f"--height must be an even number from {HEIGHTS[0]} to {HEIGHTS[1]}, not {height}")
        shares = shares_of(split)
        if persons < len(shares):
            raise UserError(f"--persons must be {len(shares)} or more, one for each split, not {persons}")
        return cls(persons=persons, views=views, split=whole(persons, shares), seed=seed, height=height, rows_per_file=rows_per_file)

    @property
    def rows(self) -> int:
        return self.persons * self.views

    def files(self) -> list[File]:
        """The Parquet files to be; row r of the world is view r % views of person r // views."""
        return files_of({split: persons * self.views for split, persons in self.split.items()}, self.rows_per_file)


def chunks(file: File) -> list[tuple[int, int]]:
    """The rows of a file, as many at a time as a worker draws."""
    return [(start, min(start + CHUNK, file.last)) for start in range(file.first, file.last, CHUNK)]


def shares_of(text: str) -> dict[str, float]:
    """ "train=0.7,test=0.3" as a mapping; raises UserError for what is not one."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\w+)\s*=\s*(\d*\.?\d+)\s*", part, re.ASCII)
        if not found or found[1] in shares or float(found[2]) <= 0:
            raise UserError(f"--split takes different names with shares above 0, such as train=0.7,val=0.1,test=0.2, not {text!r}")
        shares[found[1]] = float(found[2])
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"the shares of --split must sum to 1, not {sum(shares.values()):g}")
    return shares


def whole(persons: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Persons a split, as near to the shares as whole numbers are, and at least one each."""
    counts = quotas(persons, list(shares.values()))
    while not all(counts):
        counts[counts.index(0)] += 1
        counts[counts.index(max(counts))] -= 1
    return dict(zip(shares, counts, strict=True))


def columns() -> Columns:
    """What a row holds: the columns of a pack that the world knows, with who and where."""
    space = load_space(SPACE)
    features: dict[str, Feature] = {
        "id": value("string"),
        "image": {"_type": "Image"},
        "caption": value("string"),
        "captions": several(CAPTION),
        "attributes": {name: label(names) for name, names in space.classes.items()},
        "width": value("int32"),
        "height": value("int32"),
        "person_box": several(value("float32"), 4),
        "keypoints": several(several(value("float32"), 3), 17),
        "person": value("int64"),
        "camera": value("int32"),
        "place": value("string"),
        "walking": value("bool"),
        "image_sha256": value("string"),
        "synthetic": value("bool"),
    }
    return Columns(tuple(Column(name, name, feature) for name, feature in features.items()))


def row(world: World, at: int) -> dict[str, Any]:
    """Row `at` of the world."""
    number, view = divmod(at, world.views)
    drawn = picture(world.seed, number, view, world.height)
    assert drawn.person is not None and drawn.attributes is not None and drawn.box is not None
    texts = [
        tell(drawn.person, np.random.default_rng((world.seed, 0x7E11, number, view, which)), scene=drawn.place, walking=drawn.walking).text
        for which in range(CAPTIONS)
    ]
    data = marked(simplejpeg.encode_jpeg(np.ascontiguousarray(drawn.pixels), QUALITY, "RGB", "444"), DRAWN)
    name = f"p{number:05d}-v{view:03d}"
    return {
        "id": name,
        "image": {"bytes": data, "path": f"{name}.jpg"},
        "caption": texts[0],
        "captions": [{"text": text, "source": "world", "raw": text} for text in texts],
        "attributes": dict(zip(load_space(SPACE).names, drawn.attributes, strict=True)),
        "width": drawn.pixels.shape[1],
        "height": drawn.pixels.shape[0],
        "person_box": list(drawn.box),
        "keypoints": drawn.keypoints.tolist(),
        "person": number,
        "camera": drawn.camera,
        "place": drawn.place,
        "walking": drawn.walking,
        "image_sha256": hashlib.sha256(data).hexdigest(),
        "synthetic": True,
    }


def rows(world: World, first: int, last: int) -> pa.Table:
    """Rows [first, last) of the world."""
    return pa.Table.from_pylist([row(world, at) for at in range(first, last)], schema=columns().schema)


def drawn(world: World, chunks: Iterator[tuple[int, int]], workers: int) -> Iterator[pa.Table]:
    """The rows of each chunk, in order, drawn by that many processes, or by this one; few chunks are in memory at a time."""
    if workers == 1:
        yield from (rows(world, *chunk) for chunk in chunks)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start, initargs=(os.getpid(),))
    try:
        waiting: deque[Future[pa.Table]] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(rows, world, *chunk))
            if len(waiting) >= AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise UserError("a worker died, perhaps for want of memory; give the same command again, or with fewer --workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the coordinator decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent(parent)
    cv2.setNumThreads(1)
    pa.set_cpu_count(1)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make(to: str, world: World, workers: int | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Make the benchmark in the folder or at the URL `to`, or finish it; what is there, and how many rows were drawn now.

    Raises UserError where something else is in `to`.
    """
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be 1 or more, not {workers}")
    store = Store(to)
    claim(store, to, CLAIM, asdict(world), "world")
    wanted = fingerprint(world)
    notes = {file.path: kept(store, file, wanted) for file in world.files()}
    todo = [file for file in world.files() if not notes[file.path]]
    if todo:
        store.remove(SUMS)
    told, total = world.rows - sum(file.last - file.first for file in todo), world.rows
    tables = drawn(world, (chunk for file in todo for chunk in chunks(file)), workers or cores())
    try:
        for file in todo:
            counts: dict[str, Any] = {"words": 0, "walking": 0, "first": dict.fromkeys(load_space(SPACE).names, 0)}
            own = _counted(islice(tables, len(chunks(file))), counts, told, total, progress)
            notes[file.path] = made(store, file, own, columns().schema, wanted, counts)
            told += file.last - file.first
    finally:
        tables.close()  # type: ignore[attr-defined]
    from mals.world import card

    facts = card.Facts(world, columns(), [notes[file.path] for file in world.files()])
    files = finish(store, facts.files, {"README.md": card.render(facts), "croissant.json": card.croissant(facts)}, CLAIM)
    return {
        "to": to,
        "rows": world.rows,
        "persons": world.split,
        "splits": {split: count * world.views for split, count in world.split.items()},
        "cameras": min(world.views, CAMERAS),
        "bytes": sum(file["bytes"] for file in files),
        "files": len(files) + 1,
        "drawn": sum(file.last - file.first for file in todo),
    }


def fingerprint(world: World) -> str:
    """What the bytes of a Parquet file depend on: the world, and the libraries that draw and write."""
    versions = [cv2.__version__, *map(version, ("numpy", "pyarrow", "simplejpeg"))]
    return hashlib.sha256(canonical([asdict(world), versions])).hexdigest()


def _counted(tables: Iterator[pa.Table], counts: dict[str, Any], told: int, total: int, progress: Progress | None) -> Iterator[pa.Table]:
    """The same tables, counted for the card, and told of as they go by."""
    for table in tables:
        _count(counts, table)
        yield table
        told += len(table)
        if progress:
            progress(told, total)


def _count(counts: dict[str, Any], table: pa.Table) -> None:
    """Add what the card tells of these rows: words of the captions, who walks, and the first values of attributes."""
    counts["words"] += sum(len(caption["text"].split()) for captions in table["captions"].to_pylist() for caption in captions)
    counts["walking"] += sum(table["walking"].to_pylist())
    for values in table["attributes"].to_pylist():
        for name, found in values.items():
            counts["first"][name] += found == 0
