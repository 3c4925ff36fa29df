"""A plain folder of images."""

import os
import shutil
from pathlib import Path

import pytest

from mals.errors import UserError
from mals.look.folder_source import FolderSource
from mals.look.server import open_source
from tests.mals.look.serving import ask, serving
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


def test_odd_names_and_files_that_are_no_images_are_shown(tmp_path: Path) -> None:
    image = cells.small_jpeg("a", 16, 32)
    names = ["a'b.jpg", 'q"<i>.jpg', "100%25.jpg", "new\nline.jpg", "ü日本.jpg", os.fsdecode(b"bad\xff.jpg")]
    for name in names:
        (tmp_path / name).write_bytes(image)
    (tmp_path / "a'b.txt").write_text("two\nlines <b>\u2028 \x00 {{7*7}}")
    (tmp_path / "broken.jpg").write_bytes(image[:100])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    source = FolderSource(str(tmp_path))
    assert source.rows == len(names) + 3
    with serving(source) as address:
        for page in ("/", "/images", "/captions"):
            text = ask(address + page).text
            assert "{{7*7}}" in text and "<b>" not in text and "<i>" not in text
        for row, name in enumerate(source.load(["id"])["id"].to_pylist()):
            is_image = name not in ("broken.jpg", "empty.png", "text.jpg")
            kind = "image/jpeg" if is_image else "image/svg+xml"
            assert ask(f"{address}/image/{row}").code == 200
            for place in ("thumbnail", "whole"):
                answer = ask(f"{address}/{place}/{row}.jpg")
                assert answer.headers["content-type"] == kind and b"script" not in answer.data, name


def test_a_folder_that_is_deleted_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(cells.small_jpeg("a", 16, 32))
    with serving(FolderSource(str(tmp_path / "images"))) as address:
        shutil.rmtree(tmp_path / "images")
        for page in ("/", "/images", "/image/0", "/captions"):
            answer = ask(address + page)
            assert answer.code == 409 and "is not there any more" in answer.text
