"""What a data set card tells about a run, counted from the plan and the cells; pixels are not read."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mals.dataset.features import GENERATOR
from mals.dataset.splits import key, keys
from mals.grid.cells import Damaged, Grid

KEPT, NOT_KEPT = 0, -1
COLUMNS = (
    "person", "prompt_cut", "attributes", "attribute_source", "wanted", "phash", "crop_width", "crop_height", "caption", "captions",
    "agreement_captions", "agreement_wanted", "nsfw_score", "prompt",
)  # fmt: skip


@dataclass
class Flow:
    """What one stage did with the rows that reached it."""

    worked: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # first reason -> rows
    fired: Counter[str] = field(default_factory=Counter)  # every rule that fired -> rows
    failed: int = 0


@dataclass
class Census:
    """One pass over the small columns of a run."""

    attributes: Sequence[str]
    stages: Sequence[str]
    rows: int = 0
    prompts_cut: int | None = None  # planned rows whose prompt is too long; None where nobody counted tokens
    flows: dict[str, Flow] = field(default_factory=dict)
    units: list[NDArray[np.uint64]] = field(default_factory=list)  # a shard: the hash of what is not to be divided, of each kept row
    kept: list[NDArray[np.bool_]] = field(default_factory=list)  # a shard: whether each row is kept
    ids: list[NDArray[np.uint64]] = field(default_factory=list)
    wanted: NDArray[np.int64] = field(init=False)  # [A, 3] planned rows by value 0, 1, unknown
    wanted_kept: NDArray[np.int64] = field(init=False)  # [A, 3] of them the kept
    labels: NDArray[np.int64] = field(init=False)  # [A, 3] kept rows by value
    sources: list[Counter[str]] = field(init=False)  # an attribute: how the value of kept rows is known
    generators: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    captioners: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    repeating: int = 0
    words: int = 0
    captions: list[NDArray[np.uint64]] = field(default_factory=list)
    phashes: list[NDArray[np.uint64]] = field(default_factory=list)
    persons: set[int] = field(default_factory=set)
    widths: Counter[int] = field(default_factory=Counter)
    heights: Counter[int] = field(default_factory=Counter)
    agreement: dict[str, tuple[float, int]] = field(default_factory=dict)  # column -> (sum, rows)
    unchecked: int = 0  # kept rows without a safety score

    def __post_init__(self) -> None:
        shape = (len(self.attributes), 3)
        self.wanted, self.wanted_kept, self.labels = (np.zeros(shape, np.int64) for _ in range(3))
        self.sources = [Counter() for _ in self.attributes]
        self.flows = {name: Flow() for name in self.stages}

    def add(self, table: pa.Table, by_person: bool) -> None:
        """One shard, in order."""
        ids = table["id"].to_pylist()
        self.rows += len(ids)
        self.ids.append(keys(ids))
        kept = self._follow(table)
        self.kept.append(kept)
        mine = table.filter(pa.array(kept))
        self.units.append(_units(mine, by_person))
        if "prompt_cut" in table.column_names:
            cut = pc.sum(table["prompt_cut"]).as_py()
            self.prompts_cut = self.prompts_cut if cut is None else (self.prompts_cut or 0) + cut
        self._attributes(table, mine, kept)
        self._pictures(mine)
        self._words(mine)

    def _follow(self, table: pa.Table) -> NDArray[np.bool_]:
        """Count what each stage refused and failed on; which rows came through."""
        refused, failed = table["refused_by"].to_pylist(), table["failed_in"].to_pylist()
        for by, reasons in zip(refused, table["reject"].to_pylist(), strict=True):
            if by is not None:
                self.flows[by].refused[reasons[0]] += 1
                self.flows[by].fired.update(set(reasons))
        left = len(refused)
        stops = Counter(by or in_ for by, in_ in zip(refused, failed, strict=True))
        failures = Counter(failed)
        for name, flow in self.flows.items():
            flow.worked += left
            flow.failed += failures[name]
            left -= stops[name]
        return np.array([by is None and in_ is None for by, in_ in zip(refused, failed, strict=True)], bool)

    def _attributes(self, table: pa.Table, mine: pa.Table, kept: NDArray[np.bool_]) -> None:
        count = len(self.attributes)
        if "wanted" in table.column_names:
            asked = table["wanted"].is_valid().to_numpy()
            values = matrix(table["wanted"], count)
            self.wanted += tally(values[asked])
            self.wanted_kept += tally(values[asked & kept])
        if "attributes" in mine.column_names:
            self.labels += tally(matrix(mine["attributes"], count))
        if "attribute_source" in mine.column_names and len(mine):
            words = np.array(mine["attribute_source"].combine_chunks().flatten().to_pylist(), object).reshape(-1, count)
            for at, counter in enumerate(self.sources):
                counter.update(words[:, at].tolist())

    def _pictures(self, mine: pa.Table) -> None:
        facts = [name for name in GENERATOR if name in mine.column_names]
        if facts:
            self.generators.update(zip(*(mine[name].to_pylist() for name in facts), strict=True))
        for name, counter in (("crop_width", self.widths), ("crop_height", self.heights)):
            if name in mine.column_names:
                counter.update(mine[name].to_pylist())
        if "phash" in mine.column_names:
            self.phashes.append(mine["phash"].to_numpy().astype(np.uint64))
        if "person" in mine.column_names:
            self.persons.update(key(person) for person in mine["person"].to_pylist() if person is not None)
        if "nsfw_score" in mine.column_names:
            self.unchecked += mine["nsfw_score"].null_count

    def _words(self, mine: pa.Table) -> None:
        if "caption" in mine.column_names:
            captions = mine["caption"].to_pylist()
            self.words += sum(len((caption or "").split()) for caption in captions)
            self.captions.append(keys(caption or "" for caption in captions))
        if "captions" in mine.column_names:
            for row in mine["captions"].to_pylist():
                self.captioners.update((caption["model"], caption["revision"]) for caption in row)
                self.repeating += any((caption["repetition"] or 0) > 0 for caption in row)
        for name in ("agreement_captions", "agreement_wanted"):
            if name in mine.column_names:
                total, rows = self.agreement.get(name, (0.0, 0))
                valid = mine[name].drop_null()
                self.agreement[name] = (total + (pc.sum(valid.cast(pa.float64())).as_py() or 0.0), rows + len(valid))

    def check(self, planned: int) -> None:
        """Raise Damaged where the plan's rows were not all met, or an id comes twice."""
        if self.rows != planned:
            raise Damaged(f"the plan says {planned:,} rows and its files hold {self.rows:,}")
        if len(np.unique(_joined(self.ids))) != planned:
            raise Damaged("the plan holds an id twice")

    @property
    def all_units(self) -> NDArray[np.uint64]:
        """[kept rows] the hash of the unit of each."""
        return _joined(self.units)

    def facts(self) -> dict[str, Any]:
        """All counts as JSON values."""
        names = [name for name in GENERATOR if self.generators]
        kept = int(sum(mask.sum() for mask in self.kept))
        phashes = np.unique(_joined(self.phashes), return_counts=True)[1]
        return {
            "planned": self.rows,
            "prompts_cut": self.prompts_cut,
            "kept": kept,
            "refused": sum(sum(flow.refused.values()) for flow in self.flows.values()),
            "failed": sum(flow.failed for flow in self.flows.values()),
            "stages": {name: _flow(flow) for name, flow in self.flows.items()},
            "attributes": list(self._attribute_facts()),
            "generators": [{**dict(zip(names, facts, strict=False)), "rows": rows} for facts, rows in _sorted(self.generators)],
            "captioners": [{"model": facts[0], "revision": facts[1], "captions": rows} for facts, rows in _sorted(self.captioners)],
            "captions": {"distinct": len(np.unique(_joined(self.captions))), "words": self.words, "repeating": self.repeating},
            "same_phash": int(phashes[phashes > 1].sum()),
            "persons": len(self.persons),
            "width": _spread(self.widths),
            "height": _spread(self.heights),
            "agreement": {name: total / rows for name, (total, rows) in sorted(self.agreement.items()) if rows},
            "unchecked": self.unchecked,
        }

    def _attribute_facts(self) -> Iterator[dict[str, Any]]:
        for at, name in enumerate(self.attributes):
            yield {
                "name": name,
                "wanted": self.wanted[at].tolist(),
                "wanted_kept": self.wanted_kept[at].tolist(),
                "labels": self.labels[at].tolist(),
                "sources": dict(sorted(self.sources[at].items())),
            }


