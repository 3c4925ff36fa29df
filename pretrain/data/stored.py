"""Packed sets behind URLs, such as s3://bucket/set: their files in a folder of this machine, from which images are read at random."""

import hashlib
import os
from pathlib import Path

from filelock import FileLock

from mals.dataset.receipts import CHECKSUMS
from mals.errors import UserError
from mals.files import replacing
from mals.grid.store import Store

NEEDED = ("data/", "README.md")  # what a training reads


def from_store(url: str) -> Path:
    """The folder of a packed set at `url`, or at `url`/dataset, in the cache: what is not there is fetched and compared with its checksum.

    The name of the folder is a hash of SHA256SUMS, so a set that has changed has another. Raises UserError where there is no packed set,
    and where a file is not what its checksum says.
    """
    store, sums = _packed(url)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mals" / "sets"
    folder = cache / hashlib.sha256(sums).hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{folder.name}.lock"):  # the ranks of a training fetch it once
        for line in sums.decode().splitlines():
            digest, _, name = line.partition("  ")
            target = folder / name
            if not name.startswith(NEEDED) or target.exists():
                continue
            if not target.resolve().is_relative_to(folder.resolve()):
                raise UserError(f"{url} names the file {name}, which is outside of it")
            _fetch(store, name, digest, target)
    return folder


def _packed(url: str) -> tuple[Store, bytes]:
    """The store of a packed set and its SHA256SUMS."""
    for place in (url.rstrip("/"), f"{url.rstrip('/')}/dataset"):
        store = Store(place)
        try:
            return store, store.read(CHECKSUMS)
        except FileNotFoundError:
            continue
    raise UserError(f"{url} holds no packed set: there is no {CHECKSUMS} in it; give the URL of one, or of a run that is packed")


def _fetch(store: Store, name: str, digest: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as path:
        actual = hashlib.sha256()
        with path.open("wb") as file:
            for block in store.blocks(name):
                actual.update(block)
                file.write(block)
        if actual.hexdigest() != digest:
            raise UserError(f"{store.url}/{name} is not what {CHECKSUMS} says; `mals verify` on its run, or publish it again")
