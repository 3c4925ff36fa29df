"""SynCPR: each image once, however often and in which direction its pair is listed."""

from pathlib import Path

import pytest

from mals.errors import UserError
from pretrain.datasets import open_benchmark
from tests.pretrain.datasets import layouts


def test_each_image_is_packed_once_with_its_own_caption_and_its_partner(tmp_path: Path) -> None:
    rows = list(open_benchmark("syncpr", layouts.syncpr(tmp_path)).splits["train"])
    assert len({row.image for row in rows}) == len(rows) == 6
    first, second = rows[:2]
    assert (first.image, first.captions) == ("test1/sub_img/img_right/0-1_right.png", ("A person in red.",))
    assert first.extras == ("0", second.image, "Wearing red") and second.extras == ("1", first.image, "Wearing black")


def test_images_of_one_caption_are_one_identity_and_the_two_of_a_pair_are_not(tmp_path: Path) -> None:
    rows = list(open_benchmark("syncpr", layouts.syncpr(tmp_path)).splits["train"])
    assert [row.identity for row in rows] == [0, 1, 0, 1, 2, 3]
    assert {row.captions for row in rows if row.identity == 1} == {("A person in black.",)}


def test_doubled_objects_and_references_that_are_no_target_are_counted(tmp_path: Path) -> None:
    assert open_benchmark("syncpr", layouts.syncpr(tmp_path)).notes == [
        "objects: 8, each pair in both directions; images: 6, each packed once, where it is the target",
        "objects whose target is that of an earlier object, left out: 2",
        "references that are the target of no object, left out: 1, such as test2/lonely.png",
    ]
    layouts.written(tmp_path / "SynCPR.json", [{"target_image_path": "a.png"}])
    with pytest.raises(UserError, match="object 1 has no reference_image_path, target_caption, cpr_id, only target_image_path"):
        open_benchmark("syncpr", tmp_path)
