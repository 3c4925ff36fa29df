"""TAG-PEDES is read from its two lists: no split to select with, and a view label in some objects."""

import json
from pathlib import Path

import pytest

from mals.errors import UserError
from pretrain.datasets import open_benchmark
from pretrain.datasets.importing import import_benchmark
from tests.pretrain.datasets import layouts


@pytest.mark.parametrize("lists", ["anno_dir", "."])
def test_tag_pedes_has_train_and_test_and_cam_id_as_the_camera_where_there_is_one(lists: str, tmp_path: Path) -> None:
    benchmark = open_benchmark("tag-pedes", layouts.tag(tmp_path, lists))
    rows = {split: list(part) for split, part in benchmark.splits.items()}
    assert benchmark.images.root == tmp_path / "images" and benchmark.notes == []
    assert [(row.image, row.identity, row.camera) for row in rows["train"]] == [
        ("a/1.jpg", 12, 0),
        ("a/2.jpg", 12, 1),
        ("b/1.jpg", 13, None),
    ]
    assert [(row.identity, row.camera) for row in rows["test"]] == [(40, 0), (40, None)]
    assert rows["train"][0].captions[0] == 'A man (about 30): a "red" coat; black shoes! Image a/1.jpg.'  # nothing is removed


def test_a_list_of_tag_pedes_that_is_not_there_is_an_empty_split(tmp_path: Path) -> None:
    (layouts.tag(tmp_path / "raw") / "anno_dir" / "test_reid.json").unlink()
    report = import_benchmark("tag-pedes", tmp_path / "raw", str(tmp_path / "out"))
    assert "test: 0 images, where 8,252 are expected" in report.contents.warnings and report.rows == 3


@pytest.mark.parametrize("camera", [-1, 2**31, "x", 0.5])
def test_a_cam_id_that_is_no_number_of_a_camera_is_refused_with_its_place(camera, tmp_path: Path) -> None:
    file = layouts.tag(tmp_path) / "anno_dir" / "train_reid.json"
    objects = json.loads(file.read_text())
    objects[1]["cam_id"] = camera
    layouts.written(file, objects)
    with pytest.raises(UserError, match=r"object 2 has .* as its cam_id, not a "):
        open_benchmark("tag-pedes", tmp_path)
