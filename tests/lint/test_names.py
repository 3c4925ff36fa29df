"""The check of names, sizes and words."""

from pathlib import Path

from tests.lint import names


def complaints(tmp_path: Path, text: str, name: str = "module.py") -> list[str]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return [message for _, message in names.check(path)]


def test_a_banned_identifier_is_named_wherever_it_is_bound(tmp_path):
    text = "import os as found\ndef f(told):\n    for _said in told:\n        x.asked = _said\n"
    assert [message.split()[2] for message in complaints(tmp_path, text)] == ["found", "told", "_said", "asked"]


def test_a_name_that_is_only_used_belongs_to_its_module(tmp_path):
    assert complaints(tmp_path, "x = error.found + library.told(given=1)\n") == []


def test_long_functions_and_files_are_named(tmp_path):
    function = "def f():\n" + "    x = 1\n" * 60
    assert complaints(tmp_path, function) == ["f has 61 lines; at most 60"]
    assert complaints(tmp_path, "x = 1\n" * 501) == ["the file has 501 lines; at most 500"]


def test_banned_words_count_in_prose_and_not_in_code(tmp_path):
    text = "# A picture\n`picture` and [text](picture.md)\n```\npicture\n```\n"
    assert complaints(tmp_path, text, "page.md") == ["the word 'picture'; write image"]
    assert len(complaints(tmp_path, '"""A picture."""\nx = "no picture here"\ny = "a picture"  # lint: data\npicture = 1\n')) >= 1
