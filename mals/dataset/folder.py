"""Packed Parquet files with their receipts, and packed folders that are made without a run.

Each Parquet file appears whole, and its receipt after it. If the work was killed, the same call keeps every file whose receipt and hash
match. The fingerprint of a file is a hash of everything that its bytes depend on: if it differs, the file is written again.

A folder without a run is claimed by a file that states its contents; then come the Parquet files one by one, SHA256SUMS last.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import pyarrow as pa

from mals.dataset.parquet import write_parquet
from mals.dataset.receipts import CHECKSUMS, FileReceipt, FileRecord, checksums, record_of, record_of_file
from mals.errors import UserError
from mals.grid.store import Store

ROWS_PER_FILE = 4096
ROWS_PER_GROUP = 128
RECEIPTS = ".receipts"


@dataclass(frozen=True)
class PlannedFile:
    """One Parquet file to write: the rows [first, last), counted over all splits in their order."""

    path: str
    split: str
    first: int
    last: int
    _: KW_ONLY
    config_name: str = "default"

    @property
    def receipt_name(self) -> str:
        """The path of its receipt."""
        return f"{RECEIPTS}/{self.path.removeprefix('data/')}.json"


def folder_files(splits: Mapping[str, int], rows_per_file: int) -> list[PlannedFile]:
    """The files of splits with that many rows each, in the order of their rows."""
    files, start = [], 0
    for split, rows in splits.items():
        files += [
            PlannedFile(path, split, start + first, start + last) for path, first, last in file_ranges("data", split, rows, rows_per_file)
        ]
        start += rows
    return files


def file_ranges(folder: str, split: str, rows: int, rows_per_file: int) -> Iterator[tuple[str, int, int]]:
    """Path, first row and end of each file of a split, named as the hub names them: `data/train-00000-of-00003.parquet`."""
    count = -(-rows // rows_per_file)
    for number in range(count):
        path = f"{folder}/{split}-{number:05d}-of-{count:05d}.parquet"
        yield path, number * rows_per_file, min(rows, (number + 1) * rows_per_file)


def claim_folder(store: Store, to: str, name: str, contents: Mapping[str, Any], kind: str) -> None:
    """Write `contents` as the file `name` into a new or empty folder; UserError if the folder holds other contents.

    `kind` names in the error sentence what the folder is for ("data set").
    """
    expected = json.loads(json.dumps(contents))
    try:
        claim = json.loads(store.read(name))
        if not isinstance(claim, dict):
            raise ValueError(f"{name} is not a JSON object")
        differing = [key for key in expected if claim.get(key) != expected[key]]
    except FileNotFoundError:
        differing = []
        if any(not entry.rstrip("/").endswith(".tmp") for entry in _entries(store)):
            raise UserError(f"{to} holds something else already; give a new or empty folder") from None
        store.commit(name, json.dumps(expected, indent=1).encode() + b"\n")
    except ValueError:
        raise UserError(f"{to} holds a file {name} that cannot be read; give a new or empty folder") from None
    except NotADirectoryError:
        raise UserError(f"{to} is not a folder; give a folder to write to") from None
    if differing:
        raise UserError(f"{to} holds another {kind} (it differs in {', '.join(differing)}); give the same arguments or another folder")
    store.sweep()


def finished_file(store: Store, file: PlannedFile, fingerprint: str) -> FileReceipt | None:
    """The receipt of a file that is complete and has this fingerprint; None otherwise."""
    receipt = FileReceipt.load(store, file.receipt_name)
    return receipt if receipt and receipt.fingerprint == fingerprint and receipt.holds(store) else None


def write_packed_file(
    store: Store,
    file: PlannedFile,
    tables: Iterator[pa.Table],
    schema: pa.Schema,
    fingerprint: str,
    counts: Mapping[str, Any] | None = None,
    rows_per_group: int = ROWS_PER_GROUP,
) -> FileReceipt:
    """Write one file of `tables`, and its receipt after it; `counts`, statistics for a card, are read when all rows are written."""
    store.remove(file.receipt_name)
    rows = 0

    def counted() -> Iterator[pa.Table]:
        nonlocal rows
        for table in tables:
            rows += len(table)
            yield table

    with store.writer(file.path) as path:
        memory_bytes = write_parquet(path, counted(), schema, rows_per_group)
        record = record_of_file(path, file.path)
    receipt = FileReceipt(
        path=record.path,
        bytes=record.bytes,
        sha256=record.sha256,
        rows=rows,
        config_name=file.config_name,
        split=file.split,
        memory_bytes=memory_bytes,
        fingerprint=fingerprint,
        counts=dict(counts or {}),
    )
    receipt.save(store, file.receipt_name)
    return receipt


def finish_folder(store: Store, files: list[FileReceipt], texts: Mapping[str, str], *others: str) -> list[FileRecord]:
    """Write `texts` by their names, then SHA256SUMS of the Parquet `files`, the texts and the existing files `others`; these files."""
    records: list[FileRecord] = [file.record for file in files]
    for name, text in texts.items():
        _commit_if_new(store, name, text.encode())
    records += [record_of(name, store.read(name)) for name in (*texts, *others)]
    _commit_if_new(store, CHECKSUMS, checksums(records))
    return records


def _entries(store: Store) -> list[str]:
    """The names in the folder; none if it does not exist yet."""
    return [entry["name"].rsplit("/", 1)[-1] for entry in store.remote.list(store.root)]


def _commit_if_new(store: Store, name: str, data: bytes) -> None:
    """Commit unless the file holds these bytes; a finished folder stays untouched."""
    try:
        if store.read(name) == data:
            return
    except FileNotFoundError:
        pass
    store.commit(name, data)
