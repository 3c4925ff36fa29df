"""An object store in memory in the place of S3, for the tests of a folder that has none of its own."""

from collections.abc import Iterator

import pytest
from fsspec.registry import _registry

from mals.grid import remote
from tests.mals.grid.objects import Objects


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Objects]]:
    """The store behind s3://, empty, which is asked again without a pause."""
    monkeypatch.setitem(_registry, "s3", Objects)
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.0)
    Objects.reset()
    yield Objects
    Objects.reset()
