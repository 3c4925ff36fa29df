"""TBAPR is read from the lists of two sets: pairs to train, parallel lists to measure, persons that are numbered anew in each list."""

import json
from pathlib import Path

import pytest

from mals.errors import UserError
from pretrain.datasets import open_benchmark
from pretrain.datasets.importing import import_benchmark
from pretrain.datasets.layout import BenchmarkRow
from tests.pretrain.datasets import layouts


def rows(folder: Path) -> dict[str, list[BenchmarkRow]]:
    return {split: list(part) for split, part in open_benchmark("tbapr", folder).splits.items()}


def test_training_pairs_of_both_sets_are_aerial_images_with_captions_and_ground_images_apart(tmp_path: Path) -> None:
    splits = rows(layouts.tbapr(tmp_path))
    assert list(splits) == ["train", "val", "test", "ground_train", "ground_val", "ground_test"]
    assert [(row.image, row.identity, row.captions) for row in splits["train"]] == [
        ("AG-ReID/train/a1.jpg", 0, ("Someone on a1, pair 0.", "Someone on a1, pair 3.")),  # listed in two pairs
        ("AG-ReID/train/a2.jpg", 0, ("Someone on a2, pair 1.",)),
        ("AG-ReID/train/a3.jpg", 1, ("Someone on a3, pair 2.",)),
        ("G2APS-AG/train/drone/b1.jpg", 2, ("Someone on b1, pair 0.",)),
        ("G2APS-AG/train/b2.jpg", 3, ("Someone on b2, pair 1.",)),
    ]
    assert splits["train"][3].extras == ("aerial", "G2APS-AG/ground/b_0.jpg", "G2APS", 0)
    assert [(row.image, row.camera, row.captions) for row in splits["ground_train"]][:2] == [
        ("AG-ReID/ground/a_0.jpg", 1, ()),
        ("AG-ReID/ground/a_1.jpg", 1, ()),
    ]


def test_persons_of_two_lists_with_one_number_are_two(tmp_path: Path) -> None:
    splits = rows(layouts.tbapr(tmp_path))
    persons = {split: {row.identity for row in part} for split, part in splits.items()}
    assert persons["train"] == {0, 1, 2, 3} and persons["val"] == {4, 5, 6, 7} and persons["test"] == {8, 9, 10, 11}
    assert all(persons[split] == persons[f"ground_{split}"] for split in ("train", "val", "test"))


def test_all_captions_of_the_test_are_there_beside_images_of_their_person(tmp_path: Path) -> None:
    first, second, third, *others = rows(layouts.tbapr(tmp_path))["test"]
    assert [row.captions for row in (first, second, third)] == [
        ("One of AG-ReID.",),
        (),
        ("Two of AG-ReID.", "Two again of AG-ReID."),
    ]
    assert len(others) == 3 and others[0].image == "G2APS-AG/test/0.jpg"
    assert open_benchmark("tbapr", tmp_path).notes == [
        "persons with captions and no aerial image, left out: 4, such as 2 of agtext_val.json"
    ]


def test_the_counts_are_held_against_those_of_the_authors_log(tmp_path: Path) -> None:
    layouts.tbapr(tmp_path / "TBAGPR")
    (tmp_path / "TBAGPR" / "G2APS-AG" / "g2aps_val.json").unlink()
    contents = import_benchmark("tbapr", tmp_path, str(tmp_path / "out")).contents
    assert contents.notes[0] == "lists that are not there: g2aps_val.json; the same command packs their images once they are"
    assert contents.warnings[:3] == [
        "train: 5 images, where 31,340 are expected",
        "train: 4 identities, where 1,180 are expected",
        "train: 6 captions, where 31,340 are expected",
    ]
    assert "test: 6 captions, where 3,200 are expected" in contents.warnings


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("agtext_train.json", lambda lists: lists[0].pop(), "pair 1 is not a list of person, number, aerial image, ground image"),
        ("agtext_train.json", lambda lists: lists[1].__setitem__(2, "a.jpg"), "pair 2 has 'a.jpg' as an image, not a list of its folder"),
        (
            "agtext_train.json",
            lambda lists: lists[1].__setitem__(3, ["..", "a.jpg"]),
            "pair 2 names the image '../a.jpg', which is no path",
        ),
        ("agtext_train.json", lambda lists: lists[1].__setitem__(0, None), "pair 2 has 'None' as its person, not a whole number"),
        ("agtext_test.json", lambda lists: lists.pop("captions"), "agtext_test.json has no captions, only image_pids"),
        ("agtext_test.json", lambda lists: lists["img_paths"].pop(), "lists of different lengths: 3 image_pids, 2 img_paths"),
        ("agtext_test.json", lambda lists: lists.update(caption_pids=7), "has '7' as its caption_pids, not a list"),
        ("agtext_test.json", lambda lists: lists["captions"].__setitem__(1, 5), "caption 2 has a number as a caption, not a text"),
    ],
)
def test_a_list_of_tbapr_that_is_not_as_released_is_refused_with_its_place(file: str, change, words: str, tmp_path: Path) -> None:
    path = layouts.tbapr(tmp_path) / "AG-ReID" / file
    lists = json.loads(path.read_text())
    change(lists)
    layouts.written(path, lists)
    with pytest.raises(UserError, match=words):
        open_benchmark("tbapr", tmp_path)


@pytest.mark.parametrize(("file", "words"), [("agtext_train.json", "no list of pairs"), ("agtext_val.json", "no object of parallel lists")])
def test_lists_of_the_other_form_are_refused(file: str, words: str, tmp_path: Path) -> None:
    other = {"agtext_train.json": {}, "agtext_val.json": []}
    layouts.written(layouts.tbapr(tmp_path) / "AG-ReID" / file, other[file])
    with pytest.raises(UserError, match=f"{file} holds {words}"):
        open_benchmark("tbapr", tmp_path)
