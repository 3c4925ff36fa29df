"""Which split a command takes where none is named."""

from pathlib import Path

import pytest

from mals.errors import UserError
from pretrain.data.splits import choose_split
from tests.pretrain.packs import cuhk_list, packed


def test_the_only_split_is_taken_and_several_are_named(tmp_path: Path) -> None:
    one = packed(tmp_path / "one", 20)
    both = packed(tmp_path / "both", 40, split={"train": 0.5, "test": 0.5})
    other = packed(tmp_path / "other", 40, split={"train": 0.5, "val": 0.5})
    assert choose_split([one]) == "train" and choose_split([both]) == "test" and choose_split([one.parent]) == "train"
    assert choose_split([one], "val") == "val" and choose_split([other], usual="val") == "val"
    listed = cuhk_list(tmp_path)
    assert choose_split([listed]) == "test" and choose_split([listed, one]) == "train"
    for data in ([other], [both, other], [one, other]):
        with pytest.raises(UserError, match=r"has no split test, only train(, val)?; say which one with --split$"):
            choose_split(data)
    with pytest.raises(UserError, match="has no split test, only train; say which one with --split"):
        choose_split([one, both])
