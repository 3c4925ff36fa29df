"""The numbers that rows have before a stage, by which settings such as `keep.by` rank them."""

from difflib import get_close_matches

import pyarrow as pa
import pyarrow.compute as pc

from mals.config import Config, stage_names
from mals.errors import UserError, quoted
from mals.grid.cells import build_stage
from mals.planning.ingest import INGEST_PLAN
from mals.planning.table import PLAN


def check_number(config: Config, stage: str, setting: str, name: str) -> None:
    """Raise UserError where the column `name`, the value of `setting`, is no number of the plan or of a stage before `stage`."""
    names = stage_names(config)
    earlier = [build_stage(other, config).adds for other in names[: names.index(stage)]]
    columns = {field.name: field.type for schema in (INGEST_PLAN if config.source == "ingest" else PLAN, *earlier) for field in schema}
    numbers = [column for column, dtype in columns.items() if pa.types.is_integer(dtype) or pa.types.is_floating(dtype)]
    if name not in numbers:
        close = get_close_matches(name, numbers, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(numbers)}"
        if name in ("agree_score", "agree_rank"):
            hint = "the stage agree stores it where agree.scorer is set"
        raise UserError(f"{setting} = {quoted(name)} is no number of a stage before; {hint}")


def has_number(column: pa.Array) -> pa.Array:
    """[N] whether a value is a number: neither null nor NaN."""
    return pc.fill_null(pc.invert(pc.is_nan(column)), False)
