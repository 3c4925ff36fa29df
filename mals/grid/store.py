"""The files of a run, on a local disk or behind any fsspec URL: each appears whole or not at all.

Local: see `mals.files`. Object store: built locally, then put as one object. The name of a temporary file holds the host and the process
that owns it, so that `sweep` removes only files of dead processes.
"""

import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mals.errors import UserError
from mals.files import DISK_FULL, replacing
from mals.grid.ranged import RangedParquet
from mals.grid.remote import Remote
from mals.processes import is_alive

WHOLE = 512 << 10  # bytes up to which a remote Parquet file is read with one request instead of its parts with several
BLOCK = 8 << 20  # bytes of a file in memory while it is hashed or copied
HOST = "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:40] or "host"


class Store:
    """A folder of files named by "/"-separated relative names."""

    def __init__(self, url: str):
        self.url = str(url)
        self.remote = Remote(self.url)
        self.fs, self.root = self.remote.fs, self.remote.root
        local = self.fs.protocol == "file" or "file" in self.fs.protocol
        self.folder: Path | None = Path(self.root) if local else None

    def path(self, name: str) -> str:
        """The path of `name` within its file system."""
        return f"{self.root.rstrip('/')}/{name}"

    def commit(self, name: str, data: bytes) -> None:
        """Make `name` hold `data`, whole or not at all."""
        if self.folder is None:
            self.remote.write(self.path(name), data)
            return
        with self.writer(name) as path:
            path.write_bytes(data)

    def create(self, name: str, data: bytes) -> bool:
        """Make `name` hold `data` unless it is there already, on a store behind a URL; whether it was made."""
        return self.remote.create(self.path(name), data)

    @contextmanager
    def writer(self, name: str) -> Iterator[Path]:
        """A local file to build `name` in; it becomes `name` on a clean exit and vanishes on any other."""
        if self.folder is None:
            with tempfile.TemporaryDirectory(prefix="mals-") as scratch:
                temporary = Path(scratch) / "file"
                yield temporary
                self.remote.upload(str(temporary), self.path(name))
            return
        target = self.folder / name
        temporary = target.parent / f".{target.name}.{HOST}.{os.getpid()}.tmp"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target, temporary):
                yield temporary
        except OSError as error:
            if error.errno in DISK_FULL:
                raise disk_full(target) from None
            raise

    def read(self, name: str) -> bytes:
        """The bytes of `name`; FileNotFoundError where there is none."""
        if self.folder is not None:
            return (self.folder / name).read_bytes()
        return self.remote.read(self.path(name))

    def read_all(self, names: list[str]) -> dict[str, bytes]:
        """Name -> bytes, of those of `names` that exist; many objects are fetched at once."""
        if self.folder is None:
            paths = {self.path(name): name for name in names}
            objects = self.remote.read_all(list(paths))
            return {name: objects[path] for path, name in paths.items() if path in objects}
        data = {}
        for name in names:
            try:
                data[name] = (self.folder / name).read_bytes()
            except FileNotFoundError:
                continue
        return data

    def size(self, name: str) -> int | None:
        """Bytes of `name`; None where there is none."""
        try:
            if self.folder is not None:
                return (self.folder / name).stat().st_size
            return self.remote.size(self.path(name))
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Take `name` away; nothing happens where there is none."""
        if self.folder is not None:
            (self.folder / name).unlink(missing_ok=True)
        else:
            self.remote.remove(self.path(name))

    def list(self, folder: str) -> dict[str, int]:
        """The files directly in `folder` with their bytes, by their names from the root, sorted; temporary files are left out."""
        if self.folder is not None:
            try:
                with os.scandir(self.folder / folder) as entries:
                    sizes = {f"{folder}/{e.name}": e.stat().st_size for e in entries if e.is_file() and not e.name.endswith(".tmp")}
            except FileNotFoundError:
                return {}
            return dict(sorted(sizes.items()))
        entries_ = sorted(self.remote.list(self.path(folder)), key=lambda entry: entry["name"])
        files = [entry for entry in entries_ if entry["type"] == "file" and not entry["name"].endswith("/")]  # "locks/" marks a folder
        return {f"{folder}/{entry['name'].rsplit('/', 1)[1]}": int(entry["size"]) for entry in files}

    def parquet(self, name: str, size: int | None = None) -> pq.ParquetFile | RangedParquet:
        """`name` opened as Parquet; local files are memory-mapped, of large remote ones only the columns that are asked for are read.

        `size`, its bytes where they are known, saves a request.
        """
        if self.folder is not None:
            return pq.ParquetFile(self.folder / name, memory_map=True)
        path = self.path(name)
        size = self.remote.size(path) if size is None else size
        if size <= WHOLE:
            return pq.ParquetFile(pa.BufferReader(self.remote.read(path)))
        return RangedParquet(self.remote, path, size)

    def blocks(self, name: str) -> Iterator[bytes]:
        """The bytes of `name` in blocks."""
        if self.folder is not None:
            with (self.folder / name).open("rb") as file:
                while block := file.read(BLOCK):
                    yield block
            return
        path = self.path(name)
        size = self.remote.size(path)
        for start in range(0, size, BLOCK):
            yield self.remote.read(path, start, min(start + BLOCK, size))

    def sha256(self, name: str) -> str:
        """The hex digest of the bytes of `name`."""
        digest = hashlib.sha256()
        for block in self.blocks(name):
            digest.update(block)
        return digest.hexdigest()

    def sweep(self) -> int:
        """Remove the temporary files of dead processes of this machine; returns how many there were."""
        if self.folder is None or not self.folder.exists():
            return 0
        swept = 0
        for path in self.folder.rglob(f".*.{HOST}.*.tmp"):
            pid = path.name.split(".")[-2]
            if pid.isdigit() and not is_alive(int(pid)):
                path.unlink(missing_ok=True)
                swept += 1
        return swept


def disk_full(path: Any) -> UserError:
    """The error of a disk without space."""
    return UserError(f"no space is left for {path}; free some and give the same command again, finished work is kept")
