"""A run, finished or being made, as pages show it: the plan and the cells that are there now, joined by position."""

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mals.dataset import verdicts
from mals.dataset.source import attribute_values
from mals.errors import UserError
from mals.grid.cells import Damaged
from mals.grid.run import SETTINGS, Run
from mals.grid.shard import GROUP_ROWS
from mals.look.receipts import Receipts
from mals.look.source import FAILED, KEPT, REASON, REFUSED, STAGE, STATE, WAITING, Part, Refusals, Source, first_line

SOURCE_CAPTION = "source_caption"  # the caption of the plan, where a stage makes captions of its own
OWN = (STATE, STAGE, REASON)
KEPT_BYTES = 96 << 20  # of the images that were read last


class RunSource(Source):
    """The rows of a run; `refresh` takes up cells that were made since."""

    kind = "run"

    def __init__(self, url: str) -> None:
        super().__init__()
        self.title, self._refreshing = url, threading.Lock()
        self._verdicts: tuple[Any, dict[str, bool]] = (None, {})
        self._open()

    def _open(self) -> None:
        self.run = Run.open(self.title)
        self._settings_stamp = self._stamp()
        self.grid = self.run.grid
        self.receipts = Receipts(self.grid)
        size = self.grid.plan.shard_rows
        self.parts = [Part(shard * size, self.grid.row_count(shard)) for shard in range(self.grid.shards)]
        self.attributes = attribute_values(self.run)
        self.unreadable = {}  # of the cells
        self._statuses: dict[int, ShardStatus] = {}
        self._images: OrderedDict[tuple[str, int, int], pa.Array] = OrderedDict()
        self._chunks, self._whole = {}, {}
        for name in ("columns", "fingerprints", "_owners"):  # of the settings before
            self.__dict__.pop(name, None)
        self.version += 1
        self.receipts.refresh(every=0)

    def refresh(self) -> None:
        """Take up cells and settings that have changed; UserError where the run cannot be read any more."""
        with self._refreshing:  # the other lock may be held by a page that reads columns
            if self._stamp() != self._settings_stamp:
                with self.lock:
                    self._open()
            if changed := self.receipts.refresh():
                with self.lock:
                    for stage, shards in changed.items():
                        self._forget_cells(stage, shards)

    def _forget_cells(self, stage: str, shards: set[int]) -> None:
        """Read cells of a stage, and the status of their rows, again when they are needed."""
        for key in [key for key in self._images if key[0] == stage and key[1] in shards]:
            del self._images[key]
        for shard in shards:
            self._statuses.pop(shard, None)
            self.unreadable.pop(self.grid.cell_name(stage, shard), None)
        self.forget([*(field.name for field in self.grid.stages[stage].adds), *OWN], shards)

    def _stamp(self) -> tuple[int, int]:
        """What changes with mals.yaml; UserError where it is gone."""
        store = self.run.store
        if store.folder is None:
            return (store.size(SETTINGS) or 0, 0)
        try:
            stat = (store.folder / SETTINGS).stat()
        except OSError:
            raise UserError(f"{self.title} is not there any more, or cannot be read") from None
        return stat.st_size, stat.st_mtime_ns

    def verdicts(self) -> dict[str, bool]:
        """Id -> whether a person keeps the row; UserError where the file of verdicts cannot be read."""
        store = self.run.store
        stamp: Any = store.size(verdicts.VERDICTS)
        if store.folder is not None and stamp is not None:
            stamp = (stamp, (store.folder / verdicts.VERDICTS).stat().st_mtime_ns)
        with self.lock:
            if stamp != self._verdicts[0]:
                self._verdicts = (stamp, verdicts.current(verdicts.read(store)))
            return self._verdicts[1]

    def judge(self, row: int, keep: bool | None, who: str) -> None:
        """Add a verdict about a row; None takes one back. UserError for a row about which none can be taken."""
        self.verdicts()  # nothing is added to a file that cannot be read
        (line,) = self.take([row], ["id", STATE, STAGE])
        if keep is not None:
            problem = verdicts.problem(line[STATE], line[STAGE], self.reasons_of(row), keep, list(self.grid.stages))
            if problem:
                raise UserError(problem)
        verdicts.add(self.run.store, [verdicts.Verdict(id=line["id"], keep=keep, who=who)])

    def reasons_of(self, row: int) -> list[str]:
        shard, place = self.part_of(row)
        with self.lock:
            status = self._status(shard)
        return [str(reason) for rows, _, reasons in status.refusals for at, reason in zip(rows, reasons, strict=True) if at == place]

    @cached_property
    def fingerprints(self) -> dict[str, str] | None:
        """The fingerprints that cells must have; None where a model is not on this machine."""
        return None if self.grid.missing_model() else self.grid.fingerprints

    @cached_property
    def _owners(self) -> dict[str, str]:
        """Column -> the stage that adds it."""
        return {field.name: name for name, stage in self.grid.stages.items() for field in stage.adds}

    @cached_property
    def columns(self) -> Mapping[str, pa.DataType]:
        with self.lock:
            schema = self.grid.store.parquet("plan/00000.parquet").schema_arrow
        added = {field.name: field.type for stage in self.grid.stages.values() for field in stage.adds}
        planned = {field.name: field.type for field in schema}
        if "caption" in added and "caption" in planned:
            planned[SOURCE_CAPTION] = planned["caption"]
        own = dict.fromkeys(OWN, pa.string())
        return {name: kind for name, kind in (planned | own | added).items() if not pa.types.is_binary(kind)}

    def read_part(self, part: int, names: list[str]) -> Mapping[str, pa.Array]:
        with self.lock:
            arrays: dict[str, pa.Array] = {}
            planned = [name for name in names if name not in self._owners and name not in OWN]
            if planned:
                table = self.grid.plan_rows(part, ["caption" if name == SOURCE_CAPTION else name for name in planned])
                arrays |= {name: _array(column) for name, column in zip(planned, table.columns, strict=True)}
            for stage in dict.fromkeys(self._owners[name] for name in names if name in self._owners):
                arrays |= self._cell(stage, part, [name for name in names if self._owners.get(name) == stage])
            if own := [name for name in names if name in OWN]:
                status = self._status(part).columns()
                arrays |= {name: status[name] for name in own}
            return arrays

    def _cell(self, stage: str, shard: int, names: list[str]) -> dict[str, pa.Array]:
        """Columns of one cell; nulls where it is not there, or cannot be read, which is kept in `unreadable`."""
        rows = self.parts[shard].rows
        adds = self.grid.stages[stage].adds
        nulls = {name: pa.nulls(rows, adds.field(name).type if name in adds.names else CELL_TYPES[name]) for name in names}
        cell = self.receipts.stages[stage].cells.get(shard)
        if cell is None:
            return nulls
        name = self.grid.cell_name(stage, shard)
        try:
            table = self.grid.store.parquet(name, cell.size).read(columns=names)
        except (OSError, pa.ArrowInvalid, Damaged) as error:
            self.unreadable[name] = first_line(error)
            return nulls
        if len(table) != rows:
            self.unreadable[name] = f"it has {len(table)} rows, not {rows}"
            return nulls
        return {name: _array(table[name]) for name in names}

    def _status(self, shard: int) -> "ShardStatus":
        """What became of the rows of a shard; cells in which no row was refused and none failed are not read."""
        if shard not in self._statuses:
            status = ShardStatus(self.parts[shard].rows)
            for name, stage in self.receipts.stages.items():
                cell = stage.cells.get(shard)
                if cell is None:
                    status.wait(name)
                    break
                if cell.rejects or cell.failed:
                    columns = self._cell(name, shard, ["reject", "error"])
                    status.add(name, columns["reject"], columns["error"])
            self._statuses[shard] = status
        return self._statuses[shard]

    def refusals(self) -> Refusals:
        def joined() -> Refusals:
            lines = []
            for shard, part in enumerate(self.parts):
                with self.lock:
                    lines.append((part.start, self._status(shard)))
            pieces = [(start + rows, stage, reasons) for start, status in lines for rows, stage, reasons in status.refusals]
            if not pieces:
                return Refusals(pa.array([], pa.int64()), pa.array([], pa.string()), pa.array([], pa.string()))
            stages = pa.array([stage for rows, stage, _ in pieces for _ in range(len(rows))], pa.string())
            reasons = pa.chunked_array([reasons for *_, reasons in pieces]).combine_chunks()
            return Refusals(pa.array(np.concatenate([rows for rows, *_ in pieces])), stages, reasons)

        return self.cached("refusals", joined)

    def image(self, row: int) -> bytes | None:
        """The crop; or the whole image where there is no crop, unless faces are blurred in crops."""
        shard, place = self.part_of(row)
        columns = [("crop", self._owners.get("crop"))]
        if not self.run.config.privacy.blur_faces:
            columns.append(("image", self.grid.first))
        for column, stage in columns:
            if stage is not None and (data := self._pixels(stage, column, shard, place)) is not None:
                return data
        return None

    def shards_with(self, column: str) -> list[int]:
        """The shards that have the cell of the stage that adds a column; of a column of the plan all."""
        stage = self._owners.get(column)
        return list(range(self.grid.shards)) if stage is None else sorted(self.receipts.stages[stage].cells)

    def stamp(self, row: int) -> str:
        """The hash of the cell with the image, and the place in it."""
        shard, place = self.part_of(row)
        stage = self._owners.get("crop") or self.grid.first
        cell = self.receipts.stages[stage].cells.get(shard)
        return f"{cell.stamp if cell else 'missing'} {place}"

    def _pixels(self, stage: str, column: str, shard: int, place: int) -> bytes | None:
        cell = self.receipts.stages[stage].cells.get(shard)
        if cell is None:
            return None
        group, place = divmod(place, GROUP_ROWS)
        key = (stage, shard, group)
        with self.lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key][place].as_py()
        name = self.grid.cell_name(stage, shard)
        try:
            array = _array(self.grid.store.parquet(name, cell.size).read_row_group(group, columns=[column])[column])
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            self.unreadable[name] = first_line(error)
            return None
        with self.lock:
            self._images[key] = array
            while len(self._images) > 1 and sum(kept.nbytes for kept in self._images.values()) > KEPT_BYTES:
                self._images.popitem(last=False)
        return array[place].as_py() if place < len(array) else None


