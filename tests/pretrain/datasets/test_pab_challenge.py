"""The challenge of PAB: `mals search` writes its answer."""

from pathlib import Path

import pytest

from mals.errors import UserError
from pretrain.datasets.pab_challenge import challenge_queries
from tests.conftest import Mals
from tests.pretrain.datasets import layouts
from tests.pretrain.releases import released


def test_the_answer_has_ten_names_a_line_in_the_order_of_the_index(mals: Mals, trainable: Path, tmp_path: Path) -> None:
    folder = layouts.pab_challenge(tmp_path / "masked")
    assert challenge_queries(folder) == ["a person sits", "a person walks", "a person falls"]  # z, y, x
    released(tmp_path / "method", trainable)
    words = ("search", "method", "--data", folder / "gallery", "--queries", folder, "--top", "10", "--workers", "0")
    result = mals(*words, "--to", "answer.txt", "--to", "answer.csv")
    assert result.returncode == 0, result.stderr
    lines = [line.split(" ") for line in (tmp_path / "answer.txt").read_text().splitlines()]
    gallery = {path.stem for path in (folder / "gallery").glob("*.jpg")}
    assert [len(set(line)) for line in lines] == [10] * 3 and {name for line in lines for name in line} <= gallery
    by_query = [line.split(",") for line in (tmp_path / "answer.csv").read_text().splitlines()[1:]]
    assert [row[2] for row in by_query] == [f"{name}.jpg" for line in lines for name in line]
    assert [row[0] for row in by_query[::10]] == ["a person sits", "a person walks", "a person falls"]


def test_a_folder_that_is_no_challenge_is_refused(tmp_path: Path) -> None:
    folder = layouts.pab_challenge(tmp_path)
    (folder / "query_index.txt").write_text("nobody\n")
    with pytest.raises(UserError, match=r"query_index.txt names nobody, of which query_text.json has no caption"):
        challenge_queries(folder)
    (folder / "query_text.json").unlink()
    with pytest.raises(UserError, match=r"is a folder without query_text.json of PAB's challenge, and saw gallery/, query_index.txt"):
        challenge_queries(folder)
