"""Readers of captions files: one form for every kind, and mistakes with their place."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mals.errors import UserError
from mals.planning import caption_files

ROWS = [
    {"caption": 'a man, "tall", in a coat', "id": "a", "person": "1", "camera": "c1", "init_image": "1.jpg", "seed": "7"},
    {"caption": "eine Frau in grünem Kleid\nund Hut", "id": "b", "person": None, "camera": None, "init_image": None, "seed": None},
]
ROWS = [{name: row.get(name) for name in caption_files.COLUMNS} for row in ROWS]


def rows(file: Path, images: bool = True) -> list[dict]:
    return [row for block in caption_files.read(file, images) for row in block.to_pylist()]


def refusal(tmp_path: Path, name: str, data: bytes | str) -> str:
    """The sentence that refuses a file."""
    (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    with pytest.raises(UserError) as error:
        rows(tmp_path / name)
    assert "\n" not in str(error.value)
    assert name in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_table_reads_the_same_from_every_kind_of_file(tmp_path, kind):
    frame, file = pd.DataFrame(ROWS), tmp_path / f"captions.{kind}"
    if kind == "csv":
        frame.to_csv(file, index=False)
    elif kind == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n\n" for row in ROWS))
    else:
        frame.to_parquet(file)
    assert rows(file) == ROWS


def test_lines_of_a_text_file_are_captions_and_blank_ones_are_passed_over(tmp_path):
    (tmp_path / "c.txt").write_bytes("\ufeffa man\r\n\r\n   \n  a woman in 红色 \nlast".encode())
    assert [row["caption"] for row in rows(tmp_path / "c.txt")] == ["a man", "a woman in 红色", "last"]


def test_no_row_is_lost_between_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(caption_files, "BLOCK", 7)
    texts = [f"caption {i}" for i in range(30)]
    (tmp_path / "c.txt").write_text("\n".join(texts))
    pd.DataFrame({"caption": texts}).to_csv(tmp_path / "c.csv")
    pq.write_table(pa.table({"caption": texts}), tmp_path / "c.parquet", row_group_size=11)
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"caption": text}) + "\n" for text in texts))
    (tmp_path / "c.json").write_text(json.dumps([{"image": "i", "image_id": 1, "caption": text} for text in texts]))
    for name in ("c.txt", "c.csv", "c.parquet", "c.jsonl", "c.json"):
        assert [row["caption"] for row in rows(tmp_path / name)] == texts


def test_whole_numbers_that_pandas_turned_into_fractions_read_as_whole_numbers(tmp_path):
    frame = pd.DataFrame({"caption": ["a", "b"], "seed": [3, None], "person": [12, None]})
    assert frame["seed"].dtype == float
    frame.to_parquet(tmp_path / "c.parquet")
    assert [(row["seed"], row["person"]) for row in rows(tmp_path / "c.parquet")] == [("3", "12"), (None, None)]


LISTS = {
    "CUHK-PEDES": (
        [{"split": "train", "captions": ["one", "two"], "file_path": "CUHK01/0363004.png", "processed_tokens": [["one"]], "id": 1}],
        [("one", "1", None, "CUHK01/0363004.png"), ("two", "1", None, "CUHK01/0363004.png")],
    ),
    "RSTPReid": (
        [{"id": 0, "img_path": "0000_c14_0031.jpg", "captions": ["one", "two"], "split": "train"}],
        [("one", "0", None, "0000_c14_0031.jpg"), ("two", "0", None, "0000_c14_0031.jpg")],
    ),
    "APTM, train": (
        [{"image": "CUHK01/1.png", "caption": "one", "image_id": 7}],
        [("one", "7", None, "CUHK01/1.png")],
    ),
    "APTM, test": (
        [{"image": "CUHK01/1.png", "caption": ["one", "two"], "image_id": 7}],
        [("one", "7", None, "CUHK01/1.png"), ("two", "7", None, "CUHK01/1.png")],
    ),
    "MALS": (
        [{"image": "gene_crop/c_g_a_0/0.jpg", "caption": "one", "image_id": "c_g_a_0_0", "label": [1, 0, -1]}],
        [("one", None, "c_g_a_0_0", "gene_crop/c_g_a_0/0.jpg")],
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_the_lists_of_the_public_data_sets_are_known_by_their_keys(tmp_path, name):
    entries, expected = LISTS[name]
    (tmp_path / "list.json").write_text(json.dumps(entries))
    assert [(r["caption"], r["person"], r["id"], r["init_image"]) for r in rows(tmp_path / "list.json")] == expected
    assert [r["init_image"] for r in rows(tmp_path / "list.json", images=False)] == [None] * len(expected)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("none.docx", "a man", [".docx", ".txt", ".parquet"]),
        ("empty.txt", "", ["empty"]),
        ("blank.txt", "\n \n", ["no caption"]),
        ("binary.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ["binary"]),
        ("latin.txt", b"a man\n" * 9000 + "un garçon\n".encode("latin-1"), ["line 9001", "UTF-8"]),
        ("latin.csv", b"caption\na man\n" + "un garçon\n".encode("latin-1"), ["line 3", "UTF-8"]),
        ("latin.json", b'[\n{"caption": "\xff"}]', ["line 2", "UTF-8"]),
        ("header.csv", "caption,id\n", ["no caption"]),
        ("column.csv", "text,id\na man,1\n", ["no column caption", "text, id"]),
        ("case.csv", "Caption,id\na man,1\n", ["did you mean Caption"]),
        ("commas.csv", "caption\na man\na man, tall\n", ["line 3", "2 fields", "1"]),
        ("short.csv", "caption,id\na man,1\na woman\n", ["line 3", "1 fields"]),
        ("quote.csv", 'caption\n"a man\n', ["line 2", "CSV"]),
        ("gap.csv", "caption,id\na man,1\n ,2\n", ["row 2", "no caption"]),
        ("broken.jsonl", '{"caption": "a"}\n\n{"caption": \n', ["line 3", "JSON"]),
        ("list.jsonl", '{"caption": "a"}\n["b"]\n', ["line 2", "object"]),
        ("typo.jsonl", '{"caption": "a"}\n{"captoin": "b"}\n', ["line 2", "did you mean captoin"]),
        ("nested.jsonl", '{"caption": "a"}\n{"caption": ["b"]}\n', ["line 2", "list", "caption"]),
        ("null.jsonl", '{"caption": "a"}\n{"caption": null}\n', ["row 2", "no caption"]),
        ("unknown.json", '[{"foo": 1, "bar": 2}]', ["object 1", "foo, bar"]),
        ("object.json", '{"images": [], "annotations": []}', ["images, annotations"]),
        ("numbers.json", "[1, 2]", ["list"]),
        ("cut.json", '[{"image": "a", "caption": "b"},\n', ["line 2", "JSON"]),
        ("silent.json", '[{"image": "a", "caption": "b"}, {"image": "a", "caption": []}]', ["object 2", "no caption"]),
        ("deep.json", "[" * 200_000, ["nested"]),
        ("cut.parquet", b"PAR1\0\0", ["Parquet"]),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path, name, data, words):
    sentence = refusal(tmp_path, name, data)
    for word in words:
        assert word in sentence


def test_a_parquet_file_of_another_type_is_refused(tmp_path):
    pq.write_table(pa.table({"caption": [1, 2]}), tmp_path / "c.parquet")
    with pytest.raises(UserError, match="caption holds int64, not strings"):
        rows(tmp_path / "c.parquet")
    pq.write_table(pa.table({"caption": ["a", "b"], "person": [None, {"name": 1}]}), tmp_path / "c.parquet")
    with pytest.raises(UserError, match="row 2 holds a dict as its person"):
        rows(tmp_path / "c.parquet")


def test_a_file_or_a_folder_that_is_no_file_is_refused(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(UserError, match="there is no captions file"):
            rows(path)
