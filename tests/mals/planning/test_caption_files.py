"""Readers of captions files: one form for every kind, and mistakes with their place."""

import bz2
import gzip
import json
import lzma
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mals.errors import UserError
from mals.planning import caption_files
from mals.planning.caption_files import CaptionsForm

ROWS = [
    {"caption": 'a man, "tall", in a coat', "id": "a", "person": "1", "camera": "c1", "init_image": "1.jpg", "seed": "7"},
    {"caption": "eine Frau in grünem Kleid\nund Hut", "id": "b", "person": None, "camera": None, "init_image": None, "seed": None},
]
ROWS = [{name: row.get(name) for name in caption_files.COLUMNS} for row in ROWS]


NOISE = b"caption\n" + random.Random(0).randbytes(999).hex().encode()  # hardly compressible, so that a cut loses something


def zstd(data: bytes) -> bytes:
    return pa.compress(data, "zstd", asbytes=True)


def rows(file: Path, images: bool = True, **form: str) -> list[dict]:
    return [row for block in caption_files.read(file, images, CaptionsForm(**form)) for row in block.to_pylist()]


def captions(file: Path, **form: str) -> list[str]:
    return [row["caption"] for row in rows(file, **form)]


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
        ("nested.jsonl", '{"caption": "a"}\n{"caption": [["b"]]}\n', ["line 2", "list", "caption"]),
        ("object.jsonl", '{"caption": "a"}\n{"caption": {"en": "b"}}\n', ["line 2", "dict", "caption"]),
        ("true.jsonl", '{"caption": "a", "id": true}\n', ["line 1", "bool", "id"]),
        ("half.jsonl", '{"caption": "a man \\ud83d in red"}\n', ["line 1", "caption", "half of a character", "\\ud83d"]),
        ("half_id.jsonl", '{"caption": "a", "id": "\\udc00"}\n', ["line 1", "id", "half of a character"]),
        ("key.jsonl", '{"caption": "a", "caption": "b"}\n', ["line 1", "'caption' twice"]),
        ("one_list.jsonl", '[{"caption": "a"}]', ["line 1", ".json"]),
        ("empty_id.jsonl", '{"caption": "a"}\n{"caption": "\u200b\ufeff"}\n', ["row 2", "no caption"]),
        ("twice.csv", "caption,id,caption\na,1,b\n", ["2 columns", "caption"]),
        ("twice.tsv", "caption\tid\tid\na\t1\t2\n", ["2 columns", "id"]),
        ("headless.csv", "a man in a red coat,1\na woman in blue,2\n", ["first line looks like a caption", "caption,id"]),
        ("semicolons.csv", "text;id\na man;1\n", ["no column caption, only text, id", "--caption-column"]),
        ("tabs.csv", "caption\tid\na man\t1\nshort\n", ["line 3", "1 fields", "tabs"]),
        ("invisible.csv", 'caption,id\n"\u00ad\u200d\u3164",1\n', ["row 1", "no caption"]),
        ("utf16.txt", "a man in red\n".encode("utf-16-le"), ["without its mark", "--encoding utf-16-le"]),
        ("cut.csv.gz", gzip.compress(NOISE, mtime=0)[:-400], ["cannot be decompressed"]),
        ("list.csv.zst", zstd(NOISE)[:-300], ["cannot be decompressed"]),
        ("sheet.xlsx", b"PK\3\4", ["spreadsheet", "CSV UTF-8"]),
        ("sheet.ods", b"PK\3\4", ["spreadsheet", "CSV UTF-8"]),
        ("sheet.csv", b"PK\3\4" + b"\0" * 40, ["spreadsheet", "CSV UTF-8"]),
        ("table.parquet.gz", gzip.compress(b"PAR1", mtime=0), ["Parquet", "decompress"]),
        ("parquet.csv", b"PAR1\0\0PAR1", ["Parquet", "name it .parquet"]),
        ("null.jsonl", '{"caption": "a"}\n{"caption": null}\n', ["row 2", "no caption"]),
        ("unknown.json", '[{"foo": 1, "bar": 2}]', ["object 1", "foo, bar"]),
        ("object.json", '{"images": [], "annotations": []}', ["begins with the key images"]),
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
    with pytest.raises(UserError, match="the column person holds struct<name: int64>, not texts or numbers"):
        rows(tmp_path / "c.parquet")


def test_a_file_or_a_folder_that_is_no_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no captions file"):
        rows(tmp_path / "none.txt")
    with pytest.raises(UserError, match="is a folder, not a captions file"):
        rows(tmp_path)


