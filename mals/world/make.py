"""Makes a data set for person search from the world: persons seen by several cameras, packed in Parquet as `mals pack` does it.

Rows are in the order of persons and their views; the first persons are the first split, and so on; queries of the persons of `test`, whole,
occluded and partial, come after them. The files depend on the
`WorldSettings` and the library versions alone: no time, path, host or number of workers is in them. `mals.dataset.folder` describes how
such a folder is made; `world.json` claims it. A make that was killed keeps its finished files and draws the others. Two makes at once in
one folder do the work twice, with equal results.
"""

import hashlib
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from itertools import islice
from multiprocessing import get_context
from typing import Any

import cv2
import pyarrow as pa

from mals.dataset.folder import PlannedFile, claim_folder, finish_folder, finished_file, write_packed_file
from mals.dataset.receipts import CHECKSUMS, FileReceipt
from mals.errors import UserError
from mals.grid.receipt import canonical
from mals.grid.store import Store
from mals.processes import end_with_parent
from mals.world import card
from mals.world.camera import CAMERAS
from mals.world.rows import columns, count_rows, draw_rows, empty_counts
from mals.world.settings import WorldSettings

CHUNK = 64  # rows that a worker draws at a time
AHEAD = 3  # chunks in work for each worker: bounds the tables that wait in memory
CLAIM = "world.json"
Progress = Callable[[int, int], None]  # rows done, rows in all


def make(to: str, settings: WorldSettings, workers: int | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Make the data set in the folder or at the URL `to`, or finish it; returns its size and the number of rows drawn by this call.

    `workers` is the number of processes that draw, all cores if None. Raises UserError if `to` holds something else.
    """
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be 1 or more, not {workers}")
    store = Store(to)
    claim_folder(store, to, CLAIM, settings.to_json(), "world")
    expected = fingerprint(settings)
    finished = {file.path: finished_file(store, file, expected) for file in settings.files()}
    receipts: dict[str, FileReceipt] = {path: receipt for path, receipt in finished.items() if receipt is not None}
    todo = [file for file in settings.files() if file.path not in receipts]
    if todo:
        store.remove(CHECKSUMS)
    missing = sum(file.last - file.first for file in todo)
    done, total = settings.rows - missing, settings.rows
    tables = draw_chunks(settings, (chunk for file in todo for chunk in chunks(file)), workers or usable_cores())
    try:
        for file in todo:
            counts = empty_counts()
            file_tables = _counted(islice(tables, len(chunks(file))), counts, done, total, progress)
            receipts[file.path] = write_packed_file(store, file, file_tables, columns().schema, expected, counts)
            done += file.last - file.first
    finally:
        tables.close()  # type: ignore[attr-defined]
    facts = card.WorldCardFacts(settings, columns(), [receipts[file.path] for file in settings.files()])
    files = finish_folder(store, facts.files, {"README.md": card.render(facts), "croissant.json": card.croissant(facts)}, CLAIM)
    return {
        "url": to,
        "rows": settings.rows,
        "persons": settings.split,
        "splits": settings.rows_per_split(),
        "cameras": min(settings.views + settings.queries, CAMERAS),
        "bytes": sum(file.bytes for file in files),
        "files": len(files) + 1,
        "drawn": missing,
    }


def chunks(file: PlannedFile) -> list[tuple[int, int]]:
    """The rows [first, end) of each chunk of a file."""
    return [(start, min(start + CHUNK, file.last)) for start in range(file.first, file.last, CHUNK)]


def draw_chunks(settings: WorldSettings, chunks: Iterator[tuple[int, int]], workers: int) -> Iterator[pa.Table]:
    """The rows of each chunk, in order, drawn by `workers` processes, or by this process if that is 1."""
    if workers == 1:
        yield from (draw_rows(settings, *chunk) for chunk in chunks)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker, initargs=(os.getpid(),))
    try:
        waiting: deque[Future[pa.Table]] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(draw_rows, settings, *chunk))
            if len(waiting) >= AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise UserError("a worker died, perhaps for want of memory; give the same command again, or with fewer --workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent(parent)
    cv2.setNumThreads(1)
    pa.set_cpu_count(1)


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fingerprint(settings: WorldSettings) -> str:
    """What the bytes of a Parquet file depend on: the settings, and the libraries that draw and write."""
    versions = [cv2.__version__, *map(version, ("numpy", "pyarrow", "simplejpeg"))]
    return hashlib.sha256(canonical([settings.to_json(), versions])).hexdigest()


def _counted(tables: Iterator[pa.Table], counts: dict[str, Any], done: int, total: int, progress: Progress | None) -> Iterator[pa.Table]:
    """The same tables; each is added to `counts` and, after the consumer has taken it, reported to `progress`."""
    for table in tables:
        count_rows(counts, table)
        yield table
        done += len(table)
        if progress:
            progress(done, total)
