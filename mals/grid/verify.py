"""Whether every file of a run holds what its receipt says; nothing is changed unless asked."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mals.grid.cells import Damaged
from mals.grid.run import Run


@dataclass(frozen=True)
class Problem:
    """One thing that is off; `cell` is the (stage, shard) that would be made again, if it is one."""

    text: str
    cell: tuple[str, int] | None = None


def verify(run: Run, repair: bool = False) -> list[Problem]:
    """Re-hash plan, cells and packed data set, and compare ids.

    With `repair` the receipts of broken cells and of a broken pack go, so that `mals run` makes them again.
    """
    problems = [*_plan(run), *_cells(run), *_dataset(run)]
    if repair and problems:
        run.store.remove("pack.json")  # the next pack re-hashes its files and makes those again that differ
        for problem in problems:
            if problem.cell is not None:
                run.store.remove(run.grid.receipt_name(*problem.cell))
    return problems


def _plan(run: Run) -> Iterator[Problem]:
    intact = True
    for file in run.plan["files"]:
        trouble = _file(run, file["path"], file["bytes"], file["sha256"])
        if trouble:
            intact = False
            yield Problem(trouble)
    if not intact:
        return
    hashes = []  # 8 bytes an id instead of the ids themselves: 12 MB for 1.5 million
    for shard in range(run.grid.shards):
        ids = run.grid.planned(shard, ["id"])["id"].to_pylist()
        hashes += [np.array([int.from_bytes(hashlib.blake2b(row.encode(), digest_size=8).digest(), "big") for row in ids], np.uint64)]
    if hashes and len(np.unique(np.concatenate(hashes))) != run.plan["rows"]:
        yield Problem("the plan holds an id twice")


def _cells(run: Run) -> Iterator[Problem]:
    survey = run.grid.survey()
    for name in run.grid.stages:
        for shard in range(run.grid.shards):
            state = survey.state(name, shard)
            if state == "missing":
                continue
            if state == "outdated":
                yield Problem(f"{run.grid.cell(name, shard)} was made from earlier cells that are not there any more", (name, shard))
                continue
            receipt = survey.receipts[name][shard]
            trouble = _file(run, run.grid.cell(name, shard), receipt.size, receipt.sha256) or _ids(run, name, shard)
            if trouble:
                yield Problem(trouble, (name, shard))


def _file(run: Run, name: str, size: int, sha256: str) -> str:
    """What is wrong with one file; nothing: an empty string."""
    found = run.store.size(name)
    if found is None:
        return f"{name} is missing"
    if found != size:
        return f"{name} has {found:,} bytes, not {size:,}"
    return "" if run.store.sha256(name) == sha256 else f"{name} has other bytes than when it was made"


def _ids(run: Run, stage: str, shard: int) -> str:
    name = run.grid.cell(stage, shard)
    try:
        ids = run.store.parquet(name).read(columns=["id"])["id"]
        return "" if ids.equals(run.grid.planned(shard, ["id"])["id"]) else f"{name} holds other ids than the plan"
    except (pa.ArrowException, OSError, Damaged) as error:
        return f"{name} cannot be read: {error}"


def _dataset(run: Run) -> Iterator[Problem]:
    try:
        receipt = json.loads(run.store.read("pack.json"))
    except FileNotFoundError:
        return
    for file in receipt["files"]:
        trouble = _file(run, file["path"], file["bytes"], file["sha256"])
        if trouble:
            yield Problem(trouble)
