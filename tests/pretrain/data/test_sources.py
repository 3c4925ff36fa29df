"""The addresses of data sets."""

import shutil
from pathlib import Path

import pytest

from mals.errors import UserError
from pretrain.data.rows import ImageTextPairs
from pretrain.data.sources import local_path
from tests.pretrain.packs import cuhk_list, packed

COMMIT = "a" * 40


def test_a_list_may_name_the_folder_of_its_images(tmp_path: Path) -> None:
    names = cuhk_list(tmp_path)
    assert local_path(f"{names}:{tmp_path / 'images'}") == (names, tmp_path / "images")
    assert len(ImageTextPairs.open([f"{names}:{tmp_path / 'images'}"])) == 8
    assert local_path(names) == (names, None) and local_path((names, tmp_path)) == (names, tmp_path)


def test_a_data_set_of_the_hub_is_read_from_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    folder = packed(tmp_path / "run", 20)
    kept = cache / "datasets--lab--persons"
    shutil.copytree(folder, kept / "snapshots" / COMMIT)
    (kept / "refs").mkdir()
    (kept / "refs/main").write_text(COMMIT)
    rows = len(ImageTextPairs.open([folder]))
    assert [len(ImageTextPairs.open([address])) for address in ("lab/persons", "hf://datasets/lab/persons")] == [rows, rows]
    assert len(ImageTextPairs.open([f"hf://datasets/lab/persons@{COMMIT}"])) == rows
    for address in ("lab/missing", "hf://datasets/lab/missing"):
        with pytest.raises(UserError, match="there is no folder lab/missing, and the data set of that name cannot be downloaded"):
            ImageTextPairs.open([address])
    with pytest.raises(UserError, match="is not of the form hf://datasets/OWNER/NAME"):
        ImageTextPairs.open(["hf://datasets/a/b/c"])


def test_a_folder_has_priority_over_a_hub_id_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed(tmp_path / "my/run", 20)
    monkeypatch.chdir(tmp_path)
    assert local_path("my/run") == (Path("my/run"), None)
