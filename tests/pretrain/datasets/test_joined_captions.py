"""Files of captions joined by base name: links, Windows separators, and a temporary disk without room."""

import json
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
