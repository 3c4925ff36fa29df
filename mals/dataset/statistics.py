"""Statistics of a run for its data card, counted from the plan and the cells; pixels are not read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mals.dataset.diversity import Diversity, DiversitySample
from mals.dataset.features import GENERATOR_FEATURES, GENERATOR_ONLY
from mals.dataset.origins import OriginCounts
from mals.dataset.scores import COLUMNS as SCORE_COLUMNS
from mals.dataset.scores import ScoreCounts, ScoreStatistics
from mals.dataset.splits import hash64, hashes64
from mals.dataset.verdicts import VERDICT, Verdicts
from mals.grid.cells import Damaged, Grid, Survey
from mals.grid.ids import IdHashes
from mals.origin import check_origins

COLUMNS = (
    "person", "prompt_cut", "attributes", "attribute_source", "wanted", "phash", "crop_width", "crop_height", "caption", "captions",
    "agreement_captions", "agreement_wanted", "nsfw_score", "prompt", "origin", "heads_blurred", "reencoded",
    *SCORE_COLUMNS,
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
    requested: list[int]  # planned rows by their requested value
    requested_kept: list[int]  # those of them that were kept
    labelled: list[int]  # kept rows by their label
    sources: dict[str, int]  # how the labels of kept rows are known ("explicit", ...) -> rows


@dataclass(frozen=True)
class GeneratorCounts:
    """Kept images that were generated with the same settings."""

    settings: dict[str, Any]  # names as in GENERATOR_FEATURES
    rows: int


@dataclass(frozen=True)
class CaptionerCounts:
    """Captions of kept rows by one captioner."""

    model: str
    revision: str | None
    captions: int


@dataclass(frozen=True)
class CaptionCounts:
    """Captions of kept rows."""

    distinct: int
    words: int
    repeating: int  # rows with a caption from which a repetition was removed
    missing: int  # rows without a caption


@dataclass(frozen=True)
class HeadCounts:
    """Kept images in which heads were to be blurred."""

    images: int
    heads: int  # blurred
    without: int  # images in which no head was there to blur


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
    origins: OriginCounts
    heads: HeadCounts | None  # None if privacy.blur_faces was off
    reencoded: dict[str, int]  # why the pixels of an incoming file were encoded again -> kept images
    generators: list[GeneratorCounts]
    captioners: list[CaptionerCounts]
    captions: CaptionCounts
    diversity: Diversity | None  # None if no row has a caption
    same_phash: int  # kept rows that share their perceptual hash with another row
    identities: int
    identity_images: Spread | None  # kept images of an identity; None where no row has one
    width: Spread | None  # pixels; None if no stage adds it
    height: Spread | None
    agreement: dict[str, float]  # column -> mean
    scored: ScoreCounts | None  # rows that the stage `agree` scored; None if it scored none
    scored_kept: ScoreCounts | None  # those of them that were kept
    unchecked: int  # kept rows without a safety score
    overruled: int  # kept rows that a stage refused and a person keeps


class AttributeStatistics:
    """Sums over attribute values, for a number A of attributes."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.requested, self.requested_kept, self.labelled = (np.zeros((len(names), 3), np.int64) for _ in range(3))  # see AttributeCounts
        self.sources: list[Counter[str]] = [Counter() for _ in names]

    def add(self, table: pa.Table, kept: pa.Table, is_kept: NDArray[np.bool_]) -> None:
        """Count all rows of a shard, its kept rows, and a mask of these."""
        width = len(self.names)
        if "wanted" in table.column_names:
            has_request = table["wanted"].is_valid().to_numpy()
            requested = label_matrix(table["wanted"], width)
            self.requested += count_values(requested[has_request])
            self.requested_kept += count_values(requested[has_request & is_kept])
        if "attributes" in kept.column_names:
            self.labelled += count_values(label_matrix(kept["attributes"], width))
        if "attribute_source" in kept.column_names and len(kept):
            sources = np.array(kept["attribute_source"].combine_chunks().flatten().to_pylist(), object).reshape(-1, width)
            for number, counter in enumerate(self.sources):
                counter.update(sources[:, number].tolist())

    def counts(self) -> list[AttributeCounts]:
        """The finished counts, an entry for each attribute."""
        return [
            AttributeCounts(
                name=name,
                requested=self.requested[number].tolist(),
                requested_kept=self.requested_kept[number].tolist(),
                labelled=self.labelled[number].tolist(),
                sources=dict(sorted(self.sources[number].items())),
            )
            for number, name in enumerate(self.names)
        ]


