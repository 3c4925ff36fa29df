"""The contents of a benchmark, counted, and compared with the numbers that its authors state."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TypedDict

from mals.attributes import load_space
from mals.dataset.receipts import FileReceipt
from pretrain.data.image_folder import spelling
from pretrain.datasets.layout import Benchmark, BenchmarkInfo, BenchmarkRow, SplitSize

COUNTED = ("images", "identities", "captions")
REASONS = ("missing", "unreadable", "without_caption")  # why an image is left out
FOLDERS = 8  # missing folders that a sentence names
COUNTED_FOLDERS = 10_000  # missing folders that are counted
EXAMPLES = 20  # images that are named for each reason


class LeftOut(TypedDict):
    """Images that were left out for one reason."""

    count: int
    examples: list[str]  # the first ones


class FileCounts(TypedDict):
    """The counts of one Parquet file, in its receipt."""

    captions: int
    words: int  # of the captions
    identities: list[int]
    values: dict[str, list[int]]  # attribute -> rows with the first value, the second, unknown
    left_out: dict[str, LeftOut]


@dataclass(frozen=True)
class Count:
    """A number and what the authors state; None if there is none, or they state none."""

    count: int | None
    expected: int | None

    def __str__(self) -> str:
        """The number, such as "34,054", or "34,050 of 34,054" if the authors state another one."""
        if self.count is None:
            return "–"
        return f"{self.count:,}" if self.expected in (None, self.count) else f"{self.count:,} of {self.expected:,}"


@dataclass(frozen=True)
class SplitContents:
    """The counts of one split."""

    images: Count
    identities: Count
    captions: Count
    missing: int  # images left out, by reason
    unreadable: int
    without_caption: int


@dataclass(frozen=True)
class Contents:
    """The counts of a benchmark."""

    splits: dict[str, SplitContents]
    total: SplitContents | None  # of all splits, where the authors state its size and not those of the splits
    examples: dict[str, list[str]]  # reason -> the first images that were left out for it
    warnings: list[str]  # sentences about counts that differ from the authors'
    notes: list[str]  # sentences about irregularities


@dataclass
class SplitSurvey:
    """A split's list before any image is read."""

    complete: bytearray = field(default_factory=bytearray)  # for each row, 1 if its image exists and it has what it needs
    rows: int = 0  # complete ones
    missing_folders: Counter[str] = field(default_factory=Counter)  # of up to COUNTED_FOLDERS that are not there -> images in them
    respelled: int = 0  # images whose path is another in their folder
    respelling: tuple[str, str] | None = None  # the first of them, and that path
    digests: list[str] = field(default_factory=list)  # for each file to write, a hash of its rows
    left_out: dict[str, LeftOut] = field(default_factory=lambda: nothing_left_out())

    def add_missing_folder(self, folder: str) -> None:
        """Count an image in a folder that is not there."""
        if folder in self.missing_folders or len(self.missing_folders) < COUNTED_FOLDERS:
            self.missing_folders[folder] += 1

    def add_respelled(self, path: str, actual: str) -> None:
        """Count an image whose path is another in its folder."""
        self.respelled += 1
        self.respelling = self.respelling or (path, actual)


def nothing_left_out() -> dict[str, LeftOut]:
    return {reason: {"count": 0, "examples": []} for reason in REASONS}


def leave_out(left_out: dict[str, LeftOut], reason: str, image: str) -> None:
    """Count an image that is left out."""
    left_out[reason]["count"] += 1
    if len(left_out[reason]["examples"]) < EXAMPLES:
        left_out[reason]["examples"].append(image)


def empty_counts(info: BenchmarkInfo) -> FileCounts:
    values = {name: [0, 0, 0] for name in load_space(info.space).names} if info.space else {}
    return {"captions": 0, "words": 0, "identities": [], "values": values, "left_out": nothing_left_out()}


def count_row(counts: FileCounts, row: BenchmarkRow, info: BenchmarkInfo, attributes: Sequence[str]) -> None:
    """Add one row, except its identity."""
    counted = [text for text, source in zip_longest(row.captions, row.sources) if source is None or source != info.uncounted_source]
    counts["captions"] += len(counted)
    counts["words"] += sum(len(text.split()) for text in counted)
    for name, value in zip(attributes, row.labels or (-1,) * len(attributes), strict=True):
        counts["values"][name][value] += 1  # -1, unknown, is the last one