TABLE = 'caption{0}id\r\n"a man{0} ""tall"", in red"{0}7\r\nune femme en café{0}8\r\n'


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_table_with_any_delimiter_in_any_marked_encoding_reads_the_same(tmp_path, delimiter, encoding):
    for name in ("c.csv", "c.tsv", "c.txt"):  # Excel's "Unicode text" is a table of tabs with the name .txt
        (tmp_path / name).write_bytes(TABLE.format(delimiter).encode(encoding))
        expected = [(f'a man{delimiter} "tall", in red', "7"), ("une femme en café", "8")]
        assert [(row["caption"], row["id"]) for row in rows(tmp_path / name)] == expected


def test_the_delimiter_is_that_of_the_column_names_whatever_the_captions_hold(tmp_path):
    (tmp_path / "c.csv").write_text("id;caption\n1;a man, tall, old, in red, with a hat\n")
    assert captions(tmp_path / "c.csv") == ["a man, tall, old, in red, with a hat"]
    (tmp_path / "c.csv").write_text("sep=;\n\ncaption;id\na, b;1\n")
    assert captions(tmp_path / "c.csv") == ["a, b"]
    (tmp_path / "c.csv").write_text('"caption", "id"\n"a; b", "1"\n')
    assert [(row["caption"], row["id"]) for row in rows(tmp_path / "c.csv")] == [("a; b", "1")]
    (tmp_path / "c.tsv").write_text("caption\na man, tall\n")
    assert captions(tmp_path / "c.tsv") == ["a man, tall"]


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstd)])
def test_compressed_files_are_read_whatever_their_name(tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]) -> None:
    texts = [f"a man number {at}" for at in range(9000)]
    contents = {
        "c.txt": "\n".join(texts),
        "c.csv": "caption\n" + "\n".join(texts),
        "c.jsonl": "".join(json.dumps({"caption": text}) + "\n" for text in texts),
        "c.json": json.dumps([{"image": "i", "caption": text} for text in texts]),
    }
    for name, content in contents.items():
        for file in (tmp_path / f"{name}{suffix}", tmp_path / name):
            file.write_bytes(compress(content.encode()))
            assert captions(file) == texts


def test_an_encoding_without_a_mark_is_read_where_it_is_named_and_never_guessed(tmp_path):
    for name, encoding, text in (
        ("l.csv", "cp1252", "un garçon"),
        ("k.csv", "cp949", "빨간 코트를 입은 남자"),
        ("u.csv", "utf-16-be", "a man"),
    ):
        (tmp_path / name).write_bytes(f"caption\n{text}\n".encode(encoding))
        assert captions(tmp_path / name, encoding=encoding) == [text]
        with pytest.raises(UserError, match="--encoding"):
            rows(tmp_path / name)
    with pytest.raises(UserError, match="no encoding of texts with the name 'klingon'"):
        rows(tmp_path / "l.csv", encoding="klingon")


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "json"])
def test_columns_of_other_names_are_read_where_they_are_named(tmp_path, kind):
    table = [
        {"description": "a man", "number": 7, "pic_path": "1.jpg", "caption": "x"},
        {"description": "b", "number": 8, "pic_path": "2.jpg"},
    ]
    frame, file = pd.DataFrame(table), tmp_path / f"c.{kind}"
    if kind in ("csv", "tsv"):
        frame.to_csv(file, index=False, sep="," if kind == "csv" else "\t")
    elif kind == "parquet":
        frame.to_parquet(file)
    else:
        file.write_text(json.dumps(table) if kind == "json" else "".join(json.dumps(row) + "\n" for row in table))
    named = {"caption_column": "description", "id_column": "number", "image_column": "pic_path"}
    assert [(row["caption"], row["id"], row["init_image"]) for row in rows(file, **named)] == [("a man", "7", "1.jpg"), ("b", "8", "2.jpg")]
    for option in named:
        with pytest.raises(UserError, match="none_such"):
            rows(file, **(named | {option: "none_such"}))


def test_a_json_list_of_objects_without_images_reads_as_lines_of_json_do(tmp_path):
    (tmp_path / "c.json").write_text('[{"caption": "a man", "id": "x", "seed": 5}, {"caption": "b"}]')
    assert [(row["caption"], row["id"], row["seed"]) for row in rows(tmp_path / "c.json")] == [("a man", "x", "5"), ("b", None, None)]


