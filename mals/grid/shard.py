"""run_shard: one shard of one stage, from the earlier cells to a receipt. Executors call this and nothing else."""

import errno
import gc
import hashlib
import platform
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from mals.errors import UserError
from mals.files import DISK_FULL
from mals.grid.cells import Damaged, Grid
from mals.grid.receipt import Receipt
from mals.grid.stage import ERROR, REJECT, Stage, describe

GROW_AFTER = 16  # full batches without trouble before a halved batch is doubled again


class ShardFailed(Exception):
    """More of a shard's rows failed than `max_error_rate` allows."""

    def __init__(self, shard: int, rows: int, errors: Counter[str], trace: str):
        self.shard, self.rows, self.errors, self.trace = shard, rows, errors, trace
        super().__init__(f"{errors.total()} of {rows} rows failed: {errors.most_common(1)[0][0]}")


@dataclass
class Pace:
    """How many rows a worker hands to a stage at once; kept for the life of the worker."""

    full: int
    size: int
    good: int = 0

    def halve(self) -> None:
        self.size, self.good = max(1, self.size // 2), 0

    def succeeded(self) -> None:
        self.good += 1
        if self.size < self.full and self.good >= GROW_AFTER:
            self.size, self.good = min(self.full, self.size * 2), 0


@dataclass
class Tally:
    """What went wrong while one shard was worked on."""

    smallest: int
    out_of_memory: int = 0
    trace: str = ""


def run_shard(grid: Grid, stage: Stage, shard: int, pace: Pace, max_error_rate: float, attempt: int = 1) -> Receipt:
    """Make one cell and its receipt; raises ShardFailed, Damaged (an earlier cell is broken) or UserError."""
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    inputs = {}
    for name in grid.earlier(stage.name):
        receipt = grid.receipt(name, shard)
        if receipt is None:
            raise Damaged(f"{grid.receipt_name(name, shard)} is missing")
        inputs[name] = receipt.sha256
    table = grid.table(shard, list(stage.needs), before=stage.name)
    verdicts = zip(table["refused_by"].to_pylist(), table["failed_in"].to_pylist(), strict=True)
    active = [row for row, (refused, failed) in enumerate(verdicts) if not refused and not failed]
    tally = Tally(pace.size)
    worked = _work(stage, table.select(list(stage.needs)).take(pa.array(active, pa.int64())), pace, tally)
    errors = Counter(message for message in worked["error"].to_pylist() if message)
    failures = errors.total()
    # One bad row never fails a shard of many, however small the shard is: a rate over a handful of rows says nothing.
    if failures > max_error_rate * len(active) and (failures > 1 or failures == len(active)):
        raise ShardFailed(shard, len(active), errors, tally.trace)
    data = _cell(table["id"], worked, active, len(table))
    sha = hashlib.sha256(data).hexdigest()
    grid.store.remove(grid.receipt_name(stage.name, shard))
    grid.store.commit(grid.cell(stage.name, shard), data)
    rejects = Counter(reasons[0] for reasons in worked["reject"].to_pylist() if reasons)
    made = Receipt(
        stage=stage.name,
        shard=shard,
        fingerprint=grid.fingerprints[stage.name],
        version=stage.version,
        params=grid.params[stage.name],
        inputs=inputs,
        size=len(data),
        sha256=sha,
        rows=len(table),
        worked=len(active),
        rejects=dict(sorted(rejects.items())),
        errors=dict(errors.most_common(10)),
        failed=failures,
        batch={"size": pace.full, "smallest": tally.smallest, "out_of_memory": tally.out_of_memory},
        seconds=round(time.perf_counter() - clock, 3),
        started=started,
        attempt=attempt,
        env=environment(),
    )
    grid.store.commit(grid.receipt_name(stage.name, shard), made.dump())
    return made


def _work(stage: Stage, rows: pa.Table, pace: Pace, tally: Tally) -> pa.Table:
    """The stage's answer for `rows`, cut into batches of `pace.size`."""
    schema = pa.schema([*stage.adds, REJECT, ERROR])
    pads = stage.resources.gpus > 0  # constant shapes keep models from recompiling and results from depending on the rest of the shard
    done, at = [], 0
    while at < len(rows):
        piece = rows.slice(at, pace.size)
        try:
            result = _call(stage, piece, pace.size if pads else len(piece), schema)
        except Exception as error:
            _raise_if_hopeless(error)
            if _out_of_memory(error):
                tally.out_of_memory += 1
                free_memory()
                if pace.size > 1:
                    pace.halve()
                    tally.smallest = min(tally.smallest, pace.size)
                    continue
                result = _failed_row(schema, error)
            else:
                tally.trace = tally.trace or traceback.format_exc(limit=-8)
                result = _one_by_one(stage, piece, pace.size if pads else 1, schema) if len(piece) > 1 else _failed_row(schema, error)
        else:
            pace.succeeded()
        done.append(result)
        at += len(piece)
    return pa.Table.from_batches(done, schema=schema)


def _call(stage: Stage, piece: pa.Table, size: int, schema: pa.Schema) -> pa.RecordBatch:
    """One call with exactly `size` rows, the first of `piece` repeated behind it; the padding is cut off the answer."""
    rows = len(piece)
    padded = piece.take(pa.array([*range(rows), *[0] * (size - rows)], pa.int64())) if size > rows else piece
    batch = padded.combine_chunks().to_batches()[0] if padded.num_columns else pa.record_batch([], schema=padded.schema)
    answer = stage(batch)
    if len(answer) != size:
        raise Misbehaved(f"stage {stage.name} was given {size} rows and returned {len(answer)}")
    for field in (REJECT, ERROR):
        if field.name not in answer.schema.names:
            answer = answer.append_column(field, pa.nulls(size, field.type))
    if answer.schema.names != schema.names or answer.schema.types != schema.types:
        raise Misbehaved(f"stage {stage.name} returned the columns {answer.schema.names}, not {schema.names} of the declared types")
    return _blank_failures(answer.slice(0, rows), schema)


class Misbehaved(UserError):
    """A stage broke its contract: a mistake in its code, not in a row."""


def _blank_failures(answer: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A row that failed is not refused as well."""
    if answer["error"].null_count == len(answer):
        return answer
    reject = [None if error else reasons for error, reasons in zip(answer["error"].to_pylist(), answer["reject"].to_pylist(), strict=True)]
    at = schema.get_field_index("reject")
    return answer.set_column(at, REJECT, pa.array(reject, REJECT.type))


def _one_by_one(stage: Stage, piece: pa.Table, size: int, schema: pa.Schema) -> pa.RecordBatch:
    """Each row in a call of its own (padded to `size`), so that only the guilty rows fail."""
    rows = []
    for at in range(len(piece)):
        try:
            rows.append(_call(stage, piece.slice(at, 1), size, schema))
        except Exception as error:
            _raise_if_hopeless(error)
            rows.append(_failed_row(schema, error))
    return pa.Table.from_batches(rows, schema=schema).combine_chunks().to_batches()[0]


def _failed_row(schema: pa.Schema, error: Exception) -> pa.RecordBatch:
    arrays = [pa.nulls(1, field.type) for field in schema]
    arrays[-1] = pa.array([describe(error)], ERROR.type)
    return pa.record_batch(arrays, schema=schema)


def _raise_if_hopeless(error: Exception) -> None:
    """What is no fault of a row goes up: a full disk, a mistake in the settings, a stage that breaks its contract."""
    if isinstance(error, UserError) or (isinstance(error, OSError) and error.errno in (*DISK_FULL, errno.EMFILE)):
        raise error


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    from accelerate.utils.memory import should_reduce_batch_size

    return bool(should_reduce_batch_size(error))


def free_memory() -> None:
    """Give back what nothing holds any more, the GPU's memory too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _cell(ids: pa.ChunkedArray, worked: pa.Table, active: list[int], rows: int) -> bytes:
    """The Parquet file of a cell: every row of the shard, null where the stage was not asked."""
    places: list[int | None] = [None] * rows
    for at, row in enumerate(active):
        places[row] = at
    full = worked.take(pa.array(places, pa.int64())) if len(worked) else worked.schema.empty_table().take(pa.nulls(rows, pa.int64()))
    table = pa.table({"id": ids, **{name: full[name] for name in full.column_names}})
    pictures = {field.name for field in table.schema if pa.types.is_binary(field.type)}  # compressed already
    compression, words = {}, []
    for leaf in _leaves(table.schema):
        picture = leaf.split(".")[0] in pictures
        compression[leaf] = "NONE" if picture else "zstd"
        words += [] if picture else [leaf]
    sink = BytesIO()
    pq.write_table(table, sink, compression=compression, use_dictionary=words, row_group_size=128 if pictures else rows)
    return sink.getvalue()


def _leaves(schema: pa.Schema) -> list[str]:
    """The Parquet paths of a schema's columns, nested ones by their leaves."""
    empty = BytesIO()
    pq.write_table(schema.empty_table(), empty)
    leaves = pq.ParquetFile(empty).schema
    return [leaves.column(i).path for i in range(len(leaves))]


def environment() -> dict[str, str]:
    """What results depend on beside the settings: library versions and the device."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("torch", "diffusers", "transformers", "controlnet_aux", "cv2", "pyarrow"):
        if package in sys.modules:
            name = {"cv2": "opencv-python-headless", "controlnet_aux": "controlnet-aux"}.get(package, package)
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found
