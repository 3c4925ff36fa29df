"""What packing takes from a run beside its rows: columns, attributes and settings."""

from typing import Any

from mals.attributes import load_space
from mals.config import Config, dump
from mals.dataset.features import Columns, kept_columns, rejected_columns
from mals.dataset.receipts import REJECTED
from mals.grid.cells import Grid
from mals.grid.run import Run


def attribute_values(run: Run) -> dict[str, list[str]]:
    """Attribute -> the names of its two values."""
    return {name: list(values) for name, values in load_space(run.config.label.space).classes.items()}


def planned_columns(grid: Grid) -> list[str]:
    """The columns of the plan."""
    return grid.store.parquet("plan/00000.parquet").schema_arrow.names


def packed_columns(run: Run) -> dict[str, Columns]:
    """Config ("default", "rejected") -> its columns."""
    adds = {name: stage.adds for name, stage in run.grid.stages.items()}
    kept = kept_columns(planned_columns(run.grid), adds, attribute_values(run))
    return {"default": kept, REJECTED: rejected_columns(kept)}


def result_settings(config: Config) -> dict[str, Any]:
    """The settings that results depend on: all except how the work was spread over a machine."""
    return {name: section for name, section in dump(config).items() if name != "run"}
