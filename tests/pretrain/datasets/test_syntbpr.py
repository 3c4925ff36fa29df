"""SynTBPR: back translations, and lists of its captioners."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mals.errors import UserError
from pretrain.datasets import open_benchmark
from pretrain.datasets.importing import import_benchmark
from tests.pretrain.datasets import layouts


def test_back_translations_are_captions_with_their_own_source(tmp_path: Path) -> None:
    import_benchmark("syntbpr", layouts.syntbpr(tmp_path / "raw"), str(tmp_path / "out"))
    (file,) = (tmp_path / "out" / "data").iterdir()
    first, second, *_ = pq.read_table(file).to_pylist()
    assert [(caption["text"], caption["source"]) for caption in first["captions"]] == [
        ("A man in red.", "MLLM"),
        ("A red man.", "back translation"),
    ]
    assert first["caption"] == "A man in red." and first["synthetic"] is True
    assert [caption["text"] for caption in second["captions"]] == ["A man in red on a beach."]  # a blank translation says nothing


def test_an_object_without_id_is_of_the_person_in_its_images_name(tmp_path: Path) -> None:
    benchmark = open_benchmark("syntbpr", layouts.syntbpr(tmp_path))
    rows = list(benchmark.splits["train"])
    assert [row.identity for row in rows] == [7, 7, 12, 12] and rows[3].image == "images_12_4_1.jpg"
    assert benchmark.notes == ["images whose object has no id, of the person in the image's name: 1, such as images_12_4_1.jpg"]
    entry = {"image_path": "C:\\made\\images_3_1_2.jpg", "captions": ["A person."]}
    layouts.written(tmp_path / "train_reid.json", [entry])
    layouts.shown(tmp_path / "images", ["images_3_1_2.jpg"])
    assert [(row.image, row.identity) for row in open_benchmark("syntbpr", tmp_path).splits["train"]] == [("images_3_1_2.jpg", 3)]
    layouts.written(tmp_path / "train_reid.json", [entry | {"image_path": "/made/1.jpg"}])
    with pytest.raises(UserError, match=r"object 1 has no id, and its image 1\.jpg is not named as images_7_123_2\.jpg"):
        open_benchmark("syntbpr", tmp_path)
