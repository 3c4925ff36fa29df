"""The grid of a run: stages x shards, one Parquet file a cell, joined by position.

A cell holds `id`, the columns that its stage adds, and `reject` and `error`. Nothing here knows what a stage does.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa

from mals.config import Config
from mals.errors import ModelMissing, UserError
from mals.grid.receipt import Receipt, fingerprint
from mals.grid.stage import Stage
from mals.grid.store import Store
from mals.plugins import load_object

CHAIN = ("generate", "safety", "filter", "crop", "caption", "label")
State = Literal["done", "missing", "stale", "damaged", "outdated"]


class Damaged(UserError):
    """A file of the run does not hold what its receipt says."""

    def __init__(self, what: str):
        super().__init__(f"{what}; `mals verify RUN --repair` and then `mals run RUN` make broken cells again")


def build(name: str, config: Config) -> Stage:
    """The stage called `name`: ours, or the one that `stages` in the settings puts in its place."""
    make: Callable[[Config], Stage] = load_object(config.stages.get(name, f"mals.stages.{name}:stage"), f"stages.{name}")
    return make(config)


class Grid:
    """The cells of one run."""

    def __init__(self, store: Store, config: Config, plan: dict[str, Any]):
        self.store = store
        self.plan = plan
        unknown = sorted(set(config.stages) - set(CHAIN))
        if unknown:
            raise UserError(f"there is no stage {unknown[0]!r} to replace; there are {', '.join(CHAIN)}")
        self.stages: dict[str, Stage] = {name: build(name, config) for name in CHAIN}
        self._planned: tuple[int, Any] | None = None

    @property
    def shards(self) -> int:
        return -(-self.plan["rows"] // self.plan["shard_rows"])

    def rows(self, shard: int) -> int:
        """Rows of one shard: as many as every other, but for the last."""
        size = self.plan["shard_rows"]
        return min(size, self.plan["rows"] - shard * size)

    @cached_property
    def params(self) -> dict[str, dict[str, Any]]:
        """Stage -> what its results depend on; raises ModelMissing."""
        return {name: json.loads(json.dumps(stage.params())) for name, stage in self.stages.items()}

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Stage -> the fingerprint that its cells must have; raises ModelMissing."""
        found, upstream = {}, self.plan["fingerprint"]
        for name, stage in self.stages.items():
            upstream = found[name] = fingerprint(name, stage.version, self.params[name], upstream)
        return found

    def earlier(self, stage: str | None) -> list[str]:
        """The stages before `stage`; all of them for None."""
        names = list(self.stages)
        return names if stage is None else names[: names.index(stage)]

    @staticmethod
    def cell(stage: str, shard: int) -> str:
        return f"{stage}/{shard:05d}.parquet"

    @staticmethod
    def receipt_name(stage: str, shard: int) -> str:
        return f"{stage}/{shard:05d}.json"

    @staticmethod
    def failure_name(stage: str, shard: int) -> str:
        return f"{stage}/{shard:05d}.failed.json"

    def receipt(self, stage: str, shard: int) -> Receipt | None:
        try:
            return Receipt.load(self.store.read(self.receipt_name(stage, shard)))
        except FileNotFoundError:
            return None

    def receipts(self, stage: str) -> dict[int, Receipt]:
        """Shard -> receipt, for all that are there."""
        names = [name for name in self.store.list(stage) if name.endswith(".json") and not name.endswith(".failed.json")]
        found = (Receipt.load(data) for data in self.store.read_all(names).values())
        return {receipt.shard: receipt for receipt in found if receipt is not None and receipt.shard < self.shards}

    def failures(self, stage: str) -> dict[int, dict[str, Any]]:
        """Shard -> what is known of its last failed attempt."""
        names = [name for name in self.store.list(stage) if name.endswith(".failed.json")]
        return {failure["shard"]: failure for failure in map(json.loads, self.store.read_all(names).values())}

    def survey(self, upto: str | None = None) -> "Survey":
        """What is there now, for the stages up to and with `upto`; every receipt is read once."""
        names = list(self.stages) if upto is None else [*self.earlier(upto), upto]
        try:
            wanted: dict[str, str] | None = self.fingerprints
        except ModelMissing:
            wanted = None
        sizes = {name: self.store.list(name) for name in names}
        return Survey(self.shards, {name: self.receipts(name) for name in names}, sizes, wanted)

    def planned(self, shard: int, columns: list[str]) -> pa.Table:
        """Columns of the plan for one shard."""
        at, group = divmod(shard, self.plan["shards_per_file"])
        if self._planned is None or self._planned[0] != at:
            self._planned = (at, self.store.parquet(f"plan/{at:05d}.parquet"))
        return self._planned[1].read_row_group(group, columns=columns)

    def table(self, shard: int, columns: list[str], before: str | None = None) -> pa.Table:
        """`id`, `columns` of the plan and of the stages before `before`, and what those stages ruled, for one shard.

        `refused_by` and `failed_in` name the first stage that refused the row or failed on it (null where none did); `reject` [list of
        string] and `error` are that stage's words. Raises Damaged where a cell cannot be read or holds other ids than the plan.
        """
        stages = self.earlier(before)
        owner = {field.name: name for name in stages for field in self.stages[name].adds}
        planned = [name for name in columns if name not in owner and name != "id"]
        table = self.planned(shard, ["id", *planned])
        found = {name: table[name] for name in table.column_names}
        statuses = RowStatus(len(table))
        for name in stages:
            wanted = [column for column in columns if owner.get(column) == name]
            cell = self._read(name, shard, ["id", *wanted, "reject", "error"])
            if not cell["id"].equals(table["id"]):
                raise Damaged(f"{self.cell(name, shard)} holds other ids than the plan")
            found |= {column: cell[column] for column in wanted}
            statuses.add(name, cell["reject"], cell["error"])
        ordered = {"id": found["id"], **{name: found[name] for name in columns}}
        return pa.table({**ordered, **statuses.columns()})

    def _read(self, stage: str, shard: int, columns: list[str]) -> pa.Table:
        try:
            return self.store.parquet(self.cell(stage, shard)).read(columns=columns)
        except (FileNotFoundError, pa.ArrowInvalid, OSError) as error:
            raise Damaged(f"{self.cell(stage, shard)} cannot be read: {error}") from None


