"""`mals import`: a public benchmark packed in the format of `mals pack`, counted, and compared with the numbers that its authors state.

Rows keep their authors' order, and image files stay as they are, byte for byte. The output holds nothing about the folder that the files
came from. `mals.dataset.folder` says how the folder is written and how an interrupted import goes on. Missing images are left out, counted
and named; once they are there, the same command writes the affected files again.
"""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import compress, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from mals.attributes import load_space
from mals.dataset.features import CAPTION_FEATURES, Column, Columns, Feature, class_label, list_of, value
from mals.dataset.folder import (
    RECEIPTS,
    ROWS_PER_FILE,
    PlannedFile,
    claim_folder,
    finish_folder,
    finished_file,
    folder_files,
    write_packed_file,
)
from mals.dataset.pack import Progress
from mals.dataset.receipts import CHECKSUMS, FileReceipt
from mals.errors import UserError
from mals.grid.receipt import canonical
from mals.grid.store import Store
from mals.images import BadImage, decode_image
from pretrain.data.errors import first_line
from pretrain.datasets import card, open_benchmark
from pretrain.datasets.contents import FOLDERS, Contents, FileCounts, SplitSurvey, compare, count_row, empty_counts, leave_out
from pretrain.datasets.layout import Benchmark, BenchmarkInfo, BenchmarkRow

VERSION = 2  # raised by hand when the bytes change
CLAIM = "import.json"
CHUNK = 64  # rows that are read at a time


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """The result of an import."""

    url: str  # of the packed folder
    benchmark: str
    rows: int
    packed: int  # rows that this call packed; the others were packed before
    bytes: int  # of all files
    files: int
    contents: Contents

    def to_json(self) -> dict[str, Any]:
        tree = asdict(self)
        contents = tree.pop("contents")
        total = {"total": contents["total"]} if contents["total"] else {}
        return tree | {
            "splits": contents["splits"],
            **total,
            **contents["examples"],
            "warnings": contents["warnings"],
            "notes": contents["notes"],
        }


def import_benchmark(
    name: str, folder: str | Path, to: str, progress: Progress | None = None, rows_per_file: int = ROWS_PER_FILE
) -> ImportReport:
    """Pack the benchmark `name` from `folder` into the folder or URL `to`, or finish it.

    Raises UserError if the benchmark is not in `folder`, or a split has no image.
    """
    benchmark = open_benchmark(name, folder)
    surveys = {split: survey_split(benchmark, split, rows_per_file) for split in benchmark.splits}
    store = Store(to)
    claim_folder(store, to, CLAIM, {"benchmark": name, "version": VERSION, "rows_per_file": rows_per_file}, "data set")
    files = folder_files({split: survey.rows for split, survey in surveys.items()}, rows_per_file)
    _remove_other_files(store, files)
    receipts, packed = _pack(store, benchmark, surveys, files, progress)
    contents = compare(benchmark, surveys, receipts)
    facts = card.BenchmarkCardFacts(benchmark.info, columns(benchmark.info), receipts, contents)
    written = finish_folder(store, receipts, {"README.md": card.render(facts)}, CLAIM)
    return ImportReport(
        url=to,
        benchmark=name,
        rows=sum(receipt.rows for receipt in receipts),
        packed=packed,
        bytes=sum(file.bytes for file in written),
        files=len(written) + 1,
        contents=contents,
    )


def columns(info: BenchmarkInfo) -> Columns:
    """The columns of a packed data set that the benchmark can fill."""
    features: dict[str, Feature] = {
        "id": value("string"),
        "image": {"_type": "Image"},
        "caption": value("string"),
        "captions": list_of(CAPTION_FEATURES),
        "attributes": {name: class_label(names) for name, names in load_space(info.space).classes.items()} if info.space else {},
        **info.extra_columns,
        "width": value("int32"),
        "height": value("int32"),
        "person": value("int64") if info.has_identities else {},
        "camera": value("int32") if info.has_cameras else {},
        "image_sha256": value("string"),
        "synthetic": value("bool"),
    }
    return Columns(tuple(Column(name, name, feature) for name, feature in features.items() if feature))


def survey_split(benchmark: Benchmark, split: str, rows_per_file: int) -> SplitSurvey:
    """Look which images of a split's list exist, without reading them; UserError if none does."""
    survey, digest = SplitSurvey(), hashlib.sha256()
    needs_caption = benchmark.info.caption_source is not None and split not in benchmark.info.uncaptioned_splits
    for row in benchmark.splits[split]:
        actual = benchmark.images.find(row.image) if row.data is None else row.image
        reason = "missing" if actual is None else "without_caption" if needs_caption and not row.captions else ""
        survey.complete.append(not reason)
        if actual is None and (folder := benchmark.images.missing_folder(row.image)):
            survey.add_missing_folder(folder)
        if reason or actual is None:
            leave_out(survey.left_out, reason, row.image)
            continue
        if actual != row.image:
            survey.add_respelled(row.image, actual)
        size = _bytes(benchmark.images.root / actual) if row.data is None else len(row.data)
        digest.update(canonical([asdict(replace(row, data=None)), size]))
        survey.rows += 1
        if survey.rows % rows_per_file == 0:
            survey.digests.append(digest.hexdigest())
            digest = hashlib.sha256()
    if not survey.rows:
        raise UserError(f"the split {split} of {benchmark.info.name} would be empty: {_why_empty(benchmark, survey)}")
    if survey.rows % rows_per_file:
        survey.digests.append(digest.hexdigest())
    return survey


