"""From a finished grid to the data set that people load: Parquet files, the card, croissant.json, SHA256SUMS.

`dataset/` is a function of the cells and the settings: it holds no time, host, path or number of workers, so that a pack that was killed
and repeated has the bytes of one that was not. Each file is committed whole under a name known beforehand, its receipt (`pack/…json`) after
it; SHA256SUMS comes last, and then `pack.json`, by which a finished pack is known.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mals.config import dump
from mals.dataset import splits
from mals.dataset.census import Census, census
from mals.dataset.features import Columns, kept_columns, rejected_columns
from mals.dataset.rows import Reader
from mals.errors import UserError
from mals.grid.cells import Damaged, Grid, Survey
from mals.grid.lock import coordinator
from mals.grid.receipt import canonical
from mals.grid.run import Run

VERSION = 1  # raised by hand when the packed bytes change
RECEIPT = "pack.json"
FOLDER = "dataset"
SUMS = f"{FOLDER}/SHA256SUMS"
_FOLDERS = (FOLDER, f"{FOLDER}/data", f"{FOLDER}/rejected")
REJECTED = "rejected"
REJECTED_ROWS = 65_536  # rows a file of the rejected config: half a kilobyte each
REJECTED_GROUP = 4096
MOST_BYTES = 96_000_000  # of a row group; `datasets` and the hub's viewer want less than 100 MB
CHUNKING = {
    "min_chunk_size": 262_144,
    "max_chunk_size": 1_048_576,
    "norm_level": 0,
}  # as `datasets` writes it: unchanged pages stay unchanged
Progress = Callable[[int, int], None]  # files done, files in all


@dataclass(frozen=True)
class Part:
    """One Parquet file to be: the rows [first, last) of those that go to one destination."""

    path: str
    config: str  # "default" or "rejected"
    split: str
    number: int  # of the destination
    first: int
    last: int


@dataclass
class Layout:
    """Where each row goes: a number a row of each shard (-1: the rejected config), and the files that follow from it."""

    numbers: list[NDArray[np.int8]]  # a shard
    parts: list[Part]
    _ends: dict[int, NDArray[np.int64]] = field(default_factory=dict)  # destination -> its rows up to and with each shard

    def places(self, part: Part) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The shards that a file takes rows from, with the places of those rows in them."""
        ends = self._ends.get(part.number)
        if ends is None:
            ends = self._ends[part.number] = np.cumsum([np.count_nonzero(numbers == part.number) for numbers in self.numbers])
        for shard in range(int(np.searchsorted(ends, part.first, side="right")), len(ends)):
            found = np.flatnonzero(self.numbers[shard] == part.number)
            seen = int(ends[shard]) - len(found)
            if seen >= part.last:
                return
            if len(found):
                yield shard, found[max(0, part.first - seen) : part.last - seen]


def pack(run: Run, again: bool = False, progress: Progress | None = None) -> dict[str, Any]:
    """Make `dataset/` and return its receipt, with `new` telling whether there was anything to do; `again` makes every file anew.

    Raises UserError where shards are not done yet, Damaged where a cell does not hold what it should.
    """
    with coordinator(run.store):
        run.store.sweep()
        return _pack(run, again, progress)


def _pack(run: Run, again: bool, progress: Progress | None) -> dict[str, Any]:
    survey = run.grid.survey()
    _require_done(run, survey)
    wanted = fingerprints(run, survey)
    receipt = read_receipt(run)
    if receipt and not again and receipt["fingerprint"] == wanted["fingerprint"] and not _sizes_off(run, receipt):
        return receipt | {"new": False}
    columns = columns_of(run)
    names = list(labels_of(run))
    _check_splits(run)
    found = census(run.grid, names, planned_columns(run.grid), run.config.pack.split_by == "person")
    if not len(found.all_units):
        raise UserError(_nothing(run, found))
    layout = lay_out(found, run)
    for name in (RECEIPT, SUMS):
        run.store.remove(name)
    _sweep(run, layout)
    files = [_file(run, layout, part, columns, wanted["rows"], again, progress, at) for at, part in enumerate(layout.parts)]
    reconcile(run, layout)
    files += _texts(run, survey, found, columns, files)
    _commit_sums(run, files)
    made = _receipt(run, found, files, wanted)
    run.store.commit(RECEIPT, json.dumps(made, indent=1, sort_keys=True).encode())
    return made | {"new": True}


