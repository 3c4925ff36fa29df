"""Data sets are found where people keep them."""

import shutil
from pathlib import Path

import pytest

from mals.errors import UserError
from pretrain.data.rows import Pairs
from pretrain.data.sources import here
from tests.pretrain.packs import cuhk_list, packed

COMMIT = "a" * 40


def test_a_list_may_name_the_folder_of_its_pictures(tmp_path: Path) -> None:
    names = cuhk_list(tmp_path)
    assert here(f"{names}:{tmp_path / 'images'}") == (names, tmp_path / "images")
    assert len(Pairs.open([f"{names}:{tmp_path / 'images'}"])) == 8
    assert here(names) == (names, None) and here((names, tmp_path)) == (names, tmp_path)


def test_a_data_set_of_the_hub_is_taken_from_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    folder = packed(tmp_path / "run", 20)
    kept = cache / "datasets--somebody--persons"
    shutil.copytree(folder, kept / "snapshots" / COMMIT)
    (kept / "refs").mkdir()
    (kept / "refs/main").write_text(COMMIT)
    rows = len(Pairs.open([folder]))
    assert [len(Pairs.open([place])) for place in ("somebody/persons", "hf://datasets/somebody/persons")] == [rows, rows]
    assert len(Pairs.open([f"hf://datasets/somebody/persons@{COMMIT}"])) == rows
    for place in ("somebody/else", "hf://datasets/somebody/else"):
        with pytest.raises(UserError, match="there is no folder somebody/else, and the data set of that name cannot be had"):
            Pairs.open([place])
    with pytest.raises(UserError, match="is not of the form hf://datasets/OWNER/NAME"):
        Pairs.open(["hf://datasets/a/b/c"])


def test_a_folder_goes_before_a_hub_id_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed(tmp_path / "my/run", 20)
    monkeypatch.chdir(tmp_path)
    assert here("my/run") == (Path("my/run"), None)
