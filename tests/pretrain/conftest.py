"""A data set that trainings share, and a trained method with its data, anew in each module."""

from pathlib import Path

import pytest

from pretrain.trained_method import Trained, read
from tests.pretrain.packs import packed
from tests.pretrain.releases import released


@pytest.fixture(scope="session")
def trainable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed data set with captions and labels."""
    return packed(tmp_path_factory.mktemp("trainable") / "run", 60)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small packed data set."""
    return packed(tmp_path_factory.mktemp("data") / "run", 20)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A finished training on `data`."""
    return released(tmp_path_factory.mktemp("released") / "out", data)


@pytest.fixture(scope="module")
def trained(out: Path) -> Trained:
    """The method of that training."""
    return read(str(out))
