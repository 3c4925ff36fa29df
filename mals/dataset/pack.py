"""From a finished run to the data set that people load: Parquet files, the data card, croissant.json, SHA256SUMS.

`dataset/` is a function of the cells and the settings: it holds no time, host, path or number of workers, so that a pack that was killed
and repeated has the same bytes as one that was not. Each file is committed whole under a name that the layout fixes, and its receipt
(`pack/….json`) after it; then come SHA256SUMS and, last, `pack.json`: a run that has it is packed.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mals.config import dump
from mals.dataset.features import Columns
from mals.dataset.folder import finished_file, write_packed_file
from mals.dataset.layout import Layout, RunFile, check_ids, lay_out
from mals.dataset.receipts import CHECKSUMS, FOLDER, REJECTED, FileReceipt, FileRecord, PackReceipt, checksums, record_of
from mals.dataset.rows import PackedRows
from mals.dataset.source import attribute_values, packed_columns, planned_columns, result_settings
from mals.dataset.statistics import DatasetCounts, RunStatistics, gather
from mals.dataset.verdicts import Verdicts
from mals.errors import UserError
from mals.grid.cells import Survey
from mals.grid.lock import coordinator
from mals.grid.receipt import PACK_RECEIPT, canonical
from mals.grid.run import Run

VERSION = 2  # raised by hand when the packed bytes change
REJECTED_ROWS_PER_GROUP = 4096
CHECKSUMS_PATH = f"{FOLDER}/{CHECKSUMS}"
Progress = Callable[[int, int], None]  # files done, files in all


@dataclass(frozen=True)
class PackResult:
    """The receipt of the pack; `new` is False if it was complete before."""

    receipt: PackReceipt
    new: bool

    def to_json(self) -> dict[str, Any]:
        return self.receipt.to_json() | {"new": self.new}

    def summary(self) -> str:
        """The numbers of rows in a few words."""
        heads = f"; in {self.receipt.without_head:,} of the kept images no head was there to blur" if self.receipt.without_head else ""
        return f"{self.receipt.kept:,} rows kept, {self.receipt.refused + self.receipt.failed:,} not{heads}"


@dataclass(frozen=True)
class Fingerprints:
    """Hashes of what the Parquet files (`rows`) and the whole folder (`dataset`) depend on."""

    rows: str
    dataset: str


def pack(run: Run, again: bool = False, progress: Progress | None = None) -> PackResult:
    """Write `dataset/`, or what is missing of it; with `again`, write every file again.

    Raises UserError if shards are not done yet, Damaged if a cell does not hold what its receipt says.
    """
    with coordinator(run.store):
        run.store.sweep()
        survey = run.grid.survey()
        if problem := _unfinished_stage(run, survey):
            raise UserError(f"{run.store.url} cannot be packed: {problem}; `mals run {run.store.url}` finishes them")
        verdicts = Verdicts.of(run.grid)
        expected = fingerprints(run, survey, verdicts)
        receipt = PackReceipt.load(run.store)
        if receipt and not again and receipt.fingerprint == expected.dataset and not _size_problems(run, receipt):
            return PackResult(receipt, new=False)
        _check_split_names(run)
        return PackResult(_write(run, survey, verdicts, expected, again, progress), new=True)


def _write(run: Run, survey: Survey, verdicts: Verdicts, expected: Fingerprints, again: bool, progress: Progress | None) -> PackReceipt:
    """Write all files of the pack, and its receipt after them."""
    by_person = run.config.pack.split_by == "person"
    statistics = gather(run.grid, list(attribute_values(run)), planned_columns(run.grid), by_person, verdicts, survey)
    if not len(statistics.all_group_hashes):
        raise UserError(_nothing_kept(run, statistics))
    layout, columns = lay_out(statistics, run.config), packed_columns(run)
    for name in (PACK_RECEIPT, CHECKSUMS_PATH):
        run.store.remove(name)
    _remove_other_files(run, layout)
    parquet = []
    for number, file in enumerate(layout.files):
        if progress:
            progress(number, len(layout.files))
        rows = PackedRows(run.grid, columns[file.config_name], verdicts, survey)
        parquet.append(_packed_file(run, layout, file, rows, expected.rows, again))
    check_ids(run, layout)
    counts = statistics.counts()
    files = [file.record for file in parquet] + _write_texts(run, survey, counts, columns, parquet)
    files.append(_commit(run, CHECKSUMS_PATH, checksums(files, f"{FOLDER}/")))
    receipt = _pack_receipt(counts, parquet, files, expected.dataset)
    receipt.save(run.store)
    return receipt


def check(run: Run, deep: bool = False) -> list[str]:
    """What is wrong with the packed data set, a sentence each; `deep` hashes every file again."""
    receipt = PackReceipt.load(run.store)
    if receipt is None:
        return ["the run is not packed"]
    survey = run.grid.survey()
    unfinished = _unfinished_stage(run, survey)
    problems = [unfinished] if unfinished else []
    if not problems and receipt.fingerprint != fingerprints(run, survey, Verdicts.of(run.grid)).dataset:
        problems.append("the pack is older than the run's cells, settings or verdicts")
    problems += _size_problems(run, receipt)
    if deep and not problems:
        for file in receipt.files:
            if run.store.sha256(file.path) != file.sha256:
                problems.append(f"{file.path} has changed since it was made")
    if not problems and run.store.read(CHECKSUMS_PATH) != checksums(receipt.files, f"{FOLDER}/"):
        problems.append(f"{CHECKSUMS_PATH} does not list the files of the pack")
    return problems


def fingerprints(run: Run, survey: Survey, verdicts: Verdicts) -> Fingerprints:
    """Both hashes, from the cells, the settings, the verdicts where there are any, and VERSION."""
    cells = {name: [survey.receipts[name][shard].sha256 for shard in range(survey.shards)] for name in survey.receipts}
    shape = {name: dump(run.config)["pack"][name] for name in ("split", "split_by", "rows_per_file", "rows_per_group")}
    inputs = {"version": VERSION, "plan": run.grid.plan.fingerprint, "cells": cells, "shape": shape, "space": attribute_values(run)}
    inputs |= {"verdicts": verdicts.fingerprint} if verdicts else {}
    rows = hashlib.sha256(canonical(inputs)).hexdigest()
    return Fingerprints(rows, hashlib.sha256(canonical([rows, result_settings(run.config)])).hexdigest())


def _unfinished_stage(run: Run, survey: Survey) -> str:
    """A sentence about the first stage that is not finished; empty if all are."""
    for name in run.grid.stages:
        if left := survey.shards - survey.count(name, "done"):
            return f"{left} of {survey.shards} shards of the stage {name} are not done"
    return ""


def _nothing_kept(run: Run, statistics: RunStatistics) -> str:
    """The error sentence if every row was refused or failed."""
    causes = Counter({f"{name}: {rule}": rows for name, stage in statistics.stages.items() for rule, rows in stage.refused.items()})
    causes.update({f"{name}: failed": stage.failed for name, stage in statistics.stages.items() if stage.failed})
    commonest = ", ".join(f"{cause} {rows:,}" for cause, rows in causes.most_common(3))
    return (
        f"none of the {statistics.rows:,} rows of {run.store.url} was kept ({commonest}), so there is nothing to pack; "
        f"change the thresholds filter.* or crop.*, after `mals filter {run.store.url} --preview` has shown what each refuses"
    )


def _check_split_names(run: Run) -> None:
    for name in run.config.pack.split:
        if not re.fullmatch(r"\w+", name):
            raise UserError(f"pack.split: {name!r} is no name for a split; use letters, digits and _")


def _remove_other_files(run: Run, layout: Layout) -> None:
    """Remove the files and receipts of an earlier pack that have other names."""
    paths = {file.path for file in layout.files}
    names = paths | {file.receipt_name for file in layout.files}
    for folder in (f"{FOLDER}/data", f"{FOLDER}/{REJECTED}", "pack"):
        for name in run.store.list(folder):
            if name not in names:
                run.store.remove(name)


def _packed_file(run: Run, layout: Layout, file: RunFile, rows: PackedRows, fingerprint: str, again: bool) -> FileReceipt:
    """The receipt of one Parquet file, which is written unless it is there and complete."""
    receipt = None if again else finished_file(run.store, file, fingerprint)
    if receipt:
        return receipt
    tables = (rows.read(shard, pa.array(positions)) for shard, positions in layout.positions(file))
    rows_per_group = REJECTED_ROWS_PER_GROUP if file.config_name == REJECTED else run.config.pack.rows_per_group
    return write_packed_file(run.store, file, tables, rows.schema, fingerprint, rows_per_group=rows_per_group)


def _write_texts(
    run: Run, survey: Survey, counts: DatasetCounts, columns: dict[str, Columns], files: list[FileReceipt]
) -> list[FileRecord]:
    """Write the data card and croissant.json."""
    from mals.dataset import card, croissant

    facts = card.DatasetCardFacts(
        config=run.config,
        counts=counts,
        columns=columns,
        files=files,
        attribute_values=attribute_values(run),
        licences=card.licence_chain(run.config),
        versions=card.versions(survey),
        agree=card.agree_params(survey),
        benchmarks=card.benchmarks(survey),
    )
    texts = {f"{FOLDER}/README.md": card.render(facts), f"{FOLDER}/croissant.json": croissant.render(facts)}
    return [_commit(run, path, text.encode()) for path, text in texts.items()]


def _commit(run: Run, path: str, data: bytes) -> FileRecord:
    run.store.commit(path, data)
    return record_of(path, data)


def _pack_receipt(counts: DatasetCounts, parquet: list[FileReceipt], files: list[FileRecord], fingerprint: str) -> PackReceipt:
    splits: Counter[str] = Counter()
    for file in parquet:
        if file.config_name == "default":
            splits[file.split] += file.rows
    return PackReceipt(
        version=VERSION,
        fingerprint=fingerprint,
        planned=counts.planned,
        kept=counts.kept,
        refused=counts.refused,
        failed=counts.failed,
        splits=dict(splits),
        origins=counts.origins.images,
        without_head=counts.heads.without if counts.heads else None,
        bytes=sum(file.bytes for file in files),
        files=tuple(files),
    )


def _size_problems(run: Run, receipt: PackReceipt) -> list[str]:
    """Files of a pack that are missing or of another size than their receipt says, and Parquet files that do not belong to it."""
    folders = (FOLDER, f"{FOLDER}/data", f"{FOLDER}/{REJECTED}")
    sizes = {name: size for folder in folders for name, size in run.store.list(folder).items()}
    expected = {file.path: file.bytes for file in receipt.files}
    problems = [f"{path} is missing" for path in expected if path not in sizes]
    problems += [f"{p} has {sizes[p]:,} bytes, not {size:,}" for p, size in expected.items() if p in sizes and sizes[p] != size]
    return problems + [f"{path} does not belong to the pack" for path in sizes if path not in expected and path.endswith(".parquet")]
