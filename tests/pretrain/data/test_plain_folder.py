"""A folder of images is a data set."""

import os
from pathlib import Path

import pytest
import torch

from mals.errors import UserError
from pretrain.data.errors import NoCaptions, NoLabels
from pretrain.data.plain_folder import is_plain_folder
from pretrain.data.rows import ImageTextPairs
from tests.pretrain.packs import packed
from tests.small.cells import small_jpeg


def folder_of(place: Path) -> Path:
    (place / "b").mkdir(parents=True)
    for name in ("c.jpg", "b/a.JPG", "a.jpeg", ".hidden.jpg", "Ü.jpg"):
        (place / name).write_bytes(small_jpeg(name, 16, 32))
    (place / "notes.md").write_text("no image")
    (place / "a.txt").write_text("a man in\nred\n")
    return place


def test_images_of_a_folder_are_rows_in_the_order_of_their_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = folder_of(tmp_path / "photos")
    rows = ImageTextPairs.open([place], captions=False)
    assert [rows.image_id(row) for row in range(len(rows))] == ["a.jpeg", "b/a.JPG", "c.jpg", "Ü.jpg"]
    assert list(rows.captions()) == ["a man in red", "", "", ""] and rows.persons.equal(torch.arange(4))
    assert rows.image_bytes(1) == small_jpeg("b/a.JPG", 16, 32) and rows.location(1) == str(place / "b/a.JPG")
    assert "4 images; what is no image is left out: 1 .md" in caplog.text
    with pytest.raises(NoCaptions, match="3 of 4 rows have no caption"):
        ImageTextPairs.open([place])
    with pytest.raises(NoLabels, match="has no attribute labels"):
        ImageTextPairs.open([place], classes={"hat": ("yes", "no")}, captions=False)


def test_a_name_that_is_no_utf_8_is_read_and_has_an_id(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    name = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / "photos" / name).write_bytes(small_jpeg("a", 16, 32))
    rows = ImageTextPairs.open([tmp_path / "photos"], captions=False)
    assert rows.image_id(0) == "caf\\xe9.jpg" and rows.image_bytes(0) == small_jpeg("a", 16, 32) and rows.stamp(0)


def test_packed_sets_and_runs_are_no_such_folders(tmp_path: Path) -> None:
    data = packed(tmp_path / "run", 12)
    assert not is_plain_folder(data) and not is_plain_folder(data.parent) and not is_plain_folder(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/a.docx").write_text("")
    assert is_plain_folder(tmp_path / "empty")
    with pytest.raises(UserError, match=r"empty holds neither a packed data set, .*, nor an image; it has 1 \.docx"):
        ImageTextPairs.open([tmp_path / "empty"])
