"""A packed folder made without a run: claimed by a file that says what it is, then Parquet files one by one, SHA256SUMS last.

Each Parquet file appears whole, its receipt (`.made/…json`) after it. A make that was killed keeps, when it is given again, every file
whose receipt and hash hold. What makes the rows of a file is its fingerprint: another one, and the file is made again.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mals.dataset.pack import sums, write
from mals.errors import UserError
from mals.grid.store import Store

ROWS_PER_FILE = 4096
ROWS_PER_GROUP = 128
SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class File:
    """One Parquet file to be: rows [first, last) of the splits in their order."""

    path: str
    split: str
    first: int
    last: int

    @property
    def note(self) -> str:
        """Where its receipt is."""
        return f".made/{self.path.removeprefix('data/')}.json"


def files_of(splits: Mapping[str, int], rows_per_file: int) -> list[File]:
    """The files of splits with so many rows, in the order of their rows."""
    found, first = [], 0
    for split, rows in splits.items():
        last, count = first + rows, -(-rows // rows_per_file)
        for at in range(count):
            start = first + at * rows_per_file
            found.append(File(f"data/{split}-{at:05d}-of-{count:05d}.parquet", split, start, min(last, start + rows_per_file)))
        first = last
    return found


def claim(store: Store, to: str, name: str, asked: Mapping[str, Any], thing: str) -> None:
    """Write `asked` as the file `name` into an empty or new folder; raises UserError where the folder is not that `thing`'s."""
    wanted = json.loads(json.dumps(asked))
    try:
        found = json.loads(store.read(name))
        differing = [key for key in wanted if found.get(key) != wanted[key]] if isinstance(found, dict) else ["what it is"]
    except FileNotFoundError:
        differing = []
        if any(not entry.rstrip("/").endswith(".tmp") for entry in _entries(store)):
            raise UserError(f"{to} holds something else already; give a new or empty folder") from None
        store.commit(name, json.dumps(wanted, indent=1).encode() + b"\n")
    except ValueError:
        differing = ["what it is"]
    except NotADirectoryError:
        raise UserError(f"{to} is not a folder; give a folder to write to") from None
    if differing:
        raise UserError(f"{to} holds another {thing} (it differs in {', '.join(differing)}); give the same arguments or another folder")
    store.sweep()


def kept(store: Store, file: File, fingerprint: str) -> dict[str, Any]:
    """The receipt of a file that is whole and of this fingerprint; empty where it is not."""
    try:
        note = json.loads(store.read(file.note))
    except (FileNotFoundError, ValueError):
        return {}
    holds = note["fingerprint"] == fingerprint and store.size(file.path) == note["bytes"] and store.sha256(file.path) == note["sha256"]
    return note if holds else {}


def made(
    store: Store, file: File, tables: Iterator[pa.Table], schema: pa.Schema, fingerprint: str, counts: Mapping[str, Any]
) -> dict[str, Any]:
    """Write one file of `tables`, and its receipt after it; `counts` is read when all rows are written."""
    store.remove(file.note)
    rows = 0

    def counted() -> Iterator[pa.Table]:
        nonlocal rows
        for table in tables:
            rows += len(table)
            yield table

    with store.writer(file.path) as path:
        memory = write(path, counted(), schema, ROWS_PER_GROUP)
        size = path.stat().st_size
        with path.open("rb") as written:
            sha256 = hashlib.file_digest(written, "sha256").hexdigest()
    receipt = {"path": file.path, "bytes": size, "sha256": sha256, "config": "default", "split": file.split}
    receipt |= {"rows": rows, "memory": memory, "counts": counts, "fingerprint": fingerprint}
    store.commit(file.note, json.dumps(receipt, indent=1).encode())
    return receipt


def finish(store: Store, files: list[dict[str, Any]], texts: Mapping[str, str], *others: str) -> list[dict[str, Any]]:
    """Write `texts` by their names, and SHA256SUMS of them, the Parquet `files` and `others` that are there; all but the sums."""
    found = list(files)
    for name, text in texts.items():
        _commit(store, name, text.encode())
    for name in (*texts, *others):
        data = store.read(name)
        found.append({"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    _commit(store, SUMS, sums(found))
    return found


def _entries(store: Store) -> list[str]:
    """What is in the folder, none where it is not there yet."""
    try:
        return [str(name).rsplit("/", 1)[-1] for name in store.fs.ls(store.root, detail=False)]
    except FileNotFoundError:
        return []


def _commit(store: Store, name: str, data: bytes) -> None:
    """Commit what is not there yet; a finished folder stays untouched."""
    try:
        if store.read(name) == data:
            return
    except FileNotFoundError:
        pass
    store.commit(name, data)
