"""The records of a packed data set, of each file and of the whole; their JSON is read and written here and nowhere else."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from mals.grid.receipt import PACK_RECEIPT
from mals.grid.store import Store

FOLDER = "dataset"  # of a run: the packed data set
REJECTED = "rejected"  # the config, and the folder, of refused and failed rows
CHECKSUMS = "SHA256SUMS"  # of a packed folder, as `sha256sum -c` reads it


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """One file of a data set."""

    path: str
    bytes: int
    sha256: str
    rows: int | None = None  # None if the file holds no rows

    def to_json(self) -> dict[str, Any]:
        """JSON object without the fields that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def record_of(path: str, data: bytes) -> FileRecord:
    """The record of a file that holds `data`."""
    return FileRecord(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def record_of_file(path: Path, name: str) -> FileRecord:
    """The record of the local file `path`, under the name `name`."""
    with path.open("rb") as file:
        return FileRecord(path=name, bytes=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True, kw_only=True)
class FileReceipt(FileRecord):
    """One finished Parquet file."""

    rows: int
    config_name: str  # "default" or "rejected"
    split: str
    memory_bytes: int  # size of its rows as Arrow tables
    fingerprint: str  # a hash of everything that its bytes depend on (docs/glossary.md)
    counts: dict[str, Any] = field(default_factory=dict)  # statistics of its rows for the data card

    @property
    def record(self) -> FileRecord:
        """Path, size, hash and rows alone."""
        return FileRecord(path=self.path, bytes=self.bytes, sha256=self.sha256, rows=self.rows)

    def holds(self, store: Store) -> bool:
        """Whether the file is in the store with this size and hash."""
        return store.size(self.path) == self.bytes and store.sha256(self.path) == self.sha256

    def save(self, store: Store, name: str) -> None:
        """Write the receipt as `name`."""
        store.commit(name, json.dumps(self.to_json(), indent=1).encode())

    @classmethod
    def load(cls, store: Store, name: str) -> Self | None:
        """The receipt in `name`; None if it is missing or unreadable."""
        values = _read_json(store, name)
        known = {entry.name for entry in fields(cls)}
        try:
            return cls(**values) if values is not None and values.keys() <= known else None
        except TypeError:
            return None


@dataclass(frozen=True, kw_only=True)
class PackReceipt:
    """A finished pack. `planned` = `kept` + `refused` + `failed` rows."""

    version: int  # of the packed format
    fingerprint: str  # a hash of the cells, the settings and `version`
    planned: int
    kept: int
    refused: int
    failed: int
    splits: dict[str, int]  # split -> kept rows
    origins: dict[str, int]  # origin (mals/origin.py), or "unknown" -> kept rows
    without_head: int | None  # kept rows without a head to blur; None if privacy.blur_faces is off
    bytes: int  # of all files
    files: tuple[FileRecord, ...]

    def split_files(self) -> dict[str, list[FileRecord]]:
        """Split -> its Parquet files of kept rows, in order."""
        files: dict[str, list[FileRecord]] = {split: [] for split in self.splits}
        for file in self.files:
            if file.path.startswith(f"{FOLDER}/data/"):
                files[Path(file.path).name.rsplit("-", 3)[0]].append(file)
        return files

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"files": [file.to_json() for file in self.files]}

    def save(self, store: Store) -> None:
        store.commit(PACK_RECEIPT, json.dumps(self.to_json(), indent=1, sort_keys=True).encode())

    @classmethod
    def load(cls, store: Store) -> Self | None:
        """The receipt of the last finished pack of a run; None if there is none."""
        values = _read_json(store, PACK_RECEIPT)
        try:
            return cls(**values | {"files": tuple(FileRecord(**file) for file in values["files"])}) if values is not None else None
        except (KeyError, TypeError):
            return None


def checksums(files: Iterable[FileRecord], folder: str = "") -> bytes:
    """The text of SHA256SUMS: a line for each file, named from `folder`, in the order of the names."""
    hashes = {file.path.removeprefix(folder): file.sha256 for file in files if not file.path.endswith(CHECKSUMS)}
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(hashes.items())).encode()


def _read_json(store: Store, name: str) -> dict[str, Any] | None:
    try:
        values = json.loads(store.read(name))
    except (FileNotFoundError, ValueError):
        return None
    return values if isinstance(values, dict) else None
