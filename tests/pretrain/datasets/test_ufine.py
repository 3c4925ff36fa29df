"""UFine6926 and UFine3C are read from their lists: captions of any number, the data set that an image came from, persons of all sources."""

import json
from pathlib import Path

import pytest

from mals.errors import UserError
from pretrain.datasets import open_benchmark
from pretrain.datasets.importing import import_benchmark
from tests.pretrain.datasets import layouts


def changed(file: Path, change) -> None:
    """A list with its objects changed."""
    objects = json.loads(file.read_text())
    change(objects)
    layouts.written(file, objects)


@pytest.mark.parametrize("name", ["UFine6926.json", "UFine6926_Annotations_1024.json"])
def test_ufine6926_has_two_long_captions_an_image_whatever_its_list_is_called(name: str, tmp_path: Path) -> None:
    benchmark = open_benchmark("ufine6926", layouts.ufine6926(tmp_path, name))
    splits = {split: list(rows) for split, rows in benchmark.splits.items()}
    assert [(row.image, row.identity) for row in splits["train"]] == [("images/1.jpg", 1), ("images/2.jpg", 1), ("images/3.jpg", 2)]
    assert [row.identity for row in splits["test"]] == [4927, 4928] and benchmark.notes == []
    assert all(len(row.captions) == 2 and len(row.captions[0].split()) > 80 for row in splits["train"])


def test_ufine6926_is_found_in_the_folder_that_both_sets_are_unpacked_in(tmp_path: Path) -> None:
    layouts.ufine6926(tmp_path / "UFineBench" / "UFine6926")
    assert len(list(open_benchmark("ufine6926", tmp_path).splits["train"])) == 3


def test_training_identities_with_gaps_are_told(tmp_path: Path) -> None:
    changed(layouts.ufine6926(tmp_path) / "UFine6926_Annotations_1024.json", lambda objects: objects[2].update(id=5))
    (note,) = open_benchmark("ufine6926", tmp_path).notes
    assert note.endswith("without gaps, as in the released file: 3, such as 2, are missing")


def test_only_the_sums_of_ufine6926_are_held_against_the_authors_numbers(tmp_path: Path) -> None:
    report = import_benchmark("ufine6926", layouts.ufine6926(tmp_path / "raw"), str(tmp_path / "out"))
    assert report.contents.warnings == [
        "all: 5 images, where 26,206 are expected",
        "all: 4 identities, where 6,926 are expected",
        "all: 10 captions, where 52,412 are expected",
    ]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| train | 3 | 2 | 6 |" in card and "| all | 5 of 26,206 | 4 of 6,926 | 10 of 52,412 |" in card
    assert report.to_json()["total"]["images"] == {"count": 5, "expected": 26_206}


def test_ufine3c_has_any_number_of_captions_and_the_source_of_each_image(tmp_path: Path) -> None:
    benchmark = open_benchmark("ufine3c", layouts.ufine3c(tmp_path))
    assert list(benchmark.splits) == ["test"] and benchmark.notes == []
    rows = list(benchmark.splits["test"])
    assert [len(row.captions) for row in rows] == [3, 4, 5, 6] and [row.identity for row in rows] == [1, 1, 2, 3]
    assert [row.extras for row in rows] == [("CUHK-PEDES",), ("CUHK-PEDES",), ("ICFG-PEDES",), ("UFine6926",)]


def test_identities_that_two_sources_have_are_two_persons_and_are_told(tmp_path: Path) -> None:
    changed(layouts.ufine3c(tmp_path) / "UFine3C" / "UFine3C_Annotations.json", lambda objects: objects[2].update(id=1))
    benchmark = open_benchmark("ufine3c", tmp_path)
    assert [row.identity for row in benchmark.splits["test"]] == [1, 1, 4, 3]
    assert benchmark.notes == ["identities of one source that another source has too, taken for other persons: 1"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda objects: objects[1].pop("source"), "object 2 has no source, only id, split"),
        (lambda objects: objects[1].update(source=7), "object 2 has '7' as its source, not the name of a data set"),
        (lambda objects: objects[1].update(split="train"), "object 2 is of the split 'train', where UFine3C has test alone"),
    ],
)
def test_a_list_of_ufine3c_that_is_not_as_released_is_refused_with_its_place(change, words: str, tmp_path: Path) -> None:
    changed(layouts.ufine3c(tmp_path) / "UFine3C" / "UFine3C_Annotations.json", change)
    with pytest.raises(UserError, match=words):
        open_benchmark("ufine3c", tmp_path)
