"""Objects by their import path."""

import sys

import pytest

from mals.errors import UserError
from mals.plugins import load_object


def test_an_object_of_an_installed_module_is_loaded():
    assert load_object("pathlib:Path", "stages.crop").__name__ == "Path"


def test_a_module_of_the_current_folder_is_found_with_its_neighbors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own_stage_one.py").write_text("from own_stage_two import answer\n")
    (tmp_path / "own_stage_two.py").write_text("answer = 42\n")
    assert load_object("own_stage_one:answer", "stages.crop") == 42


@pytest.mark.parametrize("target", ["nowhere:stage", "pathlib:nothing", "pathlib.nowhere:stage"])
def test_what_cannot_be_imported_is_named_with_its_setting(target):
    with pytest.raises(UserError, match=f"stages.crop = '{target}' cannot be imported"):
        load_object(target, "stages.crop")
    with pytest.raises(UserError, match="is not of the form"):
        load_object("pathlib", "stages.crop")