@dataclass
class ImageStatistics:
    """Sums over the images of kept rows."""

    generators: Counter[tuple[Any, ...]] = field(default_factory=Counter)  # settings of the generator, (name, value) pairs -> rows
    phashes: list[NDArray[np.uint64]] = field(default_factory=list)  # for each shard: [kept rows]
    identities: Counter[int] = field(default_factory=Counter)  # hash -> rows
    widths: Counter[int] = field(default_factory=Counter)  # pixels -> rows
    heights: Counter[int] = field(default_factory=Counter)
    unchecked: int = 0  # without a safety score
    origins: Counter[str | None] = field(default_factory=Counter)
    heads: Counter[int] = field(default_factory=Counter)  # blurred heads of an image -> rows
    reencoded: Counter[str] = field(default_factory=Counter)  # reason -> rows

    def add(self, kept: pa.Table) -> None:
        """Count the kept rows of a shard; UserError for an origin that does not exist."""
        origins = kept["origin"].to_pylist() if "origin" in kept.column_names else [None] * len(kept)
        check_origins(origins)
        self.origins.update(origins)
        if "heads_blurred" in kept.column_names:
            self.heads.update(kept["heads_blurred"].drop_null().to_pylist())
        if "reencoded" in kept.column_names:
            self.reencoded.update(kept["reencoded"].drop_null().to_pylist())
        self._add_generators(kept)
        for name, counter in (("crop_width", self.widths), ("crop_height", self.heights)):
            if name in kept.column_names:
                counter.update(kept[name].to_pylist())
        if "phash" in kept.column_names:
            self.phashes.append(kept["phash"].to_numpy().astype(np.uint64))
        if "person" in kept.column_names:
            self.identities.update(hash64(person) for person in kept["person"].to_pylist() if person is not None)
        if "nsfw_score" in kept.column_names:
            self.unchecked += kept["nsfw_score"].null_count

    def _add_generators(self, kept: pa.Table) -> None:
        """Count the settings of the generators of rows that one made."""
        names = [name for name in GENERATOR_FEATURES if name in kept.column_names]
        columns = [kept[name].to_pylist() for name in names]
        telling = [number for number, name in enumerate(names) if name in GENERATOR_ONLY]
        if telling:
            rows = (values for values in zip(*columns, strict=True) if any(values[number] is not None for number in telling))
            self.generators.update(tuple(zip(names, values, strict=True)) for values in rows)

    def generator_counts(self) -> list[GeneratorCounts]:
        return [GeneratorCounts(dict(settings), rows) for settings, rows in _sorted(self.generators)]

    def head_counts(self) -> HeadCounts | None:
        """None if no image was to have its heads blurred."""
        heads = sum(number * rows for number, rows in self.heads.items())
        return HeadCounts(self.heads.total(), heads, self.heads[0]) if self.heads else None

    def same_phash(self) -> int:
        """Rows that share their perceptual hash with another row."""
        rows = np.unique(_concatenated(self.phashes), return_counts=True)[1]
        return int(rows[rows > 1].sum())


@dataclass
class CaptionStatistics:
    """Sums over the captions of kept rows."""

    words: int = 0
    hashes: list[NDArray[np.uint64]] = field(default_factory=list)  # for each shard: [kept rows]
    captioners: Counter[tuple[str, str | None]] = field(default_factory=Counter)  # (model, revision) -> captions
    repeating: int = 0  # rows with a caption from which a repetition was removed
    missing: int = 0  # rows without a caption
    agreement: dict[str, tuple[float, int]] = field(default_factory=dict)  # column -> (sum, rows)
    sample: DiversitySample = field(default_factory=DiversitySample)

    def add(self, kept: pa.Table) -> None:
        """Count the kept rows of a shard."""
        if "caption" in kept.column_names:
            captions = kept["caption"].to_pylist()
            self.missing += sum(not caption for caption in captions)
            self.words += sum(len((caption or "").split()) for caption in captions)
            self.hashes.append(hashes64(caption for caption in captions if caption))
        if "caption" in kept.column_names or "captions" in kept.column_names:
            self.sample.add(kept)
        if "captions" in kept.column_names:
            for row in kept["captions"].drop_null().to_pylist():
                self.captioners.update((caption["model"], caption["revision"]) for caption in row if caption["text"])
                self.repeating += any((caption["repetition"] or 0) > 0 for caption in row)
        for name in ("agreement_captions", "agreement_wanted"):
            if name in kept.column_names:
                total, rows = self.agreement.get(name, (0.0, 0))
                valid = kept[name].drop_null()
                self.agreement[name] = (total + (pc.sum(valid.cast(pa.float64())).as_py() or 0.0), rows + len(valid))

    def counts(self) -> CaptionCounts:
        """The finished counts."""
        return CaptionCounts(len(np.unique(_concatenated(self.hashes))), self.words, self.repeating, self.missing)

    def captioner_counts(self) -> list[CaptionerCounts]:
        return [CaptionerCounts(model, revision, captions) for (model, revision), captions in _sorted(self.captioners)]


