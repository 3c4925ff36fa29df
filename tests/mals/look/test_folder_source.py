"""A plain folder of images."""

from pathlib import Path

import pytest

from mals.errors import UserError
from mals.look.folder_source import FolderSource
from mals.look.server import open_source
from tests.small import cells


def test_images_of_a_folder_have_names_and_the_captions_beside_them(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/two.jpg", "one.jpg"):
        (tmp_path / name).write_bytes(cells.small_jpeg(name, 16, 32))
    (tmp_path / "one.txt").write_text("a man in a coat")
    source = open_source(str(tmp_path))
    assert isinstance(source, FolderSource)
    assert source.load(["id", "caption"])["id"].to_pylist() == ["b/two.jpg", "one.jpg"]
    assert source.take([1, 0], ["caption", "folder"]) == [{"caption": "a man in a coat", "folder": ""}, {"caption": None, "folder": "b"}]
    assert source.image(1) == cells.small_jpeg("one.jpg", 16, 32)
    (tmp_path / "one.jpg").unlink()
    assert source.image(1) is None


def test_what_holds_nothing_to_show_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no image in it"):
        open_source(str(tmp_path))
    with pytest.raises(UserError, match="there is no folder"):
        open_source(str(tmp_path / "nothing"))
