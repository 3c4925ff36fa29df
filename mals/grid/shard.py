"""One shard of one stage, from the earlier cells to a receipt, in three parts, which may overlap (pipeline.py)."""

import errno
import gc
import hashlib
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from mals.errors import UserError
from mals.files import DISK_FULL
from mals.grid.cells import Damaged, Grid
from mals.grid.parquet import leaf_paths
from mals.grid.receipt import SUMMARY, Receipt, Source
from mals.grid.stage import ERROR, REJECT, DeviceStage, RowStage, ServedStage, Used, error_message
from mals.grid.versions import environment

GROUP_ROWS = 1024  # rows of a row group of a cell, at most
GROW_AFTER = 16  # full batches without trouble before a halved batch is doubled again


class ShardFailed(Exception):
    """More of a shard's rows failed than `max_error_rate` allows."""

    def __init__(self, shard: int, rows: int, errors: Counter[str], trace: str, used: Used):
        super().__init__(shard, rows, errors, trace, used)  # all of them, so that it can be pickled
        self.shard, self.rows, self.errors, self.trace, self.used = shard, rows, errors, trace, used

    def __str__(self) -> str:
        return f"{self.errors.total()} of {self.rows} rows failed: {self.errors.most_common(1)[0][0]}"


@dataclass
class AdaptiveBatch:
    """How many rows a worker passes to a stage in one call: fewer after it ran out of memory; kept for the life of the worker."""

    full: int  # the size that the stage asks for
    current: int  # the size now
    successes: int = 0  # calls since the size changed

    def halve(self) -> None:
        self.current, self.successes = max(1, self.current // 2), 0

    def succeeded(self) -> None:
        self.successes += 1
        if self.current < self.full and self.successes >= GROW_AFTER:
            self.current, self.successes = min(self.full, self.current * 2), 0


@dataclass
class Problems:
    """The problems of one shard."""

    smallest: int  # rows a call
    out_of_memory: int = 0  # times
    trace: str = ""  # of the first row that failed


@dataclass
class Inputs:
    """What one shard of a stage is made from."""

    table: pa.Table  # of Grid.table
    sources: dict[str, Source]  # the cells that it was read from
    started: str  # when reading began, UTC
    seconds: float  # of reading


@dataclass
class Computed:
    """The output of a stage for one shard, which is not written yet."""

    inputs: Inputs
    active: list[int]  # rows of the shard that reached the stage
    output: pa.Table  # their output
    errors: Counter[str]
    batch: dict[str, int]
    used: Used
    seconds: float  # of computing
    device_seconds: float | None  # of these, in which the model computed; None for a stage that does not say
    waited: float = 0.0  # seconds in which the worker had nothing to compute: for inputs, and for other cells to be written


def read_inputs(grid: Grid, stage: RowStage, shard: int, sources: dict[str, Source] | None) -> Inputs:
    """Read what a shard is made from; raises Damaged (an earlier cell is broken).

    `sources` are the earlier cells as their receipts describe them, which are read where it is None. Where one was made again since, the
    new cell names one that is not there any more, and is made again too.
    """
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    if sources is None and (sources := grid.sources(stage.name, shard)) is None:
        raise Damaged(f"a cell that {stage.name} needs of shard {shard} has no receipt")
    table = grid.table(shard, list(stage.needs), before=stage.name, sources=sources)
    return Inputs(table, sources, started, time.perf_counter() - clock)


def compute(stage: RowStage, shard: int, inputs: Inputs, batch_size: AdaptiveBatch, max_error_rate: float) -> Computed:
    """The output of the stage, which is set up; raises ShardFailed."""
    clock, table = time.perf_counter(), inputs.table
    statuses = zip(table["refused_by"].to_pylist(), table["failed_in"].to_pylist(), strict=True)
    active = [row for row, (refused, failed) in enumerate(statuses) if not refused and not failed]
    problems = Problems(batch_size.current)
    output = _process(stage, table.select(list(stage.needs)).take(pa.array(active, pa.int64())), batch_size, problems)
    errors = Counter(message for message in output["error"].to_pylist() if message)
    failures = errors.total()
    used = stage.take_used() if isinstance(stage, ServedStage) else {}
    device = stage.take_device_seconds() if isinstance(stage, DeviceStage) else None
    # One bad row never fails a shard of many, however small the shard is: a rate over a handful of rows says nothing.
    if failures > max_error_rate * len(active) and (failures > 1 or failures == len(active)):
        raise ShardFailed(shard, len(active), errors, problems.trace, used)
    batch = {"size": batch_size.full, "smallest": problems.smallest, "out_of_memory": problems.out_of_memory}
    return Computed(inputs, active, output, errors, batch, used, time.perf_counter() - clock, device)


def write_cell(
    grid: Grid, stage: RowStage, shard: int, computed: Computed, attempt: int, summary_inputs: str | None, *, waits: bool
) -> Receipt:
    """Write a cell, and then its receipt. `summary_inputs`: what the summary was made from that a global stage was set up with.

    `waits`: the worker computes nothing meanwhile.
    """
    clock, table, sources = time.perf_counter(), computed.inputs.table, computed.inputs.sources
    data = _cell(table["id"], computed.output, computed.active, len(table))
    grid.store.remove(grid.receipt_name(stage.name, shard))
    grid.store.commit(grid.cell_name(stage.name, shard), data)
    waited = computed.waited + (time.perf_counter() - clock if waits else 0.0)
    rejects = Counter(reasons[0] for reasons in computed.output["reject"].to_pylist() if reasons)
    new = Receipt(
        stage=stage.name,
        shard=shard,
        fingerprint=grid.fingerprints[stage.name],
        version=stage.version,
        params=grid.params[stage.name],
        inputs={name: source.sha256 for name, source in sources.items()} | ({SUMMARY: summary_inputs} if summary_inputs else {}),
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        rows=len(table),
        active=len(computed.active),
        rejects=dict(sorted(rejects.items())),
        errors=dict(computed.errors.most_common(10)),
        failed=computed.errors.total(),
        batch=computed.batch,
        seconds=round(computed.seconds + waited, 3),
        waited=round(waited, 3),
        device_seconds=None if computed.device_seconds is None else round(computed.device_seconds, 3),
        started=computed.inputs.started,
        attempt=attempt,
        env=environment(),
        used=computed.used,
        node=grid.node,
    )
    grid.store.commit(grid.receipt_name(stage.name, shard), new.to_bytes())
    return new


def _process(stage: RowStage, rows: pa.Table, batch_size: AdaptiveBatch, problems: Problems) -> pa.Table:
    """The output of the stage for `rows`, in batches of `batch_size.current`."""
    schema = pa.schema([*stage.adds, REJECT, ERROR])
    padded = stage.resources.gpus > 0  # constant shapes keep models from recompiling and results from depending on the rest of the shard
    outputs, start = [], 0
    while start < len(rows):
        batch = rows.slice(start, batch_size.current)
        try:
            output = _call(stage, batch, batch_size.current if padded else len(batch), schema)
        except Exception as error:
            _raise_if_not_caused_by_row(error)
            if _out_of_memory(error):
                problems.out_of_memory += 1
                free_memory()
                if batch_size.current > 1:
                    batch_size.halve()
                    problems.smallest = min(problems.smallest, batch_size.current)
                    continue
                output = _failed_row(schema, error)
            else:
                problems.trace = problems.trace or traceback.format_exc(limit=-8)
                if len(batch) > 1:
                    output = _one_by_one(stage, batch, batch_size.current if padded else 1, schema)
                else:
                    output = _failed_row(schema, error)
        else:
            batch_size.succeeded()
        outputs.append(output)
        start += len(batch)
    return pa.Table.from_batches(outputs, schema=schema)


def _call(stage: RowStage, batch: pa.Table, size: int, schema: pa.Schema) -> pa.RecordBatch:
    """One call with exactly `size` rows, the first of `batch` repeated behind it; the padding is cut off the output."""
    rows = len(batch)
    padded = batch.take(pa.array([*range(rows), *[0] * (size - rows)], pa.int64())) if size > rows else batch
    output = stage(padded.combine_chunks().to_batches()[0] if padded.num_columns else pa.record_batch([], schema=padded.schema))
    if not isinstance(output, pa.RecordBatch):
        raise ContractBroken(f"stage {stage.name} returned {type(output).__name__}, not a pyarrow.RecordBatch")
    if len(output) != size:
        raise ContractBroken(f"stage {stage.name} was given {size} rows and returned {len(output)}")
    for field in (REJECT, ERROR):
        if field.name not in output.schema.names:
            output = output.append_column(field, pa.nulls(size, field.type))
    if output.schema.names != schema.names or output.schema.types != schema.types:
        raise ContractBroken(f"stage {stage.name} returned the columns {output.schema.names}, not {schema.names} of the declared types")
    return _blank_failures(output.slice(0, rows), schema)


class ContractBroken(UserError):
    """A stage broke its contract: a mistake in its code, not in a row."""


def _blank_failures(output: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Without the reasons for refusal of rows that failed: a row is refused or failed, never both."""
    if output["error"].null_count == len(output):
        return output
    reject = [None if error else reasons for error, reasons in zip(output["error"].to_pylist(), output["reject"].to_pylist(), strict=True)]
    at = schema.get_field_index("reject")
    return output.set_column(at, REJECT, pa.array(reject, REJECT.type))


def _one_by_one(stage: RowStage, batch: pa.Table, size: int, schema: pa.Schema) -> pa.RecordBatch:
    """Each row in a call of its own (padded to `size`), so that only the rows that cause an error fail."""
    rows = []
    for start in range(len(batch)):
        try:
            rows.append(_call(stage, batch.slice(start, 1), size, schema))
        except Exception as error:
            _raise_if_not_caused_by_row(error)
            rows.append(_failed_row(schema, error))
    return pa.Table.from_batches(rows, schema=schema).combine_chunks().to_batches()[0]


def _failed_row(schema: pa.Schema, error: Exception) -> pa.RecordBatch:
    arrays = [pa.nulls(1, field.type) for field in schema]
    arrays[-1] = pa.array([error_message(error)], ERROR.type)
    return pa.record_batch(arrays, schema=schema)


def _raise_if_not_caused_by_row(error: Exception) -> None:
    """Raise an error that no row causes: a full disk, a mistake in the settings, a stage that breaks its contract."""
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
    """Free unused memory, on the GPU too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _cell(ids: pa.ChunkedArray, output: pa.Table, active: list[int], rows: int) -> bytes:
    """The Parquet file of a cell: every row of the shard, null in rows that did not reach the stage."""
    output_rows: list[int | None] = [None] * rows  # for each row of the shard its row in `output`, None if it did not reach the stage
    for position, row in enumerate(active):
        output_rows[row] = position
    full = output.take(pa.array(output_rows, pa.int64())) if len(output) else output.schema.empty_table().take(pa.nulls(rows, pa.int64()))
    images = [field.name for field in full.schema if pa.types.is_binary(field.type)]  # compressed already
    # Images first and few row groups: what every later stage reads lies together at the end, where one request to a remote file gets it.
    names = sorted(full.column_names, key=lambda name: (name in ("reject", "error"), name not in images))
    table = pa.table({name: full[name] for name in names}).add_column(len(names) - 2, "id", ids)
    paths = leaf_paths(table.schema)
    texts = [path for path in paths if path.split(".")[0] not in images]
    compression = {path: "zstd" if path in texts else "NONE" for path in paths}
    sink = BytesIO()
    pq.write_table(table, sink, compression=compression, use_dictionary=texts, row_group_size=GROUP_ROWS)
    return sink.getvalue()