@dataclass
class Survey:
    """The receipts of a run and what they amount to.

    `wanted` is None where a model is missing, so that no fingerprint can be known: a cell then counts for whatever settings made it.
    """

    shards: int
    receipts: dict[str, dict[int, Receipt]]  # stage -> shard -> receipt
    sizes: dict[str, dict[str, int]]  # stage -> file -> bytes
    wanted: dict[str, str] | None  # stage -> fingerprint

    def state(self, stage: str, shard: int) -> State:
        receipt = self.receipts[stage].get(shard)
        if receipt is None:
            return "missing"
        if self.wanted is not None and receipt.fingerprint != self.wanted[stage]:
            return "stale"
        if self.sizes[stage].get(Grid.cell(stage, shard)) != receipt.size:
            return "damaged"
        return "done" if receipt.inputs == self.inputs(stage, shard) else "outdated"

    def inputs(self, stage: str, shard: int) -> dict[str, str]:
        """Earlier stage -> sha256 of its cell as it is now."""
        names = list(self.receipts)
        return {name: self.receipts[name][shard].sha256 for name in names[: names.index(stage)] if shard in self.receipts[name]}

    def made(self, receipt: Receipt) -> None:
        """Take note of a new cell."""
        self.receipts[receipt.stage][receipt.shard] = receipt
        self.sizes[receipt.stage][Grid.cell(receipt.stage, receipt.shard)] = receipt.size

    def count(self, stage: str, state: State) -> int:
        """Shards of `stage` that are in `state`."""
        return sum(self.state(stage, shard) == state for shard in range(self.shards))


class RowStatus:
    """The first refusal and the first failure of each row of a shard."""

    def __init__(self, rows: int):
        self.refused_by: list[str | None] = [None] * rows
        self.failed_in: list[str | None] = [None] * rows
        self.reject: list[list[str] | None] = [None] * rows
        self.error: list[str | None] = [None] * rows

    def add(self, stage: str, reject: pa.ChunkedArray, error: pa.ChunkedArray) -> None:
        if reject.null_count < len(reject):
            for row, reasons in enumerate(reject.to_pylist()):
                if reasons and self.refused_by[row] is None and self.failed_in[row] is None:
                    self.refused_by[row], self.reject[row] = stage, reasons
        if error.null_count < len(error):
            for row, message in enumerate(error.to_pylist()):
                if message and self.failed_in[row] is None and self.refused_by[row] is None:
                    self.failed_in[row], self.error[row] = stage, message

    def columns(self) -> dict[str, pa.Array]:
        return {
            "refused_by": pa.array(self.refused_by, pa.string()),
            "reject": pa.array(self.reject, pa.list_(pa.string())),
            "failed_in": pa.array(self.failed_in, pa.string()),
            "error": pa.array(self.error, pa.string()),
        }