def test_numbers_of_any_size_are_read_as_they_are_written(tmp_path):
    long = "9" * 5000
    (tmp_path / "c.jsonl").write_text(f'{{"caption": "a", "id": {long}, "person": 1{"0" * 30}, "seed": NaN, "camera": 3.0}}\n')
    (row,) = rows(tmp_path / "c.jsonl")
    assert (row["id"], row["person"], row["seed"], row["camera"]) == (long, "1" + "0" * 30, None, "3")


TEXTS = ["a man", "b", "a man"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(TEXTS, pa.large_string()),
        pa.array(TEXTS, pa.string_view()),
        pa.array(TEXTS).dictionary_encode(),
        pa.array(TEXTS, pa.large_string()).dictionary_encode(),
        pa.array([[text] for text in TEXTS], pa.list_(pa.string())),
        pa.array([[text] for text in TEXTS], pa.large_list(pa.string_view())),
        pa.array([[text] for text in TEXTS], pa.list_(pa.string(), 1)),
    ],
    ids=lambda column: str(column.type),
)
def test_texts_of_every_arrow_type_are_captions(tmp_path, column):
    pq.write_table(pa.table({"caption": column}), tmp_path / "c.parquet")
    assert captions(tmp_path / "c.parquet") == TEXTS


def test_a_row_with_several_captions_becomes_a_row_for_each_with_an_id_of_its_own(tmp_path):
    pq.write_table(pa.table({"caption": [["a", "b"], ["c"]], "id": ["x", "y"], "person": [1, 2]}), tmp_path / "c.parquet")
    (tmp_path / "c.jsonl").write_text('{"caption": ["a", "b"], "id": "x", "person": 1}\n{"caption": "c", "id": "y", "person": 2}\n')
    for name in ("c.parquet", "c.jsonl"):
        read = [(row["caption"], row["id"], row["person"]) for row in rows(tmp_path / name)]
        assert read == [("a", "x", "1"), ("b", "x_2", "1"), ("c", "y", "2")]
    (tmp_path / "c.jsonl").write_text('{"caption": "a"}\n{"caption": []}\n')
    with pytest.raises(UserError, match="row 2 has no caption"):
        rows(tmp_path / "c.jsonl")


def test_numbers_of_every_arrow_type_are_ids_and_other_types_are_refused(tmp_path):
    numbers = {"id": pa.array([2**64 - 1], pa.uint64()), "person": pa.array([Decimal("12")]), "seed": pa.array([3], pa.float16())}
    pq.write_table(pa.table({"caption": ["a"], **numbers}), tmp_path / "c.parquet")
    (row,) = rows(tmp_path / "c.parquet")
    assert (row["id"], row["person"], row["seed"]) == (str(2**64 - 1), "12", "3")
    for wrong in (pa.array([b"a"]), pa.array([True]), pa.array([0], pa.timestamp("ns")), pa.array([[1]])):
        pq.write_table(pa.table({"caption": ["a"], "id": wrong}), tmp_path / "c.parquet")
        with pytest.raises(UserError, match=r"the column id holds .*, not texts or numbers"):
            rows(tmp_path / "c.parquet")


def test_bytes_in_a_parquet_file_that_are_no_text_are_refused(tmp_path):
    column = pa.array([b"a man", b"\xff\xfe"]).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"caption": pa.Array.from_buffers(pa.string(), 2, column.buffers())}), tmp_path / "c.parquet")
    with pytest.raises(UserError, match="the column caption holds bytes that are not UTF-8 text"):
        rows(tmp_path / "c.parquet")


def test_a_parquet_file_whose_names_are_no_text_is_refused(tmp_path):
    pq.write_table(pa.table({"caption": ["a man"]}), tmp_path / "c.parquet", store_schema=False)
    (tmp_path / "c.parquet").write_bytes((tmp_path / "c.parquet").read_bytes().replace(b"caption", b"\xffaption"))
    with pytest.raises(UserError, match="is not a readable Parquet file"):
        rows(tmp_path / "c.parquet")


def test_a_column_that_only_capitals_keep_from_being_used_is_warned_of(tmp_path, caplog):
    (tmp_path / "c.csv").write_text("caption,ID,note\na,1,2\n")
    assert rows(tmp_path / "c.csv")[0]["id"] is None
    assert "the column 'ID' is not used; name it id" in caplog.text


def test_a_caption_of_a_million_characters_is_read(tmp_path):
    text = "a man in a red coat " * 50_000
    (tmp_path / "c.csv").write_text(f"caption\n{text}\n")
    (tmp_path / "c.txt").write_text(text)
    assert captions(tmp_path / "c.csv") == [text] and captions(tmp_path / "c.txt") == [text.strip()]
