"""AERI-PEDES is read from its two lists: pairs of images to train, persons to test, and the ground images as splits of their own."""

import json
from pathlib import Path

import pytest

from mals.errors import UserError
from pretrain.datasets import open_benchmark
from pretrain.datasets.importing import import_benchmark
from pretrain.datasets.layout import BenchmarkRow
from tests.pretrain.datasets import layouts


def rows(folder: Path) -> dict[str, list[BenchmarkRow]]:
    return {split: list(part) for split, part in open_benchmark("aeri-pedes", folder).splits.items()}


def test_training_pairs_are_aerial_images_with_captions_and_ground_images_apart(tmp_path: Path) -> None:
    splits = rows(layouts.aeri(tmp_path))
    assert [(row.image, row.identity, len(row.captions)) for row in splits["train"]] == [
        ("aer/1.jpg", 1, 2),  # listed in two pairs
        ("aer/2.jpg", 1, 1),
        ("aer/3.jpg", 2, 1),
    ]
    assert [row.extras for row in splits["train"]] == [("aerial", "gnd/1.jpg"), ("aerial", "gnd/1.jpg"), ("aerial", "gnd/2.jpg")]
    assert [(row.image, row.identity, row.captions, row.extras) for row in splits["ground_train"]] == [
        ("gnd/1.jpg", 1, (), ("ground", None)),
        ("gnd/2.jpg", 2, (), ("ground", None)),
    ]
    assert {row.camera for row in splits["train"]} == {0} and {row.camera for row in splits["ground_test"]} == {1}


def test_another_folder_of_eleven_characters_is_cut_off_too_if_all_paths_have_it(tmp_path: Path) -> None:
    expected = rows(layouts.aeri(tmp_path))
    text = (tmp_path / "train_caption.json").read_text()
    (tmp_path / "train_caption.json").write_text(text.replace("AERI-PEDES", "pedes_data"))
    assert rows(tmp_path) == expected
    (tmp_path / "train_caption.json").write_text(text.replace("AERI-PEDES/", "").replace("AERI-PEDES\\\\", ""))
    assert rows(tmp_path) == expected


def test_lists_of_other_splits_alone_are_refused(tmp_path: Path) -> None:
    for name in ("train", "test"):
        file = layouts.aeri(tmp_path) / f"{name}_caption.json"
        layouts.written(file, [entry | {"split": "dev"} for entry in json.loads(file.read_text())])
    layouts.written(tmp_path / "train_caption.json", json.loads((tmp_path / "test_caption.json").read_text()))
    with pytest.raises(UserError, match=r"train_caption.json lists no image of the splits of AERI-PEDES"):
        rows(tmp_path)


def test_all_captions_of_the_test_are_there_and_its_images_are_aerial(tmp_path: Path) -> None:
    splits = rows(layouts.aeri(tmp_path))
    assert [(row.image, row.identity, row.captions) for row in splits["test"]] == [
        ("aer/7.jpg", 9, ("A man in a red coat.",)),
        ("aer/8.jpg", 9, ()),
        ("aer/9.jpg", 10, ("A woman.", "She has a bag.")),
        ("aer/10.jpg", 10, ("A woman in blue.",)),
    ]  # person 11 has no caption
    assert [row.image for row in splits["ground_test"]] == ["gnd/7.jpg", "gnd/8.jpg"]


def test_images_without_a_caption_are_packed_where_a_split_needs_none(tmp_path: Path) -> None:
    source = layouts.aeri(tmp_path / "raw")
    file = source / "train_caption.json"
    objects = json.loads(file.read_text())
    objects[1]["caption"] = " "
    layouts.written(file, objects)
    contents = import_benchmark("aeri-pedes", source, str(tmp_path / "out")).contents
    counts = {split: (counted.images.count, counted.captions.count, counted.without_caption) for split, counted in contents.splits.items()}
    assert counts == {"train": (2, 3, 1), "ground_train": (2, 0, 0), "test": (4, 4, 0), "ground_test": (2, 0, 0)}
    assert contents.warnings == ["test: 4 captions, where 6,141 are expected"]


def test_all_training_captions_are_read_where_the_sampled_ones_are_not_there(tmp_path: Path) -> None:
    expected = rows(layouts.aeri(tmp_path))
    (tmp_path / "train_caption.json").rename(tmp_path / "complete_caption.json")
    benchmark = open_benchmark("aeri-pedes", tmp_path)
    assert {split: list(part) for split, part in benchmark.splits.items()} == expected
    assert benchmark.notes == ["the training captions are all those of complete_caption.json: there is no train_caption.json"]
    (tmp_path / "test_caption.json").unlink()
    benchmark = open_benchmark("aeri-pedes", tmp_path)
    assert list(benchmark.splits) == ["train", "ground_train"] and benchmark.notes[1].startswith("there is no test_caption.json; the same")


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("train_caption.json", lambda objects: objects[0].pop("ground_img"), "object 1 has no ground_img, only split, pid"),
        ("train_caption.json", lambda objects: objects[0].update(caption=[7]), "object 1 has a number as a caption, not a text"),
        ("train_caption.json", lambda objects: objects[0].update(aerial_img="../1.jpg"), "no path in the image folder"),
        (
            "test_caption.json",
            lambda objects: objects[1].update(file_paths="a.jpg"),
            "object 2 has 'a.jpg' where a list of images should be",
        ),
        ("test_caption.json", lambda objects: objects[1].update(pid=None), "object 2 has 'None' as its pid, not a whole number"),
    ],
)
def test_a_list_of_aeri_pedes_that_is_not_as_released_is_refused_with_its_place(file: str, change, words: str, tmp_path: Path) -> None:
    objects = json.loads((layouts.aeri(tmp_path) / file).read_text())
    change(objects)
    layouts.written(tmp_path / file, objects)
    with pytest.raises(UserError, match=words):
        open_benchmark("aeri-pedes", tmp_path)
