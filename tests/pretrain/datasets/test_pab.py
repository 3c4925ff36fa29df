"""PAB: its lists of lines, hard partners, test captions as lists, and what is missing of a download."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mals.errors import UserError
from pretrain.datasets import open_benchmark
from pretrain.datasets.importing import import_benchmark
from pretrain.datasets.layout import identity_number
from tests.pretrain.datasets import layouts


def packed(folder: Path, split: str) -> list[dict]:
    return [row for path in sorted((folder / "data").glob(f"{split}-*")) for row in pq.read_table(path).to_pylist()]


def test_lines_are_read_again_in_each_iteration_list_after_list(tmp_path: Path) -> None:
    benchmark = open_benchmark("pab", layouts.pab(tmp_path))
    train = list(benchmark.splits["train"])
    assert list(benchmark.splits["train"]) == train and len(train) == 16
    assert [row.image for row in train[:2]] == ["train/imgs_2/goal/0.jpg", "train/imgs_2/full/0.jpg"]  # attr_2 before attr_10
    assert {split: len(list(rows)) for split, rows in benchmark.splits.items()} == {"train": 16, "test": 2, "ucc": 3}


def test_action_scene_and_hard_partner_are_columns_and_the_partners_path_is_its_id(tmp_path: Path) -> None:
    import_benchmark("pab", layouts.pab(tmp_path / "raw"), str(tmp_path / "out"))
    first, second = packed(tmp_path / "out", "train")[:2]
    assert (first["normal"], first["anomaly"], first["scene"]) == ("walks", None, "street") and second["anomaly"] == "falls"
    assert first["hard_image"] == second["id"] == "train/imgs_2/full/0.jpg" and first["hard_caption"] == second["caption"]
    assert first["hard_image_id"] == second["image_id"] == "2_100"
    assert (first["source_id"], first["source_caption"], first["synthetic"]) == ("0_1", "someone in a street", True)


def test_a_hard_partner_whose_path_has_the_folder_is_the_same(tmp_path: Path) -> None:
    file = layouts.pab(tmp_path) / "annotation" / "train" / "attr_2.json"
    expected = list(open_benchmark("pab", tmp_path).splits["train"])
    file.write_text(file.read_text().replace('"hard_i": "', '"hard_i": "train/'))
    assert list(open_benchmark("pab", tmp_path).splits["train"]) == expected


def test_captions_of_the_tests_are_lists_and_images_of_one_id_are_one_person(tmp_path: Path) -> None:
    import_benchmark("pab", layouts.pab(tmp_path / "raw"), str(tmp_path / "out"))
    one, again, other = packed(tmp_path / "out", "ucc")
    assert one["caption"] == "ucc 3, image 0" and one["captions"][0]["source"] == "PAB" and one["synthetic"] is False
    assert one["person"] == again["person"] != other["person"] and one["hard_image"] is None


def test_an_identity_that_is_a_text_has_the_same_number_everywhere() -> None:
    assert identity_number("here", 7) == identity_number("here", "7") == 7
    number = identity_number("here", "0_7")
    assert number == 939_232_100_551_011_403 and identity_number("there", "0_7") == number != identity_number("here", "0_8")
    with pytest.raises(UserError, match="here has no identity"):
        identity_number("here", None)


def test_lists_that_are_missing_are_named(tmp_path: Path) -> None:
    notes = open_benchmark("pab", layouts.pab(tmp_path)).notes
    words = "lists of train that are not there: 73 of 75 (attr_0.json, attr_1.json, attr_3.json, ...)"
    assert notes == [f"{words}; the same command packs their images once they are"]


def test_a_set_of_one_split_is_that_split(tmp_path: Path) -> None:
    folder = layouts.pab(tmp_path)
    for file in (folder / "annotation" / "train").iterdir():
        file.unlink()
    assert list(open_benchmark("pab", folder).splits) == ["test", "ucc"]
    report = import_benchmark("pab", folder, str(tmp_path / "out"))
    assert "train: 0 images, where 1,013,605 are expected" in report.contents.warnings


def test_lists_of_the_challenge_have_no_partners(tmp_path: Path) -> None:
    folder = layouts.pab(tmp_path)
    for file in (folder / "annotation" / "train").iterdir():
        entries = [json.loads(line) for line in file.read_text().splitlines() if line]
        shorter = [{name: entry[name] for name in ("image", "caption", "image_id")} for entry in entries]
        layouts.written_lines(file.with_name(file.name.replace("attr", "imgs")), shorter)
        file.unlink()
    rows = list(open_benchmark("pab", folder).splits["train"])
    assert len(rows) == 16 and {row.extras[1:] for row in rows} == {(None,) * 8}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"image": "train/imgs_2/go', "attr_2.json, line 33 is not JSON: .*downloaded in part"),
        ('{"image": "train/1.jpg", "caption": "x"}', "line 33 has no image_id"),
        ('{"image": "/train/1.jpg", "caption": "x", "image_id": 1}', "line 33 names the image"),
        ('{"image": "train/1.jpg", "caption": [1], "image_id": 1}', "line 33 has a number as a caption, not a text"),
        ('{"image": "train/1.jpg", "caption": "x", "image_id": 1, "scene": ["a"]}', "line 33 has .* as its scene, not a text"),
        ('{"image": "train/1.jpg", "caption": "x", "image_id": 1, "hard_i": "../a.jpg"}', "line 33 names the image"),
    ],
)
def test_a_line_that_is_not_as_released_is_refused_with_its_place(line: str, words: str, tmp_path: Path) -> None:
    file = layouts.pab(tmp_path / "raw", 8) / "annotation" / "train" / "attr_2.json"
    with file.open("a") as stream:
        stream.write(f"\n{line}\n")
    with pytest.raises(UserError, match=words) as refused:
        import_benchmark("pab", tmp_path / "raw", str(tmp_path / "out"))
    assert "\n" not in str(refused.value) and not (tmp_path / "out").exists()