def compare(benchmark: Benchmark, surveys: Mapping[str, SplitSurvey], receipts: Sequence[FileReceipt]) -> Contents:
    """Counts of all splits, those included that the authors state and the folder lacks."""
    info = benchmark.info
    splits: dict[str, SplitContents] = {}
    examples: dict[str, list[str]] = {reason: [] for reason in REASONS}
    warnings, notes = [], list(benchmark.notes)
    for split in (*info.sizes, *(split for split in surveys if split not in info.sizes)):
        files = [receipt for receipt in receipts if receipt.split == split]
        left_out = [file.counts["left_out"] for file in files] + ([surveys[split].left_out] if split in surveys else [])
        contents = splits[split] = _split_contents(info, info.sizes.get(split, SplitSize()), files, left_out)
        for reason in REASONS:
            examples[reason] += [image for images in left_out for image in images[reason]["examples"]]
        warnings += _differences(split, contents)
    whole = None
    if info.total != SplitSize():
        all_left_out = [*(file.counts["left_out"] for file in receipts), *(survey.left_out for survey in surveys.values())]
        whole = _split_contents(info, info.total, receipts, all_left_out)
        warnings += _differences("all", whole)
    if info.images_elsewhere:
        listed = sum(len(survey.complete) for survey in surveys.values())
        missing = sum(survey.left_out["missing"]["count"] for survey in surveys.values())
        notes.append(f"captions of {listed:,} images, {listed - missing:,} of them here")
    notes += _survey_notes(surveys.values())
    for reason in REASONS:
        if total := sum(getattr(contents, reason) for contents in splits.values()):
            notes.append(f"images left out as {reason.replace('_', ' ')}: {total:,}, such as {examples[reason][0]}")
    return Contents(splits, whole, {reason: images[:EXAMPLES] for reason, images in examples.items()}, warnings, notes)


def _differences(split: str, contents: SplitContents) -> list[str]:
    """Sentences about counts that the authors state otherwise."""
    counts = {name: getattr(contents, name) for name in COUNTED}
    return [
        f"{split}: {count.count:,} {name}, where {count.expected:,} are expected"
        for name, count in counts.items()
        if None not in (count.count, count.expected) and count.count != count.expected
    ]


def _survey_notes(surveys: Collection[SplitSurvey]) -> list[str]:
    """Sentences about folders that are not there, and about images that are spelled otherwise in theirs."""
    folders: Counter[str] = sum((survey.missing_folders for survey in surveys), Counter())
    respelled, respelling = sum(survey.respelled for survey in surveys), [survey.respelling for survey in surveys if survey.respelling]
    notes = []
    if folders:
        names = ", ".join(f"{folder}/ ({count:,} images)" for folder, count in folders.most_common(FOLDERS))
        least = "at least " if any(len(survey.missing_folders) == COUNTED_FOLDERS for survey in surveys) else ""
        more = f" and {least}{len(folders) - FOLDERS:,} more" if len(folders) > FOLDERS else ""
        notes.append(f"folders of images that are not there: {names}{more}; the same command packs their images once they are")
    if respelled:
        notes.append(f"images that are spelled otherwise in the folder: {respelled:,}, such as {spelling(*respelling[0])}")
    return notes


def _split_contents(
    info: BenchmarkInfo, size: SplitSize, files: Sequence[FileReceipt], left_out: Sequence[Mapping[str, LeftOut]]
) -> SplitContents:
    identities = len({identity for file in files for identity in file.counts["identities"]})
    captions = sum(file.counts["captions"] for file in files)
    missing, unreadable, without_caption = (sum(images[reason]["count"] for images in left_out) for reason in REASONS)
    return SplitContents(
        images=Count(sum(file.rows for file in files), size.images),
        identities=Count(identities if info.has_identities else None, size.identities),
        captions=Count(captions if info.caption_source else None, size.captions),
        missing=missing,
        unreadable=unreadable,
        without_caption=without_caption,
    )


def table(contents: Contents) -> list[list[str]]:
    """The counts as a table: a head, a row for each split, and one for all where the authors state their sum."""
    reasons = [reason for reason in REASONS if any(getattr(split, reason) for split in contents.splits.values())]
    rows = [["split", *COUNTED, *(reason.replace("_", " ") for reason in reasons)]]
    for name, split in {**contents.splits, **({"all": contents.total} if contents.total else {})}.items():
        counts = [str(getattr(split, count)) for count in COUNTED]
        rows.append([name, *counts, *(f"{getattr(split, reason):,}" for reason in reasons)])
    return rows
