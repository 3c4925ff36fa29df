"""One coordinator a run, or one a slice of it; a lock is let go when its process ends, however it ends."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mals.errors import UserError
from mals.grid.store import Store


@contextmanager
def coordinator(store: Store, part: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold the run, or part i of n, against other coordinators; raises UserError where another holds any of it.

    Only a local folder (or NFSv4) can be locked. On an object store nothing is: two coordinators there do the same work twice, with equal
    results.
    """
    if store.folder is None:
        yield
        return
    folder = store.folder / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    mine = "whole" if part is None else f"{part[0]}-of-{part[1]}"
    with ExitStack() as held:
        with FileLock(folder / "gate.lock"):  # so that two that start at once see each other
            for path in sorted(folder.glob("*.lock")):
                if path.stem != "gate" and _clash(mine, path.stem) and _held(path):
                    who = "another mals command" if path.stem == "whole" else f"mals with --shards {path.stem.replace('-of-', '/')}"
                    raise UserError(f"{store.url} is being worked on by {who}; wait for it or stop it")
            held.enter_context(FileLock(folder / f"{mine}.lock", timeout=0))
        yield


def _clash(mine: str, other: str) -> bool:
    """Whether two coordinators may meet on one cell: all do, but for different parts of the same division."""
    if "whole" in (mine, other) or mine == other:
        return True
    return mine.split("-of-")[1] != other.split("-of-")[1]


def _held(path: Path) -> bool:
    probe = FileLock(path)
    try:
        probe.acquire(timeout=0)
    except Timeout:
        return True
    probe.release()
    return False
