"""Checks that every file of a run holds what its receipt says; nothing is changed unless `repair` is set."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from mals.grid.cells import Damaged
from mals.grid.ids import IdHashes
from mals.grid.receipt import PACK_RECEIPT
from mals.grid.run import Run
from mals.grid.summary import read_summary_receipt, summary_file


@dataclass(frozen=True)
class Problem:
    """A broken file; `cell` is the (stage, shard) that a repair makes again, or None for a file of the plan or the data set.

    `receipt` is the file that a repair removes, so that `mals run` makes again what it is the receipt of.
    """

    text: str
    cell: tuple[str, int] | None = None
    receipt: str | None = None


def verify(run: Run, repair: bool = False) -> list[Problem]:
    """Re-hash plan, cells and packed data set, and compare ids.

    With `repair` the receipts of broken cells, of broken summaries and of a broken pack are removed, so that `mals run` makes them again.
    """
    problems = [*_check_plan(run), *_check_cells(run), *_check_dataset(run)]
    if repair and problems:
        run.store.remove(PACK_RECEIPT)  # the next pack re-hashes its files and makes those again that differ
        for problem in problems:
            if problem.receipt is not None:
                run.store.remove(problem.receipt)
    return problems


def _check_plan(run: Run) -> Iterator[Problem]:
    intact = True
    for file in run.grid.plan.files:
        if problem := _check_file(run, file.path, file.bytes, file.sha256):
            intact = False
            yield Problem(problem)
    if not intact:
        return
    ids = IdHashes()
    for shard in range(run.grid.shards):
        ids.add(run.grid.plan_rows(shard, ["id"])["id"].to_pylist())
    if len(ids) != run.grid.plan.rows or not ids.distinct():
        yield Problem("the plan holds an id twice")


def _check_cells(run: Run) -> Iterator[Problem]:
    survey = run.grid.survey()
    for name in run.grid.stages:
        if run.grid.is_global(name) and survey.fingerprints is not None:
            yield from _check_summary(run, name, survey.summary_inputs(name))
        for shard in range(run.grid.shards):
            state = survey.state(name, shard)
            if state == "missing":
                continue
            cell, file = (name, shard), run.grid.cell_name(name, shard)
            if state == "inputs_changed":
                problem = f"{file} was made from earlier cells that are not there any more"
            else:
                receipt = survey.receipts[name][shard]
                problem = _check_file(run, file, receipt.size, receipt.sha256) or _check_ids(run, name, shard)
            if problem:
                yield Problem(problem, cell, run.grid.receipt_name(*cell))


def _check_summary(run: Run, stage: str, inputs: str) -> Iterator[Problem]:
    """The problem of the summary of a global stage; a summary that is not made yet is none."""
    file = summary_file(run.grid, stage, inputs)
    receipt = read_summary_receipt(run.grid, stage, inputs)
    if receipt is not None and (problem := _check_file(run, f"{file}.parquet", receipt.size, receipt.sha256)):
        yield Problem(problem, receipt=f"{file}.json")


def _check_file(run: Run, name: str, size: int, sha256: str) -> str:
    """What is wrong with one file; empty where nothing is."""
    actual = run.store.size(name)
    if actual is None:
        return f"{name} is missing"
    if actual != size:
        return f"{name} has {actual:,} bytes, not {size:,}"
    return "" if run.store.sha256(name) == sha256 else f"{name} has changed since it was made"


def _check_ids(run: Run, stage: str, shard: int) -> str:
    name = run.grid.cell_name(stage, shard)
    try:
        ids = run.store.parquet(name).read(columns=["id"])["id"]
        return "" if ids.equals(run.grid.plan_rows(shard, ["id"])["id"]) else f"{name} holds other ids than the plan"
    except (pa.ArrowException, OSError, Damaged) as error:
        return f"{name} cannot be read: {error}"


def _check_dataset(run: Run) -> Iterator[Problem]:
    try:
        receipt = json.loads(run.store.read(PACK_RECEIPT))
    except FileNotFoundError:
        return
    for file in receipt["files"]:
        if problem := _check_file(run, file["path"], file["bytes"], file["sha256"]):
            yield Problem(problem)