def check(run: Run, deep: bool = False) -> list[str]:
    """What is off with the packed data set, a sentence each; `deep` re-hashes every file."""
    receipt = read_receipt(run)
    if receipt is None:
        return ["the run is not packed"]
    survey = run.grid.survey()
    problems = [_not_done(run, survey)] if _not_done(run, survey) else []
    if not problems and receipt["fingerprint"] != fingerprints(run, survey)["fingerprint"]:
        problems.append("the pack is older than the run's cells or settings")
    problems += _sizes_off(run, receipt)
    if deep and not problems:
        for file in receipt["files"]:
            if run.store.sha256(file["path"]) != file["sha256"]:
                problems.append(f"{file['path']} has other bytes than when it was made")
    if not problems and run.store.read(SUMS) != sums(receipt["files"]):
        problems.append(f"{SUMS} does not list the files of the pack")
    return problems


def read_receipt(run: Run) -> dict[str, Any] | None:
    """The receipt of the last finished pack; None where there is none."""
    try:
        return json.loads(run.store.read(RECEIPT))
    except (FileNotFoundError, ValueError):
        return None


def fingerprints(run: Run, survey: Survey) -> dict[str, str]:
    """What the Parquet files (`rows`) and the whole folder (`fingerprint`) depend on: the cells, the settings and this file's version."""
    cells = {name: [survey.receipts[name][shard].sha256 for shard in range(survey.shards)] for name in survey.receipts}
    shape = {name: dump(run.config)["pack"][name] for name in ("split", "split_by", "rows_per_file", "rows_per_group")}
    facts = {"version": VERSION, "plan": run.plan["fingerprint"], "cells": cells, "shape": shape, "space": labels_of(run)}
    rows = hashlib.sha256(canonical(facts)).hexdigest()
    return {"rows": rows, "fingerprint": hashlib.sha256(canonical([rows, card_settings(run)])).hexdigest()}


def card_settings(run: Run) -> dict[str, Any]:
    """The settings that the card tells: all but how the work was spread over a machine."""
    return {name: part for name, part in dump(run.config).items() if name != "run"}


def labels_of(run: Run) -> dict[str, list[str]]:
    """Attribute -> the names of its two values."""
    from mals.attributes import load_space

    return {name: list(values) for name, values in load_space(run.config.label.space).classes.items()}


def planned_columns(grid: Grid) -> list[str]:
    return grid.store.parquet("plan/00000.parquet").schema_arrow.names


def columns_of(run: Run) -> dict[str, Columns]:
    """Config -> its columns."""
    adds = {name: stage.adds for name, stage in run.grid.stages.items()}
    kept = kept_columns(planned_columns(run.grid), adds, labels_of(run))
    return {"default": kept, REJECTED: rejected_columns(kept)}


def _not_done(run: Run, survey: Survey) -> str:
    for name in run.grid.stages:
        if left := survey.shards - survey.count(name, "done"):
            return f"{left} of {survey.shards} shards of the stage {name} are not done"
    return ""


def _require_done(run: Run, survey: Survey) -> None:
    if told := _not_done(run, survey):
        raise UserError(f"{run.store.url} cannot be packed: {told}; `mals run {run.store.url}` finishes them")


def _nothing(run: Run, found: Census) -> str:
    """What to say where every row was refused or failed."""
    gone = Counter({f"{name}: {why}": rows for name, flow in found.flows.items() for why, rows in flow.refused.items()})
    gone.update({f"{name}: failed": flow.failed for name, flow in found.flows.items() if flow.failed})
    worst = ", ".join(f"{why} {rows:,}" for why, rows in gone.most_common(3))
    return (
        f"none of the {found.rows:,} rows of {run.store.url} was kept ({worst}), so there is nothing to pack; look at the rules' thresholds"
    )


def _check_splits(run: Run) -> None:
    for name in run.config.pack.split:
        if not re.fullmatch(r"\w+", name):
            raise UserError(f"pack.split: {name!r} is no name for a split; use letters, digits and _")


