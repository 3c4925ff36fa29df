"""The summary of a global stage: one Parquet file beside its cells, made from all rows, with a receipt.

Its name is a hash of all that it depends on, the fingerprint of the stage and the earlier cells of all shards, so a summary is never out of
date: what changed has another name. The receipt is written after it; a summary without one does not count.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from io import BytesIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mals.grid.cells import Damaged, Grid
from mals.grid.receipt import Source, canonical
from mals.grid.stage import GlobalStage


@dataclass(frozen=True, kw_only=True)
class SummaryReceipt:
    """The record of one finished summary."""

    stage: str
    fingerprint: str  # of the stage
    inputs: str  # Survey.summary_inputs
    rows: int  # that it was made from
    size: int  # bytes
    sha256: str
    seconds: float


def summary_file(grid: Grid, stage: str, inputs: str) -> str:
    """The name of the summary that `stage` makes from `inputs` (Survey.summary_inputs), without its ending."""
    key = hashlib.sha256(canonical([grid.fingerprints[stage], inputs])).hexdigest()
    return f"{stage}/summary-{key[:16]}"


def read_summary_receipt(grid: Grid, stage: str, inputs: str) -> SummaryReceipt | None:
    """The receipt of a summary; None where there is none, or a torn one."""
    try:
        return SummaryReceipt(**json.loads(grid.store.read(f"{summary_file(grid, stage, inputs)}.json")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def is_made(grid: Grid, stage: str, inputs: str) -> bool:
    """Whether the summary is there, and holds what its receipt says."""
    receipt, file = read_summary_receipt(grid, stage, inputs), f"{summary_file(grid, stage, inputs)}.parquet"
    return receipt is not None and grid.store.size(file) == receipt.size and grid.store.sha256(file) == receipt.sha256


def make_summary(grid: Grid, stage: GlobalStage, inputs: str, sources: Mapping[int, dict[str, Source]]) -> SummaryReceipt:
    """Make the summary of `stage`, and its receipt; other summaries of the stage are removed.

    `sources`: shard -> the earlier cells as their receipts describe them. Raises Damaged if one of them is broken, and what `summarise`
    raises.
    """
    clock, rows = time.perf_counter(), 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        for batch in rows_left(grid, stage, sources):
            rows += len(batch)
            yield batch

    sink = BytesIO()
    pq.write_table(stage.summarise(batches()), sink, compression="zstd")
    data, file = sink.getvalue(), summary_file(grid, stage.name, inputs)
    grid.store.commit(f"{file}.parquet", data)
    seconds = round(time.perf_counter() - clock, 3)
    values = {"stage": stage.name, "fingerprint": grid.fingerprints[stage.name], "inputs": inputs}
    receipt = SummaryReceipt(**values, rows=rows, size=len(data), sha256=hashlib.sha256(data).hexdigest(), seconds=seconds)
    grid.store.commit(f"{file}.json", json.dumps(asdict(receipt), indent=1).encode())
    for name in grid.store.list(stage.name):
        if name.startswith(f"{stage.name}/summary-") and not name.startswith(f"{file}."):
            grid.store.remove(name)
    return receipt


def rows_left(grid: Grid, stage: GlobalStage, sources: Mapping[int, dict[str, Source]]) -> Iterator[pa.RecordBatch]:
    """`id` and the columns that the summary of `stage` needs, of the rows that are still in; a batch for each shard that has any."""
    columns = list(dict.fromkeys(["id", *stage.summary_needs]))
    for shard in range(grid.shards):
        table = grid.table(shard, columns, before=stage.name, sources=sources[shard])
        left = pc.and_(table["refused_by"].is_null(), table["failed_in"].is_null())
        rows = table.select(columns).filter(left).combine_chunks()
        if len(rows):
            yield from rows.to_batches()


def read_summary(grid: Grid, stage: str, inputs: str) -> pa.Table:
    """The table of a finished summary; raises Damaged where it cannot be read."""
    file = f"{summary_file(grid, stage, inputs)}.parquet"
    try:
        return grid.store.parquet(file).read()
    except (FileNotFoundError, pa.ArrowInvalid, OSError) as error:
        raise Damaged(f"{file} cannot be read: {error}") from None
