"""`mals import`: a public benchmark packed as `mals pack` packs, counted, and held against the sizes that its authors tell.

Rows are in their authors' order, and picture files stay as they are, byte for byte. Nothing of the place that they come from is in what is
written. `mals.dataset.folder` tells how the folder is made and goes on after a kill. Pictures that are missing are left out, counted and
named; when they have come, the same command makes again what they change.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import compress, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from mals.attributes import load_space
from mals.dataset.features import CAPTION_FEATURES, Column, Columns, Feature, class_label, list_of, value
from mals.dataset.folder import (
    RECEIPTS,
    ROWS_PER_FILE,
    FolderFile,
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
from pretrain.datasets import card, find
from pretrain.datasets.card import LEFT_OUT
from pretrain.datasets.layout import About, Benchmark, Row

VERSION = 1  # raised by hand when the bytes change
CLAIM = "import.json"
CHUNK = 64  # rows that are read at a time
NAMED = 20  # pictures that are named


@dataclass
class Survey:
    """What a split's list holds, before any picture is read."""

    there: bytearray = field(default_factory=bytearray)  # 1 a row that has its picture and what else it needs
    rows: int = 0  # of those
    digests: list[str] = field(default_factory=list)  # of what is said in the rows of each file
    left_out: dict[str, list[Any]] = field(default_factory=lambda: {reason: [0, []] for reason in LEFT_OUT})  # reason -> count, first names


def bring(name: str, folder: str | Path, to: str, progress: Progress | None = None, rows_per_file: int = ROWS_PER_FILE) -> dict[str, Any]:
    """Pack the benchmark `name` that lies in `folder` into the folder or at the URL `to`, or finish it; what was found, and what expected.

    Raises UserError where the data set is not there, or a split has no picture.
    """
    benchmark = find(name, folder)
    surveys = {split: survey(benchmark, split, rows_per_file) for split in benchmark.splits}
    store = Store(to)
    claim_folder(store, to, CLAIM, {"benchmark": name, "version": VERSION, "rows_per_file": rows_per_file}, "data set")
    files = folder_files({split: found.rows for split, found in surveys.items()}, rows_per_file)
    _sweep(store, files)
    notes, packed = _pack(store, benchmark, surveys, files, progress)
    told = table(benchmark, surveys, notes)
    facts = card.Facts(benchmark.about, columns(benchmark.about), notes, told)
    written = finish_folder(store, notes, {"README.md": card.render(facts)}, CLAIM)
    sizes = {"rows": sum(note.rows for note in notes), "packed": packed}
    return {"to": to, "benchmark": name, **sizes, "bytes": sum(file.bytes for file in written), "files": len(written) + 1, **told}


def columns(about: About) -> Columns:
    """What a row holds: the columns of a pack that the data set can fill."""
    features: dict[str, Feature] = {
        "id": value("string"),
        "image": {"_type": "Image"},
        "caption": value("string"),
        "captions": list_of(CAPTION_FEATURES),
        "attributes": {name: class_label(names) for name, names in load_space(about.space).classes.items()} if about.space else {},
        **about.extras,
        "width": value("int32"),
        "height": value("int32"),
        "person": value("int64") if about.person else {},
        "camera": value("int32") if about.camera else {},
        "image_sha256": value("string"),
        "synthetic": value("bool"),
    }
    return Columns(tuple(Column(name, name, feature) for name, feature in features.items() if feature))


def survey(benchmark: Benchmark, split: str, rows_per_file: int) -> Survey:
    """Go through a split's list and look which pictures are there; UserError where none is."""
    found, digest, example = Survey(), hashlib.sha256(), ""
    for row in benchmark.splits[split]:
        path = benchmark.pictures / row.picture
        try:
            size = path.stat().st_size
        except OSError:
            size = -1
        reason = "missing" if size < 0 else "without_caption" if benchmark.about.captions and not row.captions else ""
        found.there.append(not reason)
        if reason:
            _leave_out(found.left_out, reason, row.picture)
            example = example or row.picture
            continue
        digest.update(canonical([asdict(row), size]))
        found.rows += 1
        if found.rows % rows_per_file == 0:
            found.digests.append(digest.hexdigest())
            digest = hashlib.sha256()
    if not found.rows:
        told = (
            f"none of its {len(found.there):,} pictures is in {benchmark.pictures}, such as {example}" if example else "nothing is listed"
        )
        raise UserError(f"the split {split} of {benchmark.about.name} would be empty: {told}")
    if found.rows % rows_per_file:
        found.digests.append(digest.hexdigest())
    return found


def table(benchmark: Benchmark, surveys: Mapping[str, Survey], notes: Sequence[FileReceipt]) -> dict[str, Any]:
    """What was found of each split beside what is expected (`warnings` where they differ), and what was left out and why (`notes`)."""
    about = benchmark.about
    splits: dict[str, Any] = {}
    named: dict[str, list[str]] = {reason: [] for reason in LEFT_OUT}
    warnings, remarks = [], list(benchmark.notes)
    for split in (*about.sizes, *(split for split in surveys if split not in about.sizes)):
        own = [note for note in notes if note.split == split]
        parts = [note.counts["left_out"] for note in own]
        if split in surveys:
            parts.append(surveys[split].left_out)
        found = {
            "images": sum(note.rows for note in own),
            "persons": len({person for note in own for person in note.counts["persons"]}) if about.person else None,
            "captions": sum(note.counts["captions"] for note in own) if about.captions else None,
        }
        expected: dict[str, int | None] = asdict(about.sizes[split]) if split in about.sizes else dict.fromkeys(found)
        splits[split] = {what: {"found": count, "expected": expected[what]} for what, count in found.items()}
        for reason in LEFT_OUT:
            splits[split][reason] = sum(part[reason][0] for part in parts)
            named[reason] += [name for part in parts for name in part[reason][1]]
        warnings += [
            f"{split}: {count:,} {what}, where {expected[what]:,} are expected"
            for what, count in found.items()
            if count is not None and expected[what] not in (None, count)
        ]
    for reason in LEFT_OUT:
        if count := sum(split[reason] for split in splits.values()):
            remarks.append(f"pictures left out as {reason.replace('_', ' ')}: {count:,}, such as {named[reason][0]}")
    firsts = {reason: names[:NAMED] for reason, names in named.items()}
    return {"splits": splits, **firsts, "warnings": warnings, "notes": remarks}