CELL_TYPES = {"reject": pa.list_(pa.string()), "error": pa.string()}


class ShardStatus:
    """The first refusal or failure of each row of a shard, without Python objects for rows."""

    def __init__(self, rows: int) -> None:
        self.state: NDArray[Any] = np.full(rows, KEPT, object)
        self.stage: NDArray[Any] = np.full(rows, None, object)
        self.reason: NDArray[Any] = np.full(rows, None, object)
        self.refusals: list[tuple[NDArray[np.int64], str, pa.Array]] = []  # rows of the shard, the stage, the rule of each

    def wait(self, stage: str) -> None:
        """The rows that are still in have not passed `stage`."""
        left = self.state == KEPT
        self.state[left], self.stage[left] = WAITING, stage

    def add(self, stage: str, reject: pa.Array, error: pa.Array) -> None:
        """Take up the columns of the next cell."""
        left = self.state == KEPT
        counts = pc.fill_null(pc.list_value_length(reject), 0).to_numpy(zero_copy_only=False)
        refused = left & (counts > 0)
        if refused.any():
            lists = reject.filter(pa.array(refused))
            rows = np.flatnonzero(refused)[pc.list_parent_indices(lists).to_numpy()]
            self.refusals.append((rows.astype(np.int64), stage, pc.list_flatten(lists)))
            self.state[refused], self.stage[refused] = REFUSED, stage
            self.reason[refused] = pc.list_element(lists, 0).to_numpy(zero_copy_only=False)
        failed = left & ~refused & error.is_valid().to_numpy(zero_copy_only=False)
        if failed.any():
            self.state[failed], self.stage[failed] = FAILED, stage
            self.reason[failed] = error.filter(pa.array(failed)).to_numpy(zero_copy_only=False)

    def columns(self) -> dict[str, pa.Array]:
        """Arrays of the columns that every source has."""
        values = {STATE: self.state, STAGE: self.stage, REASON: self.reason}
        return {name: pa.array(array, pa.string(), from_pandas=True) for name, array in values.items()}


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def warm(source: RunSource) -> float:
    """Read what became of every row, so that the first page that asks for it need not wait; seconds that it took."""
    clock = time.perf_counter()
    source.load(OWN)
    source.refusals()
    return time.perf_counter() - clock