def _why_empty(benchmark: Benchmark, survey: SplitSurvey) -> str:
    """Why no row of a split can be packed, as the end of a sentence."""
    count, missing, silent = len(survey.complete), survey.left_out["missing"], survey.left_out["without_caption"]
    if not count:
        return "nothing is listed"
    if silent["count"]:
        rest = f", and {missing['count']:,} are missing" if missing["count"] else ""
        return f"{silent['count']:,} of its {count:,} images have no caption, such as {silent['examples'][0]}{rest}"
    folders = f"; there is no folder {' and no '.join(sorted(survey.missing_folders)[:FOLDERS])}" if survey.missing_folders else ""
    return f"none of its {count:,} images is in {benchmark.images.root}, such as {missing['examples'][0]}{folders}"


def _bytes(file: Path) -> int:
    """The size of a file, -1 if it cannot be opened."""
    try:
        return file.stat().st_size
    except OSError:
        return -1


def _pack(
    store: Store, benchmark: Benchmark, surveys: Mapping[str, SplitSurvey], files: Sequence[PlannedFile], progress: Progress | None
) -> tuple[list[FileReceipt], int]:
    """The receipts of all files, and the number of rows that were packed now."""
    schema, packed = columns(benchmark.info).schema, 0
    receipts: list[FileReceipt] = []
    for split, survey in surveys.items():
        rows = compress(benchmark.splits[split], survey.complete)
        for file, digest in zip((file for file in files if file.split == split), survey.digests, strict=True):
            fingerprint = _fingerprint(benchmark, digest)
            file_rows = islice(rows, file.last - file.first)
            receipt = finished_file(store, file, fingerprint)
            if receipt:
                deque(file_rows, maxlen=0)  # the rows of the next file come after them
            else:
                store.remove(CHECKSUMS)
                counts = empty_counts(benchmark.info)
                receipt = write_packed_file(store, file, _tables(benchmark, file_rows, counts), schema, fingerprint, counts)
                packed += receipt.rows
            receipts.append(receipt)
            if progress:
                progress(file.last, files[-1].last)
        if not any(receipt.rows for receipt in receipts if receipt.split == split):
            raise UserError(f"none of the {survey.rows:,} images of the split {split} of {benchmark.info.name} can be read")
    return receipts, packed


def _tables(benchmark: Benchmark, rows: Iterator[BenchmarkRow], counts: FileCounts) -> Iterator[pa.Table]:
    """The rows of a file, a few at a time, counted; rows whose image cannot be read are left out."""
    schema = columns(benchmark.info).schema
    attributes = load_space(benchmark.info.space).names if benchmark.info.space else ()
    identities: set[int] = set()
    while chunk := list(islice(rows, CHUNK)):
        packed = []
        for row in chunk:
            try:
                data = benchmark.images.path(row.image).read_bytes() if row.data is None else row.data
                height, width = decode_image(data).shape[:2]
            except (OSError, BadImage) as error:
                leave_out(counts["left_out"], "unreadable", f"{row.image} ({first_line(error)})")
                continue
            packed.append(_packed_row(benchmark.info, row, data, (width, height), attributes))
            count_row(counts, row, benchmark.info, attributes)
            if row.identity is not None:
                identities.add(row.identity)
        yield pa.Table.from_pylist(packed, schema=schema)
    counts["identities"] = sorted(identities)


def _packed_row(info: BenchmarkInfo, row: BenchmarkRow, data: bytes, size: tuple[int, int], attributes: Sequence[str]) -> dict[str, Any]:
    """One row of the packed data set."""
    sources = row.sources or (info.caption_source,) * len(row.captions)
    packed: dict[str, Any] = {
        "id": row.id,
        "image": {"bytes": data, "path": row.image},
        "caption": row.captions[0] if row.captions else None,
        "captions": [{"text": text, "source": source} for text, source in zip(row.captions, sources, strict=True)],
        "width": size[0],
        "height": size[1],
        "person": row.identity,
        "camera": row.camera,
        "image_sha256": hashlib.sha256(data).hexdigest(),
        "synthetic": info.synthetic if row.synthetic is None else row.synthetic,
        **dict(zip(info.extra_columns, row.extras, strict=True)),
    }
    if row.labels is not None:
        packed["attributes"] = {name: None if label < 0 else label for name, label in zip(attributes, row.labels, strict=True)}
    return packed


def _fingerprint(benchmark: Benchmark, digest: str) -> str:
    """A hash of what the bytes of a file depend on: its rows, the columns, and the library that writes them."""
    features = str(columns(benchmark.info).schema.metadata)
    return hashlib.sha256(canonical([VERSION, benchmark.info.caption_source, features, digest, version("pyarrow")])).hexdigest()


def _remove_other_files(store: Store, files: Sequence[PlannedFile]) -> None:
    """Remove the files of an import of fewer or more images."""
    names = {name for file in files for name in (file.path, file.receipt_name)}
    for folder in ("data", RECEIPTS):
        for name in store.list(folder):
            if name not in names:
                store.remove(CHECKSUMS)
                store.remove(name)
