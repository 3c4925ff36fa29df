"""Files of captions joined by base name: links, Windows separators, and a temporary disk without room."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mals.errors import UserError
from pretrain.datasets import joined_captions
from pretrain.datasets.joined_captions import JoinedCaptions
from tests.conftest import environment
from tests.pretrain.datasets.layouts import shown, written


def test_images_are_in_the_order_in_which_a_file_first_names_them(tmp_path: Path) -> None:
    shown(tmp_path / "images", ["1.jpg", "2.JPG", "3.png"])
    files = {
        "one": written(tmp_path / "one.json", {"b\\3.png": "c", "a/1.jpg": "a"}),
        "two": written(tmp_path / "two.json", {"x/2.JPG": "b", "x/1.jpg": ["d"], "x/4.jpg": "e", "x/3.png": " "}),
    }
    joined = JoinedCaptions(tmp_path, files)
    assert (
        list(joined)
        == list(joined)
        == [
            ("3.png", "images/3.png", {"one": "c"}),
            ("1.jpg", "images/1.jpg", {"one": "a", "two": "d"}),
            ("2.JPG", "images/2.JPG", {"two": "b"}),
            ("4.jpg", None, {}),
        ]
    )
    assert joined.notes == []


def test_folders_that_are_links_are_followed_each_once(tmp_path: Path) -> None:
    shown(tmp_path / "elsewhere" / "deep", ["1.jpg"])
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "images").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "set")  # a circle
    joined = JoinedCaptions(tmp_path / "set", {"one": written(tmp_path / "one.json", {"1.jpg": "a"})})
    assert [image.path for image in joined] == ["images/deep/1.jpg"] and joined.notes == []


def test_links_that_lead_nowhere_and_names_that_are_no_unicode_are_no_images(tmp_path: Path) -> None:
    shown(tmp_path / "b", ["1.jpg"])
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").symlink_to(tmp_path / "gone.jpg")
    Path(os.fsdecode(bytes(tmp_path / "b") + b"/\xff.jpg")).write_bytes(b"x")
    joined = JoinedCaptions(tmp_path, {"one": written(tmp_path / "one.json", {"x/1.jpg": "a"})})
    assert [image.path for image in joined] == ["b/1.jpg"] and joined.notes == []


def test_images_in_another_case_or_normal_form_are_found_unless_two_are_alike(tmp_path: Path) -> None:
    shown(tmp_path / "images", ["ONE.JPG", "cafe\u0301.jpg", "Two.jpg", "two.JPG", "same.jpg", "SAME.jpg"])
    names = ["a/one.jpg", "caf\u00e9.jpg", "TWO.jpg", "same.jpg"]
    joined = JoinedCaptions(tmp_path, {"one": written(tmp_path / "one.json", dict.fromkeys(names, "a"))})
    assert [image.path for image in joined] == ["images/ONE.JPG", "images/cafe\u0301.jpg", None, "images/same.jpg"]
    assert joined.notes == ["images that are spelled otherwise in the folder: 2, such as images/ONE.JPG for one.jpg"]


def test_of_images_with_one_base_name_the_first_path_counts(tmp_path: Path) -> None:
    shown(tmp_path, ["b/1.jpg", "a/1.jpg", "c/1.jpg"])
    (tmp_path / "0").symlink_to(tmp_path / "c")  # the folder c, which comes first so
    joined = JoinedCaptions(tmp_path, {"one": written(tmp_path / "one.json", {"1.jpg": "a"})})
    assert [image.path for image in joined] == ["0/1.jpg"]
    assert joined.notes == ["images here whose base name another image has, which has the captions instead: 2, such as b/1.jpg"]


def test_a_disk_without_room_is_one_sentence(tmp_path: Path) -> None:
    shown(tmp_path, ["1.jpg"])
    written(tmp_path / "one.json", {"1.jpg": "a" * 5_000_000})
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
    code += "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    code += "from pathlib import Path\nfrom mals.errors import UserError\nfrom pretrain.datasets import joined_captions\n"
    code += "joined_captions.CACHE = 100\n"
    code += "try: joined_captions.JoinedCaptions(Path('.'), {'one': Path('one.json')})\nexcept UserError as error: print(error)\n"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert "captions are joined in a temporary file, which failed:" in result.stdout and "TMPDIR" in result.stdout, result.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1_000_000


def test_captions_that_outgrow_the_cache_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined_captions, "CACHE", 1000)  # KiB
    names = [f"{at}.jpg" for at in range(40)]
    shown(tmp_path / "images", names)
    text = "a man in red " * 20_000  # 260 kB
    files = {}
    for source in "abcd":
        files[source] = tmp_path / f"{source}.json"
        files[source].write_text(json.dumps({f"{source}/{name}": f"{source} {name} {text}" for name in names}))
    joined = JoinedCaptions(tmp_path, files)
    for image, name in zip(joined, names, strict=True):
        assert image.captions == {source: f"{source} {name} {text}" for source in "abcd"}


def test_a_name_that_is_no_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'a/\.\.' names the image '\.\.', which is no path"):
        JoinedCaptions(tmp_path, {"one": written(tmp_path / "one.json", {"a/..": "a"})})
