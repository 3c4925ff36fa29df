"""The grid of a run: stages x shards, one Parquet file a cell, joined by position.

A cell holds `id`, the columns that its stage adds, and `reject` and `error`. The grid knows no stage: the settings name a function for
each.
"""

import hashlib
import json
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

import pyarrow as pa

from mals.config import STAGES, Config, stage_names
from mals.errors import ModelMissing, UserError, quoted
from mals.grid.own_stage import own_stage, stage_params
from mals.grid.plan import PlanReceipt, plan_file
from mals.grid.receipt import SUMMARY, Alike, Receipt, Source, canonical, fingerprint
from mals.grid.stage import PLAN_ROW, AnyStage, GlobalStage
from mals.grid.store import Store
from mals.plugins import load_object

RECEIPT_NAME = re.compile(r"/\d+\.json$")  # of a cell, among the other files of its stage
State = Literal["missing", "stale", "damaged", "inputs_changed", "done"]  # see Survey


class Damaged(UserError):
    """A file of the run does not hold what its receipt says; the argument is the problem, the text says the way on too."""

    def __str__(self) -> str:
        return f"{super().__str__()}; `mals verify RUN --repair` and then `mals run RUN` make broken cells again"


def build_stage(name: str, config: Config) -> AnyStage:
    """The stage `name`: the one of mals, or the one that `stages` in the settings puts in its place."""
    if name in config.stages:
        return own_stage(name, config.stages[name], config)
    build: Callable[[Config], AnyStage] = load_object(STAGES[name], f"stages.{name}")
    return build(config)


def build_stages(config: Config) -> dict[str, AnyStage]:
    """The stages of a run, in order."""
    names = stage_names(config)
    if unknown := sorted(set(config.stages) - set(names)):
        raise UserError(f"there is no stage {quoted(unknown[0])} to replace; there are {', '.join(names)}")
    if unknown := sorted(set(config.run.resources) - set(names)):
        raise UserError(f"run.resources names the stage {quoted(unknown[0])}, which this run does not have; it has {', '.join(names)}")
    return {name: build_stage(name, config) for name in names}


def check_needs(stages: dict[str, AnyStage], plan_columns: Iterable[str]) -> None:
    """Raise UserError where a stage needs a column that neither the plan nor a stage before it has, as after a stage of one's own."""
    columns = {PLAN_ROW, *plan_columns}
    for name, stage in stages.items():
        needs = [*stage.needs, *stage.summary_needs] if isinstance(stage, GlobalStage) else stage.needs
        if missing := [column for column in needs if column not in columns]:
            raise UserError(f"the stage {name} needs the column {missing[0]}, which neither the plan nor a stage before it has")
        columns |= set(stage.adds.names)


