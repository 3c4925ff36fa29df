"""Statistics of a run for its data card, counted from the plan and the cells; pixels are not read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mals.dataset.features import GENERATOR_FEATURES
from mals.dataset.splits import hash64, hashes64
from mals.grid.cells import Damaged, Grid
from mals.grid.ids import IdHashes

COLUMNS = (
    "person", "prompt_cut", "attributes", "attribute_source", "wanted", "phash", "crop_width", "crop_height", "caption", "captions",
    "agreement_captions", "agreement_wanted", "nsfw_score", "prompt",
)  # fmt: skip


@dataclass
class StageCounts:
    """What one stage did with the rows that reached it."""

    processed: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # first rule that refused a row -> rows
    fired: Counter[str] = field(default_factory=Counter)  # every rule that fired -> rows
    failed: int = 0

    def sorted(self) -> "StageCounts":
        """The same counts: rules by the rows that they refused, the most first."""
        refused = Counter(dict(sorted(self.refused.items(), key=lambda item: (-item[1], item[0]))))
        return StageCounts(self.processed, refused, Counter(dict(sorted(self.fired.items()))), self.failed)


@dataclass(frozen=True)
class AttributeCounts:
    """Rows by the value of one attribute: [first value, second value, unknown]."""

    name: str
    planned: list[int]  # as the plan wants it
    planned_kept: list[int]  # of these, the kept rows
    kept: list[int]  # as the label stage found it, of kept rows
    sources: dict[str, int]  # how the value of kept rows is known -> rows


@dataclass(frozen=True)
class CaptionCounts:
    """Captions of kept rows."""

    distinct: int
    words: int
    repeating: int  # rows with a caption from which a repetition was removed


@dataclass(frozen=True)
class Spread:
    """Range and median of a whole number."""

    least: int
    median: int
    greatest: int


@dataclass(frozen=True, kw_only=True)
class DatasetCounts:
    """All numbers of the data card that come from the plan and the cells."""

    planned: int
    prompts_cut: int | None  # planned rows whose prompt is too long; None if tokens were not counted
    kept: int
    refused: int
    failed: int
    stages: dict[str, StageCounts]
    attributes: list[AttributeCounts]
    generators: list[dict[str, Any]]  # settings of the generator, and the `rows` made with them
    captioners: list[dict[str, Any]]  # model, revision, number of captions
    captions: CaptionCounts
    same_phash: int  # kept rows that share their perceptual hash with another one
    identities: int
    width: Spread | None  # pixels; None if no stage adds it
    height: Spread | None
    agreement: dict[str, float]  # column -> mean
    unchecked: int  # kept rows without a safety score


@dataclass
class RunStatistics:
    """Sums over the small columns of a run, one shard after the other."""

    attributes: Sequence[str]
    stage_names: Sequence[str]
    rows: int = 0
    prompts_cut: int | None = None
    stages: dict[str, StageCounts] = field(default_factory=dict)
    units: list[NDArray[np.uint64]] = field(default_factory=list)  # for each shard: [kept rows] hash of the unit that is never divided
    kept: list[NDArray[np.bool_]] = field(default_factory=list)  # for each shard: [rows] whether a row is kept
    ids: IdHashes = field(default_factory=IdHashes)
    planned: NDArray[np.int64] = field(init=False)  # [A, 3] planned rows by value 0, 1, unknown
    planned_kept: NDArray[np.int64] = field(init=False)  # [A, 3] kept ones of these
    labels: NDArray[np.int64] = field(init=False)  # [A, 3] kept rows by value
    sources: list[Counter[str]] = field(init=False)  # for each attribute: how the value of kept rows is known
    generators: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    captioners: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    repeating: int = 0
    words: int = 0
    captions: list[NDArray[np.uint64]] = field(default_factory=list)
    phashes: list[NDArray[np.uint64]] = field(default_factory=list)
    identities: set[int] = field(default_factory=set)
    widths: Counter[int] = field(default_factory=Counter)
    heights: Counter[int] = field(default_factory=Counter)
    agreement: dict[str, tuple[float, int]] = field(default_factory=dict)  # column -> (sum, rows)
    unchecked: int = 0

    def __post_init__(self) -> None:
        shape = (len(self.attributes), 3)
        self.planned, self.planned_kept, self.labels = (np.zeros(shape, np.int64) for _ in range(3))
        self.sources = [Counter() for _ in self.attributes]
        self.stages = {name: StageCounts() for name in self.stage_names}

    def add(self, table: pa.Table, by_person: bool) -> None:
        """Count the next shard."""
        ids = table["id"].to_pylist()
        self.rows += len(ids)
        self.ids.add(ids)
        is_kept = self._add_stages(table)
        self.kept.append(is_kept)
        kept = table.filter(pa.array(is_kept))
        self.units.append(_units(kept, by_person))
        if "prompt_cut" in table.column_names:
            count = pc.sum(table["prompt_cut"]).as_py()
            self.prompts_cut = self.prompts_cut if count is None else (self.prompts_cut or 0) + count
        self._add_attributes(table, kept, is_kept)
        self._add_images(kept)
        self._add_captions(kept)

    def _add_stages(self, table: pa.Table) -> NDArray[np.bool_]:
        """Count refusals and failures of each stage; [N] whether a row is kept."""
        refused, failed = table["refused_by"].to_pylist(), table["failed_in"].to_pylist()
        for stage, rules in zip(refused, table["reject"].to_pylist(), strict=True):
            if stage is not None:
                self.stages[stage].refused[rules[0]] += 1
                self.stages[stage].fired.update(set(rules))
        left = len(refused)
        last_stages = [refuser or failer for refuser, failer in zip(refused, failed, strict=True)]
        stopped, failures = Counter(last_stages), Counter(failed)
        for name, counts in self.stages.items():
            counts.processed += left
            counts.failed += failures[name]
            left -= stopped[name]
        return np.array([stage is None for stage in last_stages], bool)

    def _add_attributes(self, table: pa.Table, kept: pa.Table, is_kept: NDArray[np.bool_]) -> None:
        count = len(self.attributes)
        if "wanted" in table.column_names:
            has_wanted = table["wanted"].is_valid().to_numpy()
            values = label_matrix(table["wanted"], count)
            self.planned += count_values(values[has_wanted])
            self.planned_kept += count_values(values[has_wanted & is_kept])
        if "attributes" in kept.column_names:
            self.labels += count_values(label_matrix(kept["attributes"], count))
        if "attribute_source" in kept.column_names and len(kept):
            sources = np.array(kept["attribute_source"].combine_chunks().flatten().to_pylist(), object).reshape(-1, count)
            for number, counter in enumerate(self.sources):
                counter.update(sources[:, number].tolist())

    def _add_images(self, kept: pa.Table) -> None:
        settings = [name for name in GENERATOR_FEATURES if name in kept.column_names]
        if settings:
            self.generators.update(zip(*(kept[name].to_pylist() for name in settings), strict=True))
        for name, counter in (("crop_width", self.widths), ("crop_height", self.heights)):
            if name in kept.column_names:
                counter.update(kept[name].to_pylist())
        if "phash" in kept.column_names:
            self.phashes.append(kept["phash"].to_numpy().astype(np.uint64))
        if "person" in kept.column_names:
            self.identities.update(hash64(person) for person in kept["person"].to_pylist() if person is not None)
        if "nsfw_score" in kept.column_names:
            self.unchecked += kept["nsfw_score"].null_count

    def _add_captions(self, kept: pa.Table) -> None:
        if "caption" in kept.column_names:
            captions = kept["caption"].to_pylist()
            self.words += sum(len((caption or "").split()) for caption in captions)
            self.captions.append(hashes64(caption or "" for caption in captions))
        if "captions" in kept.column_names:
            for row in kept["captions"].to_pylist():
                self.captioners.update((caption["model"], caption["revision"]) for caption in row)
                self.repeating += any((caption["repetition"] or 0) > 0 for caption in row)
        for name in ("agreement_captions", "agreement_wanted"):
            if name in kept.column_names:
                total, rows = self.agreement.get(name, (0.0, 0))
                valid = kept[name].drop_null()
                self.agreement[name] = (total + (pc.sum(valid.cast(pa.float64())).as_py() or 0.0), rows + len(valid))

    def check_ids(self, planned: int) -> None:
        """Raise Damaged if the plan's files hold another number of rows, or an id twice."""
        if self.rows != planned:
            raise Damaged(f"the plan says {planned:,} rows and its files hold {self.rows:,}")
        if not self.ids.distinct():
            raise Damaged("the plan holds an id twice")

    @property
    def all_units(self) -> NDArray[np.uint64]:
        """[kept rows] the hash of the unit of each."""
        return _concatenated(self.units)

    def counts(self) -> DatasetCounts:
        """The finished counts."""
        names = [name for name in GENERATOR_FEATURES if self.generators]
        phashes = np.unique(_concatenated(self.phashes), return_counts=True)[1]
        return DatasetCounts(
            planned=self.rows,
            prompts_cut=self.prompts_cut,
            kept=int(sum(mask.sum() for mask in self.kept)),
            refused=sum(sum(stage.refused.values()) for stage in self.stages.values()),
            failed=sum(stage.failed for stage in self.stages.values()),
            stages={name: stage.sorted() for name, stage in self.stages.items()},
            attributes=[self._attribute_counts(number) for number in range(len(self.attributes))],
            generators=[{**dict(zip(names, settings, strict=False)), "rows": rows} for settings, rows in _sorted(self.generators)],
            captioners=[{"model": model, "revision": revision, "captions": rows} for (model, revision), rows in _sorted(self.captioners)],
            captions=CaptionCounts(len(np.unique(_concatenated(self.captions))), self.words, self.repeating),
            same_phash=int(phashes[phashes > 1].sum()),
            identities=len(self.identities),
            width=_spread(self.widths),
            height=_spread(self.heights),
            agreement={name: total / rows for name, (total, rows) in sorted(self.agreement.items()) if rows},
            unchecked=self.unchecked,
        )

    def _attribute_counts(self, number: int) -> AttributeCounts:
        return AttributeCounts(
            name=self.attributes[number],
            planned=self.planned[number].tolist(),
            planned_kept=self.planned_kept[number].tolist(),
            kept=self.labels[number].tolist(),
            sources=dict(sorted(self.sources[number].items())),
        )


