"""One row of a run: where it is, and what the plan and the stages that have made its shard say about it."""

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mals.errors import UserError
from mals.grid.run import Run


@dataclass(frozen=True, kw_only=True)
class RowFacts:
    """What is known about one row."""

    id: str
    shard: int
    next_stage: str | None  # the first stage that has not made its shard; None if all have
    refused_by: str | None  # the first stage that refused it
    reject: list[str] | None  # the rules of that stage that refused it
    failed_in: str | None  # the first stage that failed on it
    error: str | None
    values: dict[str, Any]  # columns of the plan and of the stages, without images

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        """What became of the row."""
        if self.refused_by:
            return f"{self.id}: refused by the stage {self.refused_by}: {', '.join(self.reject or [])}"
        if self.failed_in:
            return f"{self.id}: failed in the stage {self.failed_in}: {self.error}"
        return (
            f"{self.id}: kept, and its shard {self.shard} waits for the stage {self.next_stage}" if self.next_stage else f"{self.id}: kept"
        )


def locate(run: Run, row_id: str) -> tuple[int, int]:
    """The shard of a row and its position in the shard."""
    for shard in range(run.grid.shards):
        position = pc.index(run.grid.plan_rows(shard, ["id"])["id"], row_id).as_py()
        if position >= 0:
            return shard, position
    raise UserError(f"the plan of {run.store.url} has no row {row_id!r}")


def row_facts(run: Run, row_id: str) -> RowFacts:
    """What the cells hold about a row; UserError where the plan does not have it."""
    shard, position = locate(run, row_id)
    next_stage = next((name for name in run.grid.stages if run.grid.receipt(name, shard) is None), None)
    stages = [run.grid.stages[name] for name in run.grid.earlier(next_stage)]
    added = [field.name for stage in stages for field in stage.adds if not pa.types.is_binary(field.type)]
    images = {field.name for stage in stages for field in stage.adds if pa.types.is_binary(field.type)}
    columns = dict.fromkeys([*(name for stage in stages for name in stage.needs if name not in images and name != "id"), *added])
    row = run.grid.table(shard, list(columns), before=next_stage).slice(position, 1).to_pylist()[0]
    status = {name: row[name] for name in ("refused_by", "reject", "failed_in", "error")}
    return RowFacts(id=row_id, shard=shard, next_stage=next_stage, **status, values={name: row[name] for name in columns})