class RunStatistics:
    """Sums over the small columns of a run, one shard after the other."""

    def __init__(self, attributes: Sequence[str], stage_names: Sequence[str]) -> None:
        self.rows = self.overruled = 0  # overruled: that a person keeps though a stage refused them
        self.prompts_cut: int | None = None
        self.stages = {name: StageCounts() for name in stage_names}
        self.group_hashes: list[NDArray[np.uint64]] = []  # for each shard: [kept rows] hash of the rows that must stay in one split
        self.kept: list[NDArray[np.bool_]] = []  # for each shard: [rows] whether a row is kept
        self.ids = IdHashes()
        self.attributes = AttributeStatistics(attributes)
        self.images = ImageStatistics()
        self.captions = CaptionStatistics()
        self.scored, self.scored_kept = ScoreStatistics(), ScoreStatistics()

    def add(self, table: pa.Table, by_person: bool) -> None:
        """Count the next shard."""
        ids = table["id"].to_pylist()
        self.rows += len(ids)
        self.ids.add(ids)
        is_kept = self._add_stages(table)
        self.kept.append(is_kept)
        kept = table.filter(pa.array(is_kept))
        self.group_hashes.append(_group_hashes(kept, by_person))
        if "prompt_cut" in table.column_names:
            count = pc.sum(table["prompt_cut"]).as_py()
            self.prompts_cut = self.prompts_cut if count is None else (self.prompts_cut or 0) + count
        self.attributes.add(table, kept, is_kept)
        self.images.add(kept)
        self.captions.add(kept)
        self.scored.add(table)
        self.scored_kept.add(kept)

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

    def check_ids(self, planned: int) -> None:
        """Raise Damaged if the plan's files hold another number of rows, or an id twice."""
        if self.rows != planned:
            raise Damaged(f"the plan says {planned:,} rows and its files hold {self.rows:,}")
        if not self.ids.distinct():
            raise Damaged("the plan holds an id twice")

    @property
    def all_group_hashes(self) -> NDArray[np.uint64]:
        """[kept rows] the hash of the group of each: of the rows that must stay in one split."""
        return _concatenated(self.group_hashes)

    def counts(self) -> DatasetCounts:
        """The finished counts."""
        images, captions = self.images, self.captions
        return DatasetCounts(
            planned=self.rows,
            prompts_cut=self.prompts_cut,
            kept=int(sum(mask.sum() for mask in self.kept)),
            refused=sum(sum(stage.refused.values()) for stage in self.stages.values()),
            failed=sum(stage.failed for stage in self.stages.values()),
            stages={name: stage.sorted() for name, stage in self.stages.items()},
            attributes=self.attributes.counts(),
            origins=OriginCounts.of(images.origins),
            heads=images.head_counts(),
            reencoded=dict(sorted(images.reencoded.items())),
            generators=images.generator_counts(),
            captioners=captions.captioner_counts(),
            captions=captions.counts(),
            diversity=captions.sample.measure(),
            same_phash=images.same_phash(),
            identities=len(images.identities),
            identity_images=_spread(Counter(images.identities.values())),
            width=_spread(images.widths),
            height=_spread(images.heights),
            agreement={name: total / rows for name, (total, rows) in sorted(captions.agreement.items()) if rows},
            scored=self.scored.counts(),
            scored_kept=self.scored_kept.counts(),
            unchecked=images.unchecked,
            overruled=self.overruled,
        )


def gather(
    grid: Grid,
    attributes: Sequence[str],
    planned: Sequence[str],
    by_person: bool,
    verdicts: Verdicts | None = None,
    survey: Survey | None = None,
) -> RunStatistics:
    """Statistics of every shard of a finished grid.

    `planned`: the columns of the plan; `by_person`: whether all rows of an identity stay in one split.
    `verdicts` come after all stages. `survey`, where it is known, saves requests. Raises Damaged if plan and cells disagree.
    """
    verdicts = verdicts or Verdicts({})
    added = {field.name for stage in grid.stages.values() for field in stage.adds}
    names = [name for name in (*COLUMNS, *GENERATOR_FEATURES) if name in added or name in planned]
    statistics = RunStatistics(attributes, [*grid.stages, *([VERDICT] if verdicts else [])])
    for shard in range(grid.shards):
        table = grid.table(shard, names, sources=survey.sources(None, shard) if survey else {})
        judged = verdicts.apply(table)
        statistics.overruled += _overruled(table, judged) if judged is not table else 0
        statistics.add(judged, by_person)
    statistics.check_ids(grid.plan.rows)
    return statistics


def _overruled(before: pa.Table, after: pa.Table) -> int:
    """Rows that a stage refused and a person keeps."""
    return int(pc.sum(pc.and_(before["refused_by"].is_valid(), after["refused_by"].is_null())).as_py())


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


def _group_hashes(kept: pa.Table, by_person: bool) -> NDArray[np.uint64]:
    """[kept rows] a hash of the identity of each, or of the id of a row without one."""
    ids = kept["id"].to_pylist()
    if not by_person or "person" not in kept.column_names:
        return hashes64(ids)
    persons = kept["person"].to_pylist()
    return hashes64(f"id {row}" if person is None else f"person {person}" for row, person in zip(ids, persons, strict=True))


def _concatenated(arrays: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint64)


def _sorted(counter: Counter[tuple[Any, ...]]) -> list[tuple[tuple[Any, ...], int]]:
    """The most frequent first; if equally frequent, in the order of their texts."""
    return sorted(counter.items(), key=lambda item: (-item[1], str(item[0])))


def _spread(counter: Counter[int]) -> Spread | None:
    if not counter:
        return None
    values, counts = zip(*sorted(counter.items()), strict=True)
    middle = int(np.searchsorted(np.cumsum(counts), sum(counts) / 2))
    return Spread(values[0], values[middle], values[-1])
