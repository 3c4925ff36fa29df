"""What tests of the grid share: an object store in memory in the place of S3, and a gate for stages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.registry import _registry

from mals.grid import remote
from tests.mals.grid.gates import Gate
from tests.mals.grid.objects import Objects


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Objects]]:
    """The store behind s3://, empty, which is asked again without a pause."""
    monkeypatch.setitem(_registry, "s3", Objects)
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.0)
    Objects.reset()
    yield Objects
    Objects.reset()


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A gate for one of the stages of gates.py."""
    for variable in ("MALS_GATE", "MALS_GATE_AT"):
        monkeypatch.setenv(variable, "")  # as it was before, when the test has ended
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.open()