def gather(grid: Grid, attributes: Sequence[str], planned: Sequence[str], by_person: bool) -> RunStatistics:
    """Statistics of every shard of a finished grid.

    `planned`: the columns of the plan; `by_person`: whether rows of one identity are one unit. Raises Damaged if plan and cells disagree.
    """
    added = {field.name for stage in grid.stages.values() for field in stage.adds}
    names = [name for name in (*COLUMNS, *GENERATOR_FEATURES) if name in added or (name in planned and name != "caption")]
    statistics = RunStatistics(attributes, list(grid.stages))
    for shard in range(grid.shards):
        statistics.add(grid.table(shard, names), by_person)
    statistics.check_ids(grid.plan.rows)
    return statistics


def label_matrix(column: pa.ChunkedArray, width: int) -> NDArray[np.int8]:
    """[N, width] values in {-1, 0, 1} of a list column; a null row is all -1."""
    matrix = np.full((len(column), width), -1, np.int8)
    valid = column.is_valid().to_numpy()
    if valid.any():
        matrix[valid] = column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return matrix


def count_values(values: NDArray[np.int8]) -> NDArray[np.int64]:
    """[A, 3] rows with 0, 1 and unknown (-1) in each column of [N, A]."""
    return np.stack([(values == value).sum(0) for value in (0, 1, -1)], 1)


def _units(kept: pa.Table, by_person: bool) -> NDArray[np.uint64]:
    ids = kept["id"].to_pylist()
    if not by_person or "person" not in kept.column_names:
        return hashes64(ids)
    persons = kept["person"].to_pylist()
    return hashes64(f"id {row}" if person is None else f"person {person}" for row, person in zip(ids, persons, strict=True))


def _concatenated(arrays: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint64)


def _sorted(counter: Counter[tuple[Any, ...]]) -> list[tuple[tuple[Any, ...], int]]:
    """The commonest first, equal ones in the order of their texts."""
    return sorted(counter.items(), key=lambda item: (-item[1], str(item[0])))


def _spread(counter: Counter[int]) -> Spread | None:
    if not counter:
        return None
    values, counts = zip(*sorted(counter.items()), strict=True)
    middle = int(np.searchsorted(np.cumsum(counts), sum(counts) / 2))
    return Spread(values[0], values[middle], values[-1])