def matrix(column: pa.ChunkedArray, width: int) -> NDArray[np.int8]:
    """[N, width] values in {-1, 0, 1} of a list column; a null row is all -1."""
    flat = np.full((len(column), width), -1, np.int8)
    valid = column.is_valid().to_numpy()
    if valid.any():
        flat[valid] = column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return flat


def tally(values: NDArray[np.int8]) -> NDArray[np.int64]:
    """[A, 3] rows with 0, 1 and unknown in each column of [N, A]."""
    return np.stack([(values == wanted).sum(0) for wanted in (0, 1, -1)], 1)


def _units(mine: pa.Table, by_person: bool) -> NDArray[np.uint64]:
    ids = mine["id"].to_pylist()
    if not by_person or "person" not in mine.column_names:
        return keys(ids)
    persons = mine["person"].to_pylist()
    return keys(f"id {row}" if person is None else f"person {person}" for row, person in zip(ids, persons, strict=True))


def _joined(parts: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def _sorted(counter: Counter[tuple[Any, ...]]) -> list[tuple[tuple[Any, ...], int]]:
    """The commonest first, equal ones in the order of their words."""
    return sorted(counter.items(), key=lambda item: (-item[1], str(item[0])))


def _flow(flow: Flow) -> dict[str, Any]:
    refused = dict(sorted(flow.refused.items(), key=lambda item: (-item[1], item[0])))
    return {"worked": flow.worked, "refused": refused, "fired": dict(sorted(flow.fired.items())), "failed": flow.failed}


def _spread(counter: Counter[int]) -> list[int]:
    """Least, median and greatest."""
    if not counter:
        return []
    values, counts = zip(*sorted(counter.items()), strict=True)
    middle = int(np.searchsorted(np.cumsum(counts), sum(counts) / 2))
    return [values[0], values[middle], values[-1]]


def census(grid: Grid, attributes: Sequence[str], planned: Sequence[str], by_person: bool) -> Census:
    """Count every shard of a finished grid; raises Damaged where the plan and its cells do not fit."""
    added = {field.name for stage in grid.stages.values() for field in stage.adds}
    wanted = [name for name in (*COLUMNS, *GENERATOR) if name in added or (name in planned and name != "caption")]
    found = Census(attributes, list(grid.stages))
    for shard in range(grid.shards):
        found.add(grid.table(shard, wanted), by_person)
    found.check(grid.plan["rows"])
    return found
