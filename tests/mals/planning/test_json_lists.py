"""Lists of images as public data sets have them: what is read, and what no list holds is refused in one sentence."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mals.errors import UserError
from mals.planning.json_lists import is_list, list_rows, read_objects


def rows(file: Path, require_captions: bool = False) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in list_rows(file, read_objects(file), require_captions)]


def written(folder: Path, content: Any) -> Path:
    """A list, or a file with these bytes."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / "list.json").write_bytes(data)
    return folder / "list.json"


def test_every_form_of_list_is_read(tmp_path: Path) -> None:
    entries = [
        {"file_path": "a.jpg", "captions": ["one", "two"], "id": 7},
        {"img_path": "cam_a\\b.jpg", "captions": [], "id": "x"},
        {"image": "./c.jpg", "caption": ["one"], "image_id": 3.0},
        {"image": "d.jpg", "caption": " ", "image_id": "d_1", "label": [1]},
        {"image": "e.jpg", "caption": float("nan"), "id": float("nan")},
        {"image": "f.jpg", "captions": None, "caption": "one"},
    ]
    assert rows(written(tmp_path, entries)) == [
        (1, "a.jpg", "one", None, "7"),
        (1, "a.jpg", "two", None, "7"),
        (2, "cam_a/b.jpg", None, None, "x"),
        (3, "c.jpg", "one", None, "3"),
        (4, "d.jpg", None, "d_1", None),
        (5, "e.jpg", None, None, None),
        (6, "f.jpg", "one", None, None),
    ]


def test_other_encodings_and_compressed_files_are_read(tmp_path: Path) -> None:
    text = json.dumps([{"image": "ü.jpg", "caption": "a \U0001f600 man"}], ensure_ascii=False)
    expected = [(1, "ü.jpg", "a \U0001f600 man", None, None)]
    for data in (text.encode(), text.encode("utf-8-sig"), text.encode("utf-16"), text.encode("utf-16-le"), text.encode("utf-32")):
        assert rows(written(tmp_path, data)) == expected
        assert rows(written(tmp_path, gzip.compress(data))) == expected
    assert rows(written(tmp_path, json.dumps(json.loads(text)).encode())) == expected  # as a pair of escapes
    assert is_list(Path("a.json")) and is_list(Path("a.JSON.gz")) and not is_list(Path("a.jsonl"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is a binary file"),
        (b'[\n{"image": "\xff"}]', r"line 2 is not UTF-8 text"),
        (b'[{"image": "a", "caption": "\xed\xa0\xbd"}]', r"line 1 is not UTF-8 text"),
        (b'\xff\xfe[\0{\0"', r"is not UTF-16 text"),
        (gzip.compress(b"[" * 1000, mtime=0)[:-20], "cannot be decompressed: it is damaged, or was copied or downloaded in part"),
        (b'[{"image": "a", "capt', r"is not JSON: .* at line 1, column 17; perhaps it was downloaded in part"),
        (b'[{"image": "a", "caption": "b"}]}', "is not JSON"),
        (b"[" * 200_000, "is nested too deeply"),
        (b'[{"image": "a", "id": ' + b"9" * 5000 + b"}]", "a number of more than 4,300 digits"),
        (b'[{"image": "a", "id": 1, "id": 2}]', "an object with the key 'id' twice"),
        (b'[{"image": "a", "caption": "\\ud83d"}]', r"object 1 holds \\ud83d, half of a character"),
        (b'[{"image": "a"}, {"image": "b", "other": [{"\\udc00": 1}]}]', r"object 2 holds \\udc00, half of a character"),
        ([], "is an empty list"),
        ({"images": []}, "holds an object that begins with the key images, not a list of objects"),
        ([[{"image": "a"}]], "holds a list that is not of objects"),
        ([{"image": "a"}, None], "holds a list that is not of objects"),
        ("text", "holds a text, not a list"),
        (3, "holds a number, not a list"),
        (None, "holds nothing, not a list"),
        ([{}], "object 1 has no key, which none"),
        ([{"a\nb": 1, **{str(at): 1 for at in range(9)}}], "object 1 has the keys 'a\\\\nb', 0, 1, 2, 3, 4, 5, 6 and 2 more, which none"),
        ([{"file_path": "", "id": 1}], "object 1 has '' as its file_path, which is no path of an image"),
        ([{"file_path": "a"}, {"file_path": "a/", "id": 1}], "object 2 has 'a/' as its file_path"),
        ([{"img_path": "a\0b"}], r"object 1 has 'a\\x00b' as its img_path"),
        ([{"image": ".."}], "which is no path of an image"),
        ([{"image": ["a"]}], "object 1 has a list as its image, not the path of an image"),
        ([{"image": None}], "object 1 has nothing as its image"),
        ([{"image": "a", "id": True}], "object 1 has true or false as its id, not a number or a text"),
        ([{"image": "a", "id": [1]}], "object 1 has a list .*as its id"),
        ([{"image": "a", "id": {"a": 1}}], "object 1 has an object with a as its id"),
        ([{"image": "a", "id": float("inf")}], "object 1 has a number as its id"),
        ([{"image": "a", "id": "9" * 300}], "object 1 has an id of 300 characters, where 200 are the most"),
        ([{"image": "a", "image_id": 10**250}], "object 1 has an image_id of 251 characters"),
        ([{"image": "a", "id": "x\0"}], "which no person or image is called"),
        ([{"image": "a", "captions": [["b"]]}], "object 1 has a list as a caption, not a text"),
        ([{"image": "a", "captions": {"b": 1}}], "object 1 has an object with b as a caption"),
        ([{"image": "a", "caption": 5}], "object 1 has a number as a caption, not a text"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_no_list_is_refused_in_one_sentence(content: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as refused:
        rows(written(tmp_path, content))
    assert "\n" not in str(refused.value)


def test_a_missing_caption_is_refused_where_it_is_needed(tmp_path: Path) -> None:
    file = written(tmp_path, [{"image": "a", "caption": "b"}, {"image": "a", "captions": ["b", "\t"]}])
    assert len(rows(file)) == 3
    with pytest.raises(UserError, match="object 2 has no caption"):
        rows(file, require_captions=True)


def test_files_that_cannot_be_opened_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no JSON list .*none\.json$"):
        read_objects(tmp_path / "none.json")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_objects(tmp_path)
