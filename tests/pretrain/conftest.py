"""A data set that trainings share."""

from pathlib import Path

import pytest

from tests.pretrain.packs import packed


@pytest.fixture(scope="session")
def trainable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed data set with captions and labels."""
    return packed(tmp_path_factory.mktemp("trainable") / "run", 60)
