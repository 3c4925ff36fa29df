"""Queries for re-identification: people behind objects and cut views, the same people in the same pose as without."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mals.errors import UserError
from mals.stages.pose import KEYPOINTS
from mals.world.make import make
from mals.world.scene import draw_image
from mals.world.settings import QUERIES, WorldSettings
from tests.conftest import Mals

OPTIONS = {"persons": 6, "views": 3, "split": "train=0.5,test=0.3,val=0.2", "seed": 5, "height": 64}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same world without queries and with."""
    whole, occluded = (tmp_path_factory.mktemp("world") / name for name in ("whole", "occluded"))
    make(str(whole), WorldSettings.checked(**OPTIONS), workers=1)
    make(str(occluded), WorldSettings.checked(**OPTIONS, occlude=True), workers=1)
    return whole, occluded


def rows(folder: Path, split: str) -> list[dict]:
    return [row for path in sorted((folder / "data").glob(f"{split}-*")) for row in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize("height", [64, 128])
def test_an_object_hides_a_share_of_the_person_and_changes_nothing_else(height: int) -> None:
    shares = []
    for number in range(60):
        whole, hidden = draw_image(3, number, 4, height), draw_image(3, number, 4, height, hiding="occluded")
        again = draw_image(3, number, 4, height, hiding="occluded")
        assert (hidden.pixels == again.pixels).all() and (hidden.mask == again.mask).all()
        assert (hidden.person, hidden.camera, hidden.place, hidden.box) == (whole.person, whole.camera, whole.place, whole.box)
        assert np.array_equal(hidden.keypoints[:, :2], whole.keypoints[:, :2]) and (hidden.keypoints[:, 2] <= whole.keypoints[:, 2]).all()
        assert not (hidden.mask & ~whole.mask).any()
        shares.append(1 - hidden.mask.sum() / whole.mask.sum())
        away = np.abs(hidden.pixels.astype(int) - whole.pixels.astype(int)).max(2) <= 30  # JPEG spreads an edge a little
        assert away.mean() > 0.2
    assert min(shares) > 0.05 and max(shares) < 0.9 and 0.3 < float(np.mean(shares)) < 0.6
    assert len({round(share, 3) for share in shares}) > 40  # of many kinds and sizes


def test_an_object_before_a_joint_makes_it_hidden() -> None:
    legs = [KEYPOINTS.index(f"{side}_ankle") for side in ("left", "right")]
    ankles = [draw_image(3, number, 4, 128, hiding="occluded").keypoints[legs, 2] for number in range(60)]
    assert sum((visibility == 1).all() for visibility in ankles) > 20  # behind counters, cars and bushes
    assert sum((visibility == 2).all() for visibility in ankles) > 5  # below boards, beside pillars


def test_a_cut_view_is_a_part_of_the_whole_image_with_its_ground_truth() -> None:
    sides = set()
    for number in range(60):
        whole, cut = draw_image(3, number, 4, 128), draw_image(3, number, 4, 128, hiding="partial")
        height, width = cut.pixels.shape[:2]
        assert (height < 128) != (width < 64)
        places = [
            (top, left)
            for top in {0, 128 - height}
            for left in {0, 64 - width}
            if np.array_equal(whole.pixels[top : top + height, left : left + width], cut.pixels)
        ]
        ((top, left),) = places
        sides.add((height < 128, top > 0, left > 0))
        assert np.array_equal(whole.mask[top : top + height, left : left + width], cut.mask)
        inside = cut.keypoints[:, 2] > 0
        assert np.allclose(cut.keypoints[inside, :2] + (left, top), whole.keypoints[inside, :2]) and not cut.keypoints[~inside].any()
        for x, y, visibility in whole.keypoints[~inside]:
            assert not visibility or not (left <= x < left + width - 1 and top <= y < top + height - 1)
        assert cut.box is not None and 0 <= cut.box[0] < cut.box[2] <= width and 0 <= cut.box[1] < cut.box[3] <= height
        assert 0.1 < cut.mask.sum() / whole.mask.sum() < 0.95
    assert len(sides) == 4


def test_queries_show_the_persons_of_test_by_other_cameras_three_times(folders: tuple[Path, Path]) -> None:
    _, folder = folders
    splits = {split: rows(folder, split) for split in ("train", "val", "test", "query", "query_occluded", "query_partial")}
    persons = {row["person"] for row in splits["test"]}
    for split in ("query", "query_occluded", "query_partial"):
        assert [(row["person"], row["camera"]) for row in splits[split]] == [(n, c) for n in sorted(persons) for c in (3, 4)]
        assert len(splits[split]) == QUERIES * len(persons)
    for whole, hidden, cut in zip(splits["query"], splits["query_occluded"], splits["query_partial"], strict=True):
        assert (hidden["id"], cut["id"]) == (f"{whole['id']}-occluded", f"{whole['id']}-partial")
        assert whole["attributes"] == hidden["attributes"] == cut["attributes"] and whole["captions"] == cut["captions"]
        with Image.open(io.BytesIO(cut["image"]["bytes"])) as image:
            assert image.size == (cut["width"], cut["height"]) < (32, 65)
    assert len({row["id"] for part in splits.values() for row in part}) == sum(map(len, splits.values())) == 18 + 3 * QUERIES * len(persons)


def test_the_other_splits_are_the_same_without_queries(folders: tuple[Path, Path]) -> None:
    whole, occluded = folders
    for split in ("train", "val", "test"):
        assert rows(whole, split) == rows(occluded, split)
    assert "queries" not in json.loads((whole / "world.json").read_text())  # as before there were queries
    assert "| query_partial | 2 | 4 |" in (occluded / "README.md").read_text()
    assert "query_partial" not in (whole / "README.md").read_text()


def test_without_a_test_split_or_with_a_split_of_that_name_there_are_no_queries(mals: Mals, tmp_path: Path) -> None:
    for split, message in (("train=1", "--split has none"), ("test=0.5,query=0.5", "makes the split query")):
        with pytest.raises(UserError, match=message):
            WorldSettings.checked(**OPTIONS | {"split": split}, occlude=True)
    done = mals("world", "make", "--to", "set", "--persons", 3, "--views", 2, "--height", 64, "--workers", 1, "--occlude", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["splits"] == {
        "train": 2,
        "val": 2,
        "test": 2,
        **dict.fromkeys(("query", "query_occluded", "query_partial"), QUERIES),
    }
