"""One coordinator a run, or one a part of it; a lock is released when its process ends, for any reason."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mals.errors import UserError
from mals.grid.store import Store


@contextmanager
def coordinator(store: Store, part: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold the run, or part i of n, against other coordinators; raises UserError where another holds any of it.

    Only a local folder (or NFSv4) can be locked. On an object store nothing is locked: two coordinators do the same work twice there, with
    equal results.
    """
    if store.folder is None:
        yield
        return
    folder = store.folder / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    own = "whole" if part is None else f"{part[0]}-of-{part[1]}"
    with ExitStack() as locks:
        with FileLock(folder / "gate.lock"):  # so that two that start at once see each other
            for path in sorted(folder.glob("*.lock")):
                if path.stem != "gate" and _clash(own, path.stem) and _held(path):
                    other = "another mals command" if path.stem == "whole" else f"mals with --shards {path.stem.replace('-of-', '/')}"
                    raise UserError(f"{store.url} is being worked on by {other}; wait for it or stop it")
            locks.enter_context(FileLock(folder / f"{own}.lock", timeout=0))
        yield


@contextmanager
def summary_lock(store: Store, stage: str) -> Iterator[None]:
    """Wait until no other part of the run makes the summary of `stage`; on an object store nothing is locked, see `coordinator`."""
    if store.folder is None:
        yield
        return
    with FileLock(store.folder / "locks" / f"{stage}.summary"):
        yield


def _clash(own: str, other: str) -> bool:
    """True unless they are different parts of the same division: only those work on no cell in common."""
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
