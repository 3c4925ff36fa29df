"""ITCPR: a gallery with distractors, captions by instance, and persons whose ids collide."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mals.errors import UserError
from pretrain.datasets import open_benchmark
from pretrain.datasets.importing import import_benchmark
from pretrain.datasets.layout import BenchmarkRow
from pretrain.evaluate import evaluate, open_gallery
from pretrain.trained_method import read
from tests.pretrain.datasets import layouts
from tests.pretrain.releases import released


def rows(folder: Path) -> list[BenchmarkRow]:
    return list(open_benchmark("itcpr", folder).splits["test"])


def test_captions_stand_beside_the_first_image_of_their_instance(tmp_path: Path) -> None:
    gallery = rows(layouts.itcpr(tmp_path))
    assert [row.captions for row in gallery] == [("Wearing a hat",), ("Wearing red",), (), ("Wearing blue jeans",), (), ()]
    assert [row.identity for row in gallery] == [1, 2, 2, 900, None, None]
    assert [row.id for row in gallery[1:3]] == ["Celeb-reID/001/1_70_0.jpg", "Celeb-reID/001/1_70_0.jpg#2"]


def test_persons_of_two_data_sets_with_one_id_have_two_numbers(tmp_path: Path) -> None:
    assert [row.extras for row in rows(layouts.itcpr(tmp_path))] == [
        *[("Celeb-reID", 0)] * 3,
        ("PRCC", 1),
        ("LAST", 2),
        ("LAST", 3),
    ]


def test_what_is_doubled_or_has_no_image_is_counted(tmp_path: Path) -> None:
    assert open_benchmark("itcpr", layouts.itcpr(tmp_path)).notes == [
        "captions of query.json whose instance_id no image has that is there, left out: 1",
        "images that gallery.json lists again, packed for each time: 1",
    ]
    (tmp_path / "Celeb-reID/001/1_70_0.jpg").unlink()
    notes = open_benchmark("itcpr", tmp_path).notes
    assert notes[0] == "captions of query.json whose instance_id no image has that is there, left out: 2"


def test_every_image_is_searched_and_every_caption_is_a_query(trainable: Path, tmp_path: Path) -> None:
    report = import_benchmark("itcpr", layouts.itcpr(tmp_path / "raw"), str(tmp_path / "out"))
    assert report.rows == 6 and report.contents.splits["test"].without_caption == 0
    packed = pq.read_table(*(tmp_path / "out" / "data").iterdir()).to_pylist()
    assert packed[4]["caption"] is None and packed[4]["captions"] == [] and packed[4]["person"] is None
    trained = read(str(released(tmp_path / "method", trainable)))
    scores = evaluate(trained, open_gallery(trained, [str(tmp_path / "out")]), "none").retrieval
    assert scores is not None and (scores.captions, scores.images, scores.unmatched) == (3, 6, 0)
    assert scores.identities == 5  # a distractor is a person of its own


def test_a_half_of_the_set_and_a_query_of_a_distractor_are_refused(tmp_path: Path) -> None:
    folder = layouts.itcpr(tmp_path)
    queries = json.loads((folder / "query.json").read_text())
    layouts.written(folder / "query.json", [queries[0] | {"instance_id": -1}])
    with pytest.raises(UserError, match="object 1 has the instance_id -1"):
        open_benchmark("itcpr", folder)
    (folder / "query.json").unlink()
    with pytest.raises(UserError, match=r"does not hold ITCPR: looked for gallery.json, query.json"):
        open_benchmark("itcpr", folder)
