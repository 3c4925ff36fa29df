"""Images of a list are looked for in the listings of their folders, however they are spelled there."""

import os
import unicodedata
from pathlib import Path

import pytest

from mals.errors import UserError
from pretrain.data.image_folder import ImageFolder, locate_images

LIST = Path("list.json")


def touched(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_a_file_is_found_as_it_is_or_as_the_only_one_of_another_spelling(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "müller.jpg")
    folder = ImageFolder(touched(tmp_path, "CUHK01/1.JPG", "a.jpg", "b.jpg", "B.jpg", "cam_a\\2.jpg", f"Straße/{decomposed}"))
    assert folder.find("a.jpg") == "a.jpg" and folder.find("cuhk01/1.jpg") == "CUHK01/1.JPG"
    assert folder.find("b.jpg") == "b.jpg" and folder.find("B.JPG") is None  # two differ in case alone
    assert folder.find(f"Straße/{unicodedata.normalize('NFC', decomposed)}") == f"Straße/{decomposed}"
    assert folder.find("STRASSE/MÜLLER.JPG") == f"Straße/{decomposed}"
    assert folder.find("cam_a/2.jpg") == "cam_a\\2.jpg"  # unpacked by a program that knows no folders of Windows
    assert folder.find("CUHK01") is None and folder.find("c/1.jpg") is None and folder.find("x" * 5000) is None
    assert folder.missing_folder("cuhk01/2.jpg") is None and folder.missing_folder("2.jpg") is None
    assert folder.missing_folder("CUHK02/a/2.jpg") == "CUHK02" and folder.missing_folder("CUHK01/a/2.jpg") == "CUHK01/a"
    assert folder.path("cuhk01/1.jpg") == tmp_path / "CUHK01/1.JPG" and folder.path("c/1.jpg") == tmp_path / "c/1.jpg"


def test_links_to_files_count_and_broken_ones_do_not(tmp_path: Path) -> None:
    touched(tmp_path, "store/1.jpg")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "store/1.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "store/2.jpg")
    assert ImageFolder(tmp_path).find("a.jpg") == "a.jpg" and ImageFolder(tmp_path).find("b.jpg") is None


def test_missing_images_are_counted_and_named_and_other_spellings_are_told(tmp_path: Path) -> None:
    touched(tmp_path, "1.jpg", "2.JPG")
    assert locate_images(LIST, tmp_path, ["1.jpg"]) == (["1.jpg"], [])
    located, (note,) = locate_images(LIST, tmp_path, ["1.jpg", "2.jpg"])
    assert located == ["1.jpg", "2.JPG"] and note.startswith("1 of the 2 images of list.json are spelled otherwise in")
    assert note.endswith("such as 2.JPG for 2.jpg")
    touched(tmp_path, unicodedata.normalize("NFD", "ü.jpg"))
    assert locate_images(LIST, tmp_path, ["ü.jpg"])[1][0].endswith("such as 'u\\u0308.jpg' for '\\xfc.jpg'")  # both look alike
    with pytest.raises(UserError, match=r"^2 of the 3 images that list.json names are not in .*: 3.jpg, a/4.jpg; put them there, or"):
        locate_images(LIST, tmp_path, ["1.jpg", "3.jpg", "a/4.jpg"])
    with pytest.raises(UserError, match=r"^1,999 of the 2,000 images .*: 1\.png, 2\.png, .*, 8\.png and 1,991 more; put them there"):
        locate_images(LIST, tmp_path, ["1.jpg", *(f"{at}.png" for at in range(1, 2000))])
    with pytest.raises(UserError, match=r"^the images of list.json are not in .*: there is no .*/3.jpg; give the folder that they are in$"):
        locate_images(LIST, tmp_path, ["3.jpg"])


def test_a_folder_is_listed_once_and_no_file_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{folder}/{at}.jpg" for folder in "abc" for at in range(50)]
    touched(tmp_path, *names)
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    monkeypatch.setattr(os, "stat", lambda *_: pytest.fail("an image was looked at"))
    assert locate_images(LIST, tmp_path, names)[0] == names and len(listed) == 3


def test_names_are_kept_up_to_a_bound_and_files_are_looked_at_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched(tmp_path, *(f"{folder}/{at}.jpg" for folder in "abc" for at in range(50)))
    folder, listed, scandir = ImageFolder(tmp_path, kept=120), [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    assert folder.find("a/1.jpg") and folder.find("b/1.jpg") and len(listed) == 2
    assert folder.find("c/1.jpg") == "c/1.jpg" and len(listed) == 3  # those of the first two are dropped
    assert folder.find("a/2.jpg") == "a/2.jpg" and folder.find("b/2.jpg") == "b/2.jpg" and len(listed) == 3
    assert folder.find("a/2.JPG") == "a/2.jpg" and folder.find("a/50.jpg") is None and folder.find("x" * 5000) is None
    assert folder.find("d/1.jpg") is None and folder.missing_folder("d/1.jpg") == "d"