def lay_out(found: Census, run: Run) -> Layout:
    """Destinations of all rows, and the files that hold them; none where there are no rows: `datasets` cannot load an empty one."""
    settings = run.config.pack
    numbers = splits.assign(found.all_units, settings.split)
    shards, seen = [], 0
    for kept in found.kept:
        mine = np.full(len(kept), -1, np.int8)
        mine[kept] = numbers[seen : seen + int(kept.sum())]
        seen += int(kept.sum())
        shards.append(mine)
    parts = []
    for number, split in enumerate(settings.split):
        rows = int((numbers == number).sum())
        parts += _parts("data", "default", split, number, rows, settings.rows_per_file)
    parts += _parts(REJECTED, REJECTED, "train", -1, found.rows - len(numbers), REJECTED_ROWS)
    return Layout(shards, parts)


def _parts(folder: str, config: str, split: str, number: int, rows: int, most: int) -> list[Part]:
    files = -(-rows // most)
    path = f"{FOLDER}/{folder}/{split}-{{:05d}}-of-{files:05d}.parquet"
    return [Part(path.format(at), config, split, number, at * most, min(rows, (at + 1) * most)) for at in range(files)]


def _note(path: str) -> str:
    """The name of a file's own receipt."""
    return f"pack/{path.removeprefix(FOLDER + '/').replace('/', '-')}.json"


def _sweep(run: Run, layout: Layout) -> None:
    """Remove what another pack left."""
    paths = {part.path for part in layout.parts}
    for folder in (f"{FOLDER}/data", f"{FOLDER}/{REJECTED}"):
        for name in run.store.list(folder):
            if name not in paths:
                run.store.remove(name)
    notes = {_note(path) for path in paths}
    for name in run.store.list("pack"):
        if name not in notes:
            run.store.remove(name)


def _file(
    run: Run, layout: Layout, part: Part, columns: dict[str, Columns], fingerprint: str, again: bool, progress: Progress | None, at: int
) -> dict[str, Any]:
    """One Parquet file, made or found whole; what its receipt says."""
    if progress:
        progress(at, len(layout.parts))
    note = _note(part.path)
    try:
        found = json.loads(run.store.read(note))
    except (FileNotFoundError, ValueError):
        found = {}
    if not again and found.get("fingerprint") == fingerprint and _holds(run, found):
        return found
    run.store.remove(note)
    reader = Reader(run.grid, columns[part.config])
    group = REJECTED_GROUP if part.config == REJECTED else run.config.pack.rows_per_group
    with run.store.writer(part.path) as path:
        memory = write(path, (reader.rows(shard, pa.array(places)) for shard, places in layout.places(part)), reader.schema, group)
        size = path.stat().st_size
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    made = {"path": part.path, "bytes": size, "sha256": sha256, "config": part.config, "split": part.split}
    made |= {"rows": part.last - part.first, "memory": memory, "fingerprint": fingerprint}
    run.store.commit(note, json.dumps(made, indent=1).encode())
    return made


def _holds(run: Run, file: dict[str, Any]) -> bool:
    return run.store.size(file["path"]) == file["bytes"] and run.store.sha256(file["path"]) == file["sha256"]


def write(path: Any, tables: Iterator[pa.Table], schema: pa.Schema, group: int) -> int:
    """Write tables as one Parquet file of row groups of `group` rows (fewer where pictures are large); bytes that they take in memory."""
    memory = 0
    with pq.ParquetWriter(path, schema, **writer_settings(schema)) as writer:
        for table in _groups(tables, schema, group):
            writer.write_table(table, row_group_size=max(1, len(table)))
            memory += table.nbytes
        writer.add_key_value_metadata({"content_defined_chunking": json.dumps(CHUNKING)})
    return memory


def writer_settings(schema: pa.Schema) -> dict[str, Any]:
    """JPEG bytes as they are, all else snappy with dictionaries; pages that can be found, and stay the same when rows are added."""
    pictures = {"image.bytes", "image.path"} if "image" in schema.names else set()
    leaves = [leaf for field in schema for leaf in _leaves(field.name, field.type)]
    return {
        "compression": {leaf: "none" if leaf in pictures else "snappy" for leaf in leaves},
        "use_dictionary": [leaf for leaf in leaves if leaf not in pictures],
        "column_encoding": dict.fromkeys(sorted(pictures), "PLAIN"),
        "write_page_index": True,
        "use_content_defined_chunking": CHUNKING,
    }


def _leaves(path: str, kind: pa.DataType) -> list[str]:
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{path}.{field.name}", field.type)]
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return _leaves(f"{path}.list.element", kind.value_type)
    return [path]


def _groups(tables: Iterator[pa.Table], schema: pa.Schema, group: int) -> Iterator[pa.Table]:
    """The same rows in tables of `group` rows, or of MOST_BYTES of pictures."""
    rest = schema.empty_table()
    for table in tables:
        rest = pa.concat_tables([rest, table])
        while cut := _cut(rest, group):
            yield rest.slice(0, cut).combine_chunks()
            rest = rest.slice(cut)
    while len(rest):
        cut = _cut(rest, len(rest)) or len(rest)
        yield rest.slice(0, cut).combine_chunks()
        rest = rest.slice(cut)


def _cut(table: pa.Table, group: int) -> int:
    """Rows of the next row group; 0 where more must come first."""
    if "image" in table.column_names and table.nbytes > MOST_BYTES:
        sizes = np.cumsum([len(image["bytes"]) for image in table["image"].slice(0, group).to_pylist()])
        fits = int(np.searchsorted(sizes, MOST_BYTES, side="right"))
        if fits < len(sizes):
            return max(1, fits)
    return group if len(table) >= group else 0


def reconcile(run: Run, layout: Layout) -> None:
    """Hold the ids of the files as written against the plan's, in order: each is in one file, once; raises Damaged."""
    streams = [_ids(run, [part.path for part in layout.parts if part.number == n]) for n in sorted({part.number for part in layout.parts})]
    heads = [next(stream, None) for stream in streams]
    for shard in range(run.grid.shards):
        for row in run.grid.planned(shard, ["id"])["id"].to_pylist():
            at = next((i for i, head in enumerate(heads) if head == row), None)
            if at is None:
                raise Damaged(f"the row {row} of the plan is not where it should be in the packed files")
            heads[at] = next(streams[at], None)
    if left := [head for head in heads if head is not None]:
        raise Damaged(f"the packed files hold the row {left[0]} more than once, or without a plan")


def _ids(run: Run, paths: list[str]) -> Iterator[str]:
    for path in paths:
        for batch in run.store.parquet(path).iter_batches(columns=["id"]):
            yield from batch["id"].to_pylist()


def _texts(run: Run, survey: Survey, found: Census, columns: dict[str, Columns], files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The card and croissant.json."""
    from mals.dataset import card, croissant

    facts = card.Facts(run=run, survey=survey, counts=found.facts(), columns=columns, files=files, labels=labels_of(run))
    made = []
    for path, text in ((f"{FOLDER}/README.md", card.render(facts)), (f"{FOLDER}/croissant.json", croissant.render(facts))):
        data = text.encode()
        run.store.commit(path, data)
        made.append({"path": path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    return made


def sums(files: list[dict[str, Any]]) -> bytes:
    """What `sha256sum -c` reads."""
    named = {file["path"].removeprefix(f"{FOLDER}/"): file["sha256"] for file in files if file["path"] != SUMS}
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(named.items())).encode()


def _commit_sums(run: Run, files: list[dict[str, Any]]) -> None:
    data = sums(files)
    run.store.commit(SUMS, data)
    files.append({"path": SUMS, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})


def _receipt(run: Run, found: Census, files: list[dict[str, Any]], wanted: dict[str, str]) -> dict[str, Any]:
    facts = found.facts()
    rows: dict[str, int] = {}
    for file in files:
        if file.get("config") == "default":
            rows[file["split"]] = rows.get(file["split"], 0) + file["rows"]
    return {
        "v": 1,
        "version": VERSION,
        "fingerprint": wanted["fingerprint"],
        "planned": facts["planned"],
        "kept": facts["kept"],
        "refused": facts["refused"],
        "failed": facts["failed"],
        "splits": rows,
        "bytes": sum(file["bytes"] for file in files),
        "files": [{name: file[name] for name in ("path", "bytes", "sha256", "rows") if name in file} for file in files],
    }


def _sizes_off(run: Run, receipt: dict[str, Any]) -> list[str]:
    """Files of a pack that are missing or of another size than when they were made, or that do not belong to it."""
    sizes = {name: size for folder in _FOLDERS for name, size in run.store.list(folder).items()}
    wanted = {file["path"]: file["bytes"] for file in receipt["files"]}
    problems = [f"{path} is missing" for path in wanted if path not in sizes]
    problems += [f"{p} has {sizes[p]:,} bytes, not {size:,}" for p, size in wanted.items() if p in sizes and sizes[p] != size]
    return problems + [f"{path} is not of the pack" for path in sizes if path not in wanted and path.endswith(".parquet")]