def _pack(
    store: Store, benchmark: Benchmark, surveys: Mapping[str, Survey], files: Sequence[FolderFile], progress: Progress | None
) -> tuple[list[FileReceipt], int]:
    """The receipts of all files, and how many rows were packed now."""
    schema, packed = columns(benchmark.about).schema, 0
    notes: list[FileReceipt] = []
    for split, found in surveys.items():
        rows = compress(benchmark.splits[split], found.there)
        for file, digest in zip((file for file in files if file.split == split), found.digests, strict=True):
            wanted = _fingerprint(benchmark, digest)
            own = islice(rows, file.last - file.first)
            note = finished_file(store, file, wanted)
            if note:
                list(own)  # the rows of the next file come after them
            else:
                store.remove(CHECKSUMS)
                counts = _counts(benchmark.about)
                note = write_packed_file(store, file, _tables(benchmark, own, counts), schema, wanted, counts)
                packed += note.rows
            notes.append(note)
            if progress:
                progress(file.last, files[-1].last)
        if not any(note.rows for note in notes if note.split == split):
            raise UserError(f"none of the {found.rows:,} pictures of the split {split} of {benchmark.about.name} can be read")
    return notes, packed


def _tables(benchmark: Benchmark, rows: Iterator[Row], counts: dict[str, Any]) -> Iterator[pa.Table]:
    """The rows of a file, a few at a time, counted; those whose pictures cannot be read are left out."""
    schema = columns(benchmark.about).schema
    names = load_space(benchmark.about.space).names if benchmark.about.space else ()
    while chunk := list(islice(rows, CHUNK)):
        found = []
        for row in chunk:
            try:
                data = (benchmark.pictures / row.picture).read_bytes()
                size = _size(data)
            except Exception as error:  # each kind of picture fails in its own way
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                _leave_out(counts["left_out"], "unreadable", f"{row.picture} ({reason})")
                continue
            found.append(_cells(benchmark.about, row, data, size, names))
            _count(counts, row, names)
        yield pa.Table.from_pylist(found, schema=schema)
    counts["persons"] = sorted(counts["persons"])


def _cells(about: About, row: Row, data: bytes, size: tuple[int, int], names: Sequence[str]) -> dict[str, Any]:
    """One row of the packed data set."""
    cells: dict[str, Any] = {
        "id": row.id,
        "image": {"bytes": data, "path": row.picture},
        "caption": row.captions[0] if row.captions else None,
        "captions": [{"text": text, "source": about.captions} for text in row.captions],
        "width": size[0],
        "height": size[1],
        "person": row.person,
        "camera": row.camera,
        "image_sha256": hashlib.sha256(data).hexdigest(),
        "synthetic": about.synthetic,
        **dict(zip(about.extras, row.extras, strict=True)),
    }
    if row.labels is not None:
        cells["attributes"] = {name: None if found < 0 else found for name, found in zip(names, row.labels, strict=True)}
    return cells


def _size(data: bytes) -> tuple[int, int]:
    """Width and height of a picture file; raises what is wrong with one that is not whole."""
    with Image.open(io.BytesIO(data)) as picture:
        if picture.format != "JPEG" or data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):  # a JPEG ends with the first, behind the second
            picture.load()
        return picture.size


def _counts(about: About) -> dict[str, Any]:
    """What the table and the card tell of a file: nothing yet."""
    values = {name: [0, 0, 0] for name in load_space(about.space).names} if about.space else {}
    return {"captions": 0, "words": 0, "persons": set(), "values": values, "left_out": {reason: [0, []] for reason in LEFT_OUT}}


def _count(counts: dict[str, Any], row: Row, names: Sequence[str]) -> None:
    counts["captions"] += len(row.captions)
    counts["words"] += sum(len(text.split()) for text in row.captions)
    if row.person is not None:
        counts["persons"].add(row.person)
    for name, found in zip(names, row.labels or (-1,) * len(names), strict=True):
        counts["values"][name][found] += 1  # the last one counts the unknown


def _leave_out(left_out: dict[str, list[Any]], reason: str, name: str) -> None:
    left_out[reason][0] += 1
    if len(left_out[reason][1]) < NAMED:
        left_out[reason][1].append(name)


def _fingerprint(benchmark: Benchmark, digest: str) -> str:
    """What the bytes of a file depend on: what is said in its rows, the columns, and the library that writes them."""
    shape = str(columns(benchmark.about).schema.metadata)
    return hashlib.sha256(canonical([VERSION, benchmark.about.captions, shape, digest, version("pyarrow")])).hexdigest()


def _sweep(store: Store, files: Sequence[FolderFile]) -> None:
    """Remove what an import of fewer or more pictures left."""
    wanted = {name for file in files for name in (file.path, file.receipt_name)}
    for folder in ("data", RECEIPTS):
        for name in store.list(folder):
            if name not in wanted:
                store.remove(CHECKSUMS)
                store.remove(name)
