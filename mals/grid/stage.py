"""The contract of a stage: a pure, row-aligned function that adds columns.

The module of a stage has one function `stage(config) -> Stage`, which the settings name ("my_package.my_module:stage"). Importing the
module and building the stage are cheap: heavy libraries and weights are loaded in `setup`, once a process. `params` must be JSON and hold
all that changes results, the resolved revision of each model included; it resolves models, so it may raise ModelMissing.

Rows: a call gets as many rows as `batch` says (for a stage with a model, the last batch of a shard is padded by repeating a row; the output
for the padding is dropped) and returns the same rows in the same order, in the columns of `adds`, optionally followed by

    reject  list<string>   every rule that refuses the row, the first one first; empty or null where none does
    error   string         "ValueError: …" where this row could not be processed

Rows that an earlier stage refused, or that failed there, never arrive. After an exception out of a call the rows are tried one by one.

A global stage (`GlobalStage`) looks at all rows first: `summarise` makes a table from them, once, and every process gets it in `setup`.
Its calls are those of any other stage.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from mals.server_settings import Price

REJECT = pa.field("reject", pa.list_(pa.string()))
ERROR = pa.field("error", pa.string())
PLAN_ROW = "plan_row"  # a column [int64] that any stage may need: the row's number in the plan, from 0


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage takes: `gpus` of 1 means a GPU where the machine, or the cluster, has any.

    `memory` and `accelerator` matter on a cluster alone; `run.resources` in the settings overrules all but `workers` there.
    """

    cpus: float = 1
    gpus: float = 0
    workers: int | None = None  # at most so many; 1 for a stage that waits for a server, which gets many requests of one worker
    memory: float | None = None  # GB
    accelerator: str | None = None  # the kind of GPU as the cluster calls it, such as "A100"


class RowStage(Protocol):
    """What every stage has, local or global; docs/stage.md shows how to write one."""

    name: str
    version: int  # raised by hand when results change
    needs: tuple[str, ...]  # columns of earlier stages, or of the plan, or `plan_row`
    adds: pa.Schema  # exactly the columns it returns
    batch: int  # rows a call
    resources: Resources

    def params(self) -> dict[str, Any]:
        """All that results depend on, as JSON values; raises ModelMissing."""
        ...

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The columns of `adds` for the rows of `batch`, which has the columns of `needs`."""
        ...


class Stage(RowStage, Protocol):
    """A stage whose rows depend on nothing but themselves."""

    def setup(self) -> None:
        """Load the model."""
        ...


@runtime_checkable
class GlobalStage(RowStage, Protocol):
    """A stage whose rows depend on all rows, by a summary of them: a barrier, which needs all shards of the stages before it.

    The summary is made once for the run, in one worker, when every shard of every earlier stage is done, and is kept as a Parquet file
    beside the stage's cells, named by a hash of `params` and of all earlier cells. It is made again if one of these changes, and the cells
    of all shards after it.
    """

    summary_needs: tuple[str, ...]  # columns that `summarise` gets: of earlier stages, of the plan, or `plan_row`

    def summarise(self, batches: Iterator[pa.RecordBatch]) -> pa.Table:
        """What a call must know about all rows, such as a threshold, or the rows that are duplicates; the same table each time.

        `batches` are `id` and the columns of `summary_needs`, of the rows that no earlier stage refused and that failed nowhere: in the
        order of the plan, one batch a shard (none for a shard without such rows), each read when it is asked for. What is kept of them must
        be small: at most tens of bytes a row. `setup` was not called before, so a model that this needs is loaded here. Raises UserError
        for settings under which there is no summary.
        """
        ...

    def setup(self, summary: pa.Table) -> None:
        """Load the model, and take the table that `summarise` made."""
        ...


AnyStage = Stage | GlobalStage
Used = dict[str, dict[str, int]]  # model -> requests, prompt_tokens, completion_tokens, images, uncounted (answers that tell no use)


@runtime_checkable
class ServedStage(Protocol):
    """A stage whose work servers do, which count it and may charge for it."""

    prices: dict[str, Price]  # of the models that servers run, by name; those that cost nothing are left out

    def take_used(self) -> Used:
        """What servers did since the last call; empty where no server was asked."""
        ...


@runtime_checkable
class DeviceStage(Protocol):
    """A stage that says how long its model computes, so that the rest of the time is known: the device waits for the worker."""

    def take_device_seconds(self) -> float:
        """Seconds of the model's calls since the last time, from the call until its results are read back."""
        ...


def row_seed(seed: int, row_id: str, stage: str) -> int:
    """The random seed in [0, 2^63) of one row in one stage: a function of these three and nothing else."""
    digest = hashlib.blake2b(f"{seed}\0{row_id}\0{stage}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def output_batch(
    adds: pa.Schema,
    columns: Mapping[str, Sequence[Any]],
    reject: Sequence[Sequence[str] | None] | None = None,
    error: Sequence[str | None] | None = None,
) -> pa.RecordBatch:
    """The rows that a stage returns, with the types of `adds`; `reject` and `error` may be left out."""
    rows = len(next(iter([*columns.values(), reject or error or []])))
    arrays = [pa.array(columns[field.name], field.type) for field in adds]
    arrays.append(pa.array(reject if reject is not None else [None] * rows, REJECT.type))
    arrays.append(pa.array(error if error is not None else [None] * rows, ERROR.type))
    return pa.record_batch(arrays, schema=pa.schema([*adds, REJECT, ERROR]))


def error_message(error: BaseException, context: str = "") -> str:
    """An exception as a row keeps it, "ValueError: context: first line"; the same each time, so without addresses of objects."""
    lines = re.sub(r" at 0x[0-9a-fA-F]+", "", str(error)).strip().splitlines()
    return ": ".join([type(error).__name__, *([context] if context else []), *lines[:1]])[:300]
