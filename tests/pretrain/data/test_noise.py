"""Wrong pairs on purpose: how many, of other persons, the same for the same seed; files, ours and RDE's; what does not fit is refused."""

import json

import numpy as np
import pytest

from mals.errors import UserError
from pretrain.data import noise

PERSONS = np.repeat(np.arange(50), 4)


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_a_share_of_the_rows_has_captions_of_other_persons(share):
    order = noise.draw(PERSONS, share, 3)
    moved = order != np.arange(200)
    assert moved.sum() == 200 * share and sorted(order) == list(range(200))
    assert (PERSONS[order[moved]] != PERSONS[moved]).all()
    assert (order == noise.draw(PERSONS, share, 3)).all() and (order != noise.draw(PERSONS, share, 4)).any()


def test_no_share_moves_nothing_and_one_person_keeps_its_captions_together():
    assert noise.draw(PERSONS, 0.0, 3).tolist() == list(range(200))
    assert sorted(noise.draw(np.zeros(9, np.int64), 1.0, 3)) == list(range(9))


def test_a_file_has_the_order_and_what_it_was_drawn_with(tmp_path):
    order = noise.draw(PERSONS, 0.2, 3)
    noise.save(tmp_path / "noise.json", order, 0.2, 3)
    assert (noise.read(tmp_path / "noise.json", 200) == order).all()
    assert {name: json.loads((tmp_path / "noise.json").read_text())[name] for name in ("share", "seed")} == {"share": 0.2, "seed": 3}
    np.save(tmp_path / "theirs.npy", order.astype(np.int32))
    assert (noise.read(tmp_path / "theirs.npy", 200) == order).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([0, 1], "is for 2 rows, and the training has 3$"),
        ([0, 1, 3], r"names row 3, and rows are 0 to 2$"),
        ([0, -1, 2], r"names row -1, and rows are 0 to 2$"),
        ([0.5, 1, 2], "is no order of captions: it has float64"),
        ([[0, 1, 2]], "is no order of captions: it has int64 of shape \\[1, 3\\]"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, content, message):
    np.save(tmp_path / "noise.npy", content)
    (tmp_path / "noise.json").write_text(json.dumps({"captions": content}))
    for name in ("noise.npy", "noise.json"):
        with pytest.raises(UserError, match=message):
            noise.read(tmp_path / name, 3)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"captions": [1, [2]]}'])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    for name in ("noise.npy", "noise.json"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=r"is no order of captions, which is a \.npy array or JSON with 'captions'"):
            noise.read(tmp_path / name, 3)
    with pytest.raises(UserError, match=r"is no order of captions"):
        noise.read(tmp_path / "missing.json", 3)
