"""A kill at a chosen moment, for tests of what continues after it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mals.grid.store import Store


class Killed(BaseException):
    """Stands for SIGKILL."""


@contextmanager
def killed_at(moment: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Raise Killed while the file number `moment`, from 0, is being written by a store."""
    writer, count = Store.writer, 0

    @contextmanager
    def stopping(store: Store, name: str) -> Iterator[Path]:
        nonlocal count
        count += 1
        with writer(store, name) as path:
            yield path
            if count - 1 == moment:
                raise Killed(name)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "writer", stopping)
        yield