class Grid:
    """The cells of one run."""

    def __init__(self, store: Store, config: Config, plan: PlanReceipt):
        self.store = store
        self.plan = plan
        self.stages = build_stages(config)
        self.node = platform.node()  # this machine, in receipts
        self._plan_file: tuple[int, Any] | None = None  # the one opened last, and its number

    @property
    def shards(self) -> int:
        """The number of shards."""
        return self.plan.shards

    def row_count(self, shard: int) -> int:
        """Rows of one shard: `shard_rows`, but for the last shard, which may have fewer."""
        size = self.plan.shard_rows
        return min(size, self.plan.rows - shard * size)

    @cached_property
    def params(self) -> dict[str, dict[str, Any]]:
        """Stage -> what its results depend on; raises ModelMissing."""
        return {name: stage_params(name, stage) for name, stage in self.stages.items()}

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Stage -> the fingerprint that its cells must have; raises ModelMissing."""
        fingerprints, upstream = {}, self.plan.fingerprint
        for name, stage in self.stages.items():
            upstream = fingerprints[name] = fingerprint(name, stage.version, self.params[name], upstream)
        return fingerprints

    def check_models(self) -> None:
        """Raise ModelMissing for the first model of a stage that is not on this machine."""
        for name, stage in self.stages.items():
            stage_params(name, stage)

    def missing_model(self) -> ModelMissing | None:
        """The error of `check_models`; None where every model is there."""
        try:
            self.check_models()
        except ModelMissing as error:
            return error
        return None

    def earlier(self, stage: str | None) -> list[str]:
        """The stages before `stage`; all of them for None."""
        names = list(self.stages)
        if stage is None:
            return names
        if stage not in names:
            raise UserError(f"this run has no stage {stage}: its settings make it {', '.join(names)}")
        return names[: names.index(stage)]

    def upto(self, stage: str | None) -> list[str]:
        """The stages up to and with `stage`; all of them for None."""
        return self.earlier(stage) if stage is None else [*self.earlier(stage), stage]

    def is_global(self, stage: str) -> bool:
        """Whether `stage` looks at the rows of all shards before it makes a cell."""
        return isinstance(self.stages[stage], GlobalStage)

    @property
    def first(self) -> str:
        """The stage that has the images: generate or ingest."""
        return next(iter(self.stages))

    @staticmethod
    def cell_name(stage: str, shard: int) -> str:
        return f"{stage}/{shard:05d}.parquet"

    @staticmethod
    def receipt_name(stage: str, shard: int) -> str:
        return f"{stage}/{shard:05d}.json"

    @staticmethod
    def failure_name(stage: str, shard: int) -> str:
        return f"{stage}/{shard:05d}.failed.json"

    def receipt(self, stage: str, shard: int) -> Receipt | None:
        """The receipt of a cell; None where it is missing or torn."""
        try:
            return Receipt.from_bytes(self.store.read(self.receipt_name(stage, shard)))
        except FileNotFoundError:
            return None

    def sources(self, stage: str, shard: int) -> dict[str, Source] | None:
        """Earlier stage -> its cell as its receipt describes it now; None where an earlier cell has no receipt."""
        receipts = {name: self.receipt(name, shard) for name in self.earlier(stage)}
        sources = {name: Source(receipt.sha256, receipt.size) for name, receipt in receipts.items() if receipt is not None}
        return sources if len(sources) == len(receipts) else None

    def receipts(self, stage: str, files: Iterable[str] | None = None) -> dict[int, Receipt]:
        """Shard -> receipt, of every cell that has one; `files` are those of the stage's folder, where they are known."""
        listed = self.store.list(stage) if files is None else files
        names = [name for name in listed if RECEIPT_NAME.search(name)]
        receipts, alike = (Receipt.from_bytes(data) for data in self.store.read_all(names).values()), Alike()
        return {receipt.shard: alike.share(receipt) for receipt in receipts if receipt is not None and receipt.shard < self.shards}

    def failures(self, stage: str) -> dict[int, dict[str, Any]]:
        """Shard -> the record of its last failed attempt."""
        names = [name for name in self.store.list(stage) if name.endswith(".failed.json")]
        return {failure["shard"]: failure for failure in map(json.loads, self.store.read_all(names).values())}

    def survey(self, upto: str | None = None) -> "Survey":
        """The receipts of the stages up to and with `upto` as they are now, each read once."""
        names = self.upto(upto)
        fingerprints = None if self.missing_model() else self.fingerprints
        sizes = {name: self.store.list(name) for name in names}
        barriers = frozenset(filter(self.is_global, names))
        return Survey(self.shards, {name: self.receipts(name, sizes[name]) for name in names}, sizes, fingerprints, barriers)

    def plan_rows(self, shard: int, columns: list[str]) -> pa.Table:
        """Columns of the plan for one shard."""
        number, group = divmod(shard, self.plan.shards_per_file)
        kept = self._plan_file  # another thread may change it
        if kept is None or kept[0] != number:
            kept = self._plan_file = (number, self.store.parquet(plan_file(number), self.plan.files[number].bytes))
        return kept[1].read_row_group(group, columns=columns, use_threads=False)

    def table(
        self, shard: int, columns: list[str], before: str | None = None, sources: Mapping[str, Source] = MappingProxyType({})
    ) -> pa.Table:
        """`id`, `columns` of the plan (or `plan_row`) and of the stages before `before`, and the status of each row, for one shard.

        `sources` are the cells as they should be, where that is known: their sizes save requests. `refused_by` and `failed_in` name the
        first stage that refused the row or failed on it (null where none did); `reject` [list of string] and `error` are that stage's
        reasons and message. Raises Damaged where a cell cannot be read or holds other ids than the plan.
        """
        stages = self.earlier(before)
        owner = {field.name: name for name in stages for field in self.stages[name].adds}
        table = self.plan_rows(shard, ["id", *(name for name in columns if name not in owner and name not in ("id", PLAN_ROW))])
        if PLAN_ROW in columns:
            start = shard * self.plan.shard_rows
            table = table.append_column(PLAN_ROW, pa.array(range(start, start + len(table)), pa.int64()))
        if missing := [name for name in columns if name not in owner and name not in table.column_names]:
            raise UserError(f"there is no column {missing[0]}: neither the plan nor a stage before {before or 'the end'} has it")
        arrays = {name: table[name] for name in table.column_names}
        status = RowStatus(len(table))
        for name in stages:
            own = [column for column in columns if owner.get(column) == name]
            cell = self._read(name, shard, ["id", *own, "reject", "error"], sources.get(name))
            if not cell["id"].equals(table["id"]):
                raise Damaged(f"{self.cell_name(name, shard)} holds other ids than the plan")
            arrays |= {column: cell[column] for column in own}
            status.add(name, cell["reject"], cell["error"])
        return pa.table({"id": arrays["id"], **{name: arrays[name] for name in columns}, **status.columns()})

    def _read(self, stage: str, shard: int, columns: list[str], source: Source | None) -> pa.Table:
        try:
            return self.store.parquet(self.cell_name(stage, shard), source.size if source else None).read(
                columns=columns, use_threads=False
            )
        except (FileNotFoundError, pa.ArrowInvalid, OSError) as error:
            raise Damaged(f"{self.cell_name(stage, shard)} cannot be read: {error}") from None


