"""One cell in the plainest way: the parts of a worker one after the other, without an executor."""

from typing import Any

from mals.grid.receipt import Receipt
from mals.grid.shard import AdaptiveBatch, compute, read_inputs, write_cell


def make_cell(grid: Any, stage: Any, shard: int = 0, batch: AdaptiveBatch | None = None, max_error_rate: float = 1.0) -> Receipt:
    """The receipt of the cell that `stage`, which needs no setup or had it, makes of a shard; raises ShardFailed, Damaged or UserError."""
    inputs = read_inputs(grid, stage, shard, None)
    computed = compute(stage, shard, inputs, batch or AdaptiveBatch(stage.batch, stage.batch), max_error_rate)
    return write_cell(grid, stage, shard, computed, 1, None, waits=True)
