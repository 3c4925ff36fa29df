"""JSON Lines: the objects of a file with their places, and the errors of a broken one."""

import gzip
import json
from pathlib import Path

import pytest

from mals.errors import UserError
from mals.planning.json_lines import read_lines


def test_objects_have_their_lines_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"a": 1}\n\n  \n{"b": ["x"]}')
    assert list(read_lines(file)) == [(f"{file}, line 1", {"a": 1}), (f"{file}, line 4", {"b": ["x"]})]
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(file.read_bytes()))
    assert [entry for _, entry in read_lines(tmp_path / "b.json.gz")] == [{"a": 1}, {"b": ["x"]}]


def test_objects_before_a_broken_line_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}\n{"a": 2')
    lines = read_lines(tmp_path / "a.json")
    assert next(lines)[1] == {"a": 1}
    with pytest.raises(UserError, match=r"a\.json, line 2 is not JSON: .* at column 8; perhaps it was downloaded in part$"):
        next(lines)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1]", "line 2 is not a JSON object"),
        ('{"a": 1, "a": 2}', "line 2 has the key 'a' twice"),
        ('{"a": "\\ud83d"}', r"line 2 holds \\ud83d, half of a character"),
        (json.dumps({"a": 0}).replace("0", "9" * 5000), "line 2 holds a number of more than 4,300 digits"),
        ("[" * 100_000, "line 2 is "),
        ('{"a": "\x00"}', "line 2 is not JSON|binary"),
    ],
)
def test_a_line_that_is_no_object_is_one_sentence(line: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(f"{{}}\n{line}\n")
    with pytest.raises(UserError, match=words) as refused:
        list(read_lines(tmp_path / "a.json"))
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="there is no file"):
        list(read_lines(tmp_path / "b.json"))