@dataclass
class Survey:
    """The receipts of a run, and the state of its cells that follows from them: the first of these that is true.

    | state | the cell | what makes it again |
    |---|---|---|
    | missing | has no receipt: it was not made, or its attempts failed | `mals run` |
    | stale | was made with other settings: its fingerprint is not that of the settings | `mals run --rerun STAGE` |
    | damaged | has another size than its receipt says | `mals run` |
    | inputs_changed | was made from earlier cells that were made again since | `mals run` |
    | done | is as its receipt says | |

    `fingerprints` is None if a model is missing, so that they cannot be computed: no cell is stale then. The cells of a global stage are
    made from the earlier cells of all shards: if one of these is made again with other bytes, its cells are inputs_changed in every shard.
    """

    shards: int
    receipts: dict[str, dict[int, Receipt]]  # stage -> shard -> receipt
    sizes: dict[str, dict[str, int]]  # stage -> file -> bytes
    fingerprints: dict[str, str] | None  # stage -> the fingerprint that its cells must have
    barriers: frozenset[str] = frozenset()  # the global stages
    _alike: Alike = field(default_factory=Alike)
    _summary_inputs: dict[str, str] = field(default_factory=dict)  # what was computed, until an earlier cell changes

    def state(self, stage: str, shard: int) -> State:
        receipt = self.receipts[stage].get(shard)
        if receipt is None:
            return "missing"
        if self.fingerprints is not None and receipt.fingerprint != self.fingerprints[stage]:
            return "stale"
        if self.sizes[stage].get(Grid.cell_name(stage, shard)) != receipt.size:
            return "damaged"
        return "done" if receipt.inputs == self.inputs(stage, shard) else "inputs_changed"

    def inputs(self, stage: str, shard: int) -> dict[str, str]:
        """Earlier stage -> sha256 of its cell as it is now; of a global stage also "summary" -> `summary_inputs`."""
        inputs = {name: source.sha256 for name, source in self.sources(stage, shard).items()}
        return inputs | {SUMMARY: self.summary_inputs(stage)} if stage in self.barriers else inputs

    def summary_inputs(self, stage: str) -> str:
        """A hash of the cells of all shards of the stages before `stage`: of what the summary of a global stage is made from."""
        if stage not in self._summary_inputs:
            cells = {name: [_sha256(self.receipts[name].get(shard)) for shard in range(self.shards)] for name in self._earlier(stage)}
            self._summary_inputs[stage] = hashlib.sha256(canonical(cells)).hexdigest()
        return self._summary_inputs[stage]

    def sources(self, stage: str | None, shard: int) -> dict[str, Source]:
        """Stage before `stage` (any for None) -> its cell as it is now, of those that have a receipt."""
        receipts = {name: self.receipts[name].get(shard) for name in self._earlier(stage)}
        return {name: Source(receipt.sha256, receipt.size) for name, receipt in receipts.items() if receipt is not None}

    def add(self, receipt: Receipt) -> None:
        """Take up the receipt of a new cell."""
        self.remove(receipt.stage, receipt.shard)
        self.receipts[receipt.stage][receipt.shard] = self._alike.share(receipt)
        self.sizes[receipt.stage][Grid.cell_name(receipt.stage, receipt.shard)] = receipt.size

    def remove(self, stage: str, shard: int) -> None:
        """Forget a cell that is not there any more."""
        self.receipts[stage].pop(shard, None)
        for later in list(self._summary_inputs):
            if stage in self._earlier(later):
                del self._summary_inputs[later]

    def _earlier(self, stage: str | None) -> list[str]:
        names = list(self.receipts)
        return names if stage is None else names[: names.index(stage)]

    def count(self, stage: str, state: State) -> int:
        """Shards of `stage` that are in `state`."""
        return sum(self.state(stage, shard) == state for shard in range(self.shards))


def _sha256(receipt: Receipt | None) -> str | None:
    return receipt.sha256 if receipt is not None else None


class RowStatus:
    """The first refusal or failure of each row of a shard."""

    def __init__(self, rows: int):
        self.refused_by: list[str | None] = [None] * rows
        self.failed_in: list[str | None] = [None] * rows
        self.reject: list[list[str] | None] = [None] * rows
        self.error: list[str | None] = [None] * rows

    def add(self, stage: str, reject: pa.ChunkedArray, error: pa.ChunkedArray) -> None:
        """Take up the columns `reject` and `error` of the next stage's cell."""
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
