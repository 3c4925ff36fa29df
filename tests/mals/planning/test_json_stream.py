"""JSON files read piece by piece: the same values and the same errors as when they are read whole."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from mals.errors import UserError
from mals.planning import json_stream
from mals.planning.json_lists import read_objects, stream_entries, stream_objects
from mals.planning.json_stream import without_repeated_keys

OBJECTS = [
    {"image": "ü/1.jpg", "captions": ["a \U0001f600 man", 'with "quotes" \\ and \n'], "id": -12.5e3},
    {},
    {"a": {"b": [1, [2, {"c": None}]], "d": True}, "e": float("inf"), "f": 10**40},
]
ENTRIES = {"a/1.jpg": "A man.", "a/2.jpg": ["one", "two"], "": 123456, "ü": {"x": 1.5}}


def written(folder: Path, text: str) -> Path:
    (folder / "file.json").write_text(text, encoding="utf-8")
    return folder / "file.json"


def small_pieces(monkeypatch: pytest.MonkeyPatch, characters: int, longest: int = 1 << 26) -> None:
    monkeypatch.setattr(json_stream, "PIECE", characters)
    monkeypatch.setattr(json_stream, "LONGEST", longest)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("layout", [{}, {"indent": 3}, {"ensure_ascii": False, "separators": (",", ":")}])
def test_every_size_of_pieces_gives_what_the_whole_file_holds(
    piece: int, layout: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pieces(monkeypatch, piece)
    assert list(stream_objects(written(tmp_path, f" \n{json.dumps(OBJECTS, **layout)}\n\n"))) == OBJECTS
    assert list(stream_entries(written(tmp_path, json.dumps(ENTRIES, **layout)))) == list(ENTRIES.items())


@pytest.mark.parametrize("piece", [1, 5, 10_000])
@pytest.mark.parametrize(
    "text",
    [
        '[{"a": 1}, {"b": 2]',
        '[{"a": 1}\n {"b": 2}]',
        '[{"a": 1},\n\n  nul]',
        '[{"a": 1}] x',
        '[{"a": "b\n"}]',
        '[{"a": 1},',
        '[{"a": 1}',
        '[\n{"a": "b',
        "[",
    ],
)
def test_an_error_has_the_place_and_the_words_of_the_whole_file(
    text: str, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pieces(monkeypatch, piece)
    with pytest.raises(json.JSONDecodeError) as whole:
        json.loads(text)
    place = f"line {whole.value.lineno}, column {whole.value.colno}"
    with pytest.raises(UserError) as refused:
        list(stream_objects(written(tmp_path, text)))
    assert str(refused.value) == f"{tmp_path / 'file.json'} is not JSON: {whole.value.msg} at {place}; perhaps it was downloaded in part"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": "b", "c"', "is not JSON: Expecting ':' delimiter at line 1, column 15"),
        ('{"a": "b", c: 1}', "is not JSON: Expecting property name enclosed in double quotes at line 1, column 12"),
        ('{"a": "b"', "is not JSON: Expecting ',' delimiter at line 1, column 10"),
        ('{"a": "b"}{', "is not JSON: Extra data at line 1, column 11"),
        ('{"a": {"x": 1, "x": 2}}', "has an object with the key 'x' twice"),
        ('{"a": "\\ud83d"}', r"entry 1 holds \\ud83d, half of a character"),
        ('{"a": "b", "\\ud83d": "c"}', r"entry 2 holds \\ud83d, half of a character"),
        ('{"a": ' + "9" * 5000 + "}", "a number of more than 4,300 digits"),
        ("[1]", "holds a list, not one object of names and captions"),
        ('"text"', "holds a text, not one object"),
        ("{}", "is an empty object: it holds no caption and no image"),
        ("", "is empty"),
    ],
)
def test_what_is_no_object_of_captions_is_refused_in_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as refused:
        list(stream_entries(written(tmp_path, text)))
    assert "\n" not in str(refused.value)


def test_the_objects_before_a_damaged_place_are_read(tmp_path: Path) -> None:
    file = written(tmp_path, '[{"a": 1}, {"a": 2}, {"a"')
    objects = stream_objects(file)
    assert [next(objects), next(objects)] == [{"a": 1}, {"a": 2}]
    with pytest.raises(UserError, match="downloaded in part"):
        next(objects)
    with pytest.raises(UserError, match="downloaded in part"):
        read_objects(file)


def test_a_text_that_does_not_end_is_refused_before_the_file_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_pieces(monkeypatch, 100, longest=1000)
    file = written(tmp_path, '[{"a": 1}, {"a": "' + "b" * 1_000_000)
    tracemalloc.start()
    with pytest.raises(UserError, match="is not JSON: Unterminated string starting at at line 1, column 18"):
        list(stream_objects(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500_000  # the start of the file, from which its encoding is known, has 64 kB


def test_a_long_list_takes_the_memory_of_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_pieces(monkeypatch, 10_000)
    peaks = []
    for count in (1_000, 20_000):
        file = written(tmp_path, json.dumps([{"image": f"{at}.jpg", "caption": "a man " * 20} for at in range(count)]))
        tracemalloc.start()
        assert sum(1 for _ in stream_objects(file)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_a_repeated_key_is_named() -> None:
    with pytest.raises(json_stream.RepeatedKey, match="b"):
        without_repeated_keys([("a", 1), ("b", 2), ("b", 3)])
