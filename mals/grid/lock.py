"""One coordinator a run, or one a part of it, and one at a time for what may not be done by two.

In a local folder (or on NFSv4) a lock is released when its process ends, for any reason. On an object store, where there are no locks, it
is a lease, see `mals.grid.lease`.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mals.errors import UserError
from mals.grid.lease import FOLDER, Taken, lease
from mals.grid.store import Store


@contextmanager
def coordinator(store: Store, part: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold the run, or part i of n, against other coordinators; raises UserError where another holds any of it."""
    own = "whole" if part is None else f"{part[0]}-of-{part[1]}"
    with ExitStack() as locks:
        if store.folder is None:
            try:
                locks.enter_context(lease(store, own, lambda other: _clash(own, other)))
            except Taken as taken:
                raise UserError(f"{_refusal(store, taken.name)}; it is {taken.owner}") from None
        else:
            locks.enter_context(_local_lock(store, store.folder / FOLDER, own))
        yield


@contextmanager
def one_at_a_time(store: Store, name: str) -> Iterator[None]:
    """Wait until no other process does what `name` says, and then keep others from it."""
    if store.folder is None:
        with lease(store, name, wait=True):
            yield
        return
    (store.folder / FOLDER).mkdir(parents=True, exist_ok=True)
    with FileLock(store.folder / FOLDER / name):
        yield


@contextmanager
def _local_lock(store: Store, folder: Path, own: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as locks:
        with FileLock(folder / "gate.lock"):  # so that two that start at once see each other
            for path in sorted(folder.glob("*.lock")):
                if _clash(own, path.stem) and _held(path):
                    raise UserError(_refusal(store, path.stem))
            locks.enter_context(FileLock(folder / f"{own}.lock", timeout=0))
        yield


def _refusal(store: Store, name: str) -> str:
    other = "another mals command" if name == "whole" else f"mals with --shards {name.replace('-of-', '/')}"
    return f"{store.url} is being worked on by {other}; wait for it or stop it"


def _clash(own: str, other: str) -> bool:
    """Whether two coordinators may work on the same cell: all but two different parts of the same division may."""
    if not (other == "whole" or "-of-" in other):
        return False  # not a coordinator's
    if "whole" in (own, other) or own == other:
        return True
    return own.split("-of-")[1] != other.split("-of-")[1]


def _held(path: Path) -> bool:
    probe = FileLock(path)
    try:
        probe.acquire(timeout=0)
    except Timeout:
        return True
    probe.release()
    return False
