"""Captions files of every kind, whole and changed: every row comes out, or UserError; the same goes for `mals plan` and `mals explain`."""

import bz2
import csv
import gzip
import json
import logging
import lzma
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from mals import settings
from mals.errors import LONGEST, UserError
from mals.grid.store import Store
from mals.planning import caption_files, table
from mals.planning.caption_files import CaptionsForm
from mals.planning.column_texts import is_blank
from mals.stages.label_file import read_captions
from tests.fuzz.images import changed, changes

logging.getLogger("mals").addHandler(logging.NullHandler())  # warnings of files are no part of the check
SCRATCH = tempfile.TemporaryDirectory(prefix="mals-fuzz-")
CONFIG = settings.check({"generate": {"model": "nobody/none"}, "shard_rows": 4})
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


@dataclass(frozen=True)
class File:
    """A captions file, and its rows (caption, id) where it is as it was written: None for one that is changed."""

    name: str
    data: bytes
    rows: list[tuple[str, Any]] | None
    form: CaptionsForm


words = st.sampled_from(
    ["a man", "a woman in red", "café", "빨간 코트", "👗", "black; white", "a, b", "tab\tbed", 'say "hi"', "|", "= 1+1", "  x "]
)
ODD = ["", " ", "\u200b", "\ufeff", "\u00ad\u0301", "\0", "\x1b[31m", "\ud83d", "\r", "\x85", "\u2028", "a\nb", "\x1a", "caption", "sep=;"]
odd = st.sampled_from(ODD)
captions = st.one_of(words, words, words, odd, st.text(st.characters(), max_size=20), st.lists(words, max_size=3))
ids = st.one_of(
    st.none(),
    st.integers(-(10**30), 10**30),
    st.just("x" * 200),
    st.from_regex(r"[a-z0-9_-]{1,8}", fullmatch=True),
    st.text(max_size=5),
    st.floats(),
    st.booleans(),
    st.lists(st.integers(), max_size=2),
    st.just(RAW := "9" * 5000),
)
tables = st.lists(st.tuples(captions, ids), min_size=1, max_size=6)


def texts(rows: list[tuple[Any, Any]]) -> list[tuple[str, str]]:
    """The rows as a text file can hold them."""
    joined = [(" ".join(caption) if isinstance(caption, list) else caption, "" if name is None else str(name)) for caption, name in rows]
    return [(caption.encode("utf-8", "replace").decode(), name.encode("utf-8", "replace").decode()) for caption, name in joined]


def delimited(rows: list[tuple[Any, Any]], delimiter: str, names: tuple[str, str]) -> str:
    sink = StringIO(newline="")
    writer = csv.writer(sink, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([names, *texts(rows)])
    return sink.getvalue()


def parquet(rows: list[tuple[Any, Any]], kind: pa.DataType, names: tuple[str, str]) -> bytes:
    """A Parquet file of two columns of texts."""
    sink = BytesIO()
    captions, names_of_rows = zip(*texts(rows), strict=True)
    columns = [pa.array(captions).cast(kind), pa.array(names_of_rows)]
    pq.write_table(pa.table(dict(zip(names, columns, strict=True))), sink)
    return sink.getvalue()


TYPES = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()))


@st.composite
def files(draw: st.DrawFn) -> File:
    """A file of rows in some form, perhaps compressed, perhaps with a few changed bytes."""
    rows, kind = draw(tables), draw(st.sampled_from((".txt", ".csv", ".tsv", ".jsonl", ".json", ".parquet")))
    own = draw(st.booleans()) and kind != ".txt"
    names = ("a b", "nr.") if own else ("caption", "id")
    encoding = draw(st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "utf-32")))
    form = CaptionsForm(None, *names) if own else CaptionsForm()
    expected: list[tuple[Any, Any]] = texts(rows)
    if kind == ".txt":
        text = "\n".join(caption for caption, _ in expected)
        expected = [(line, None) for line in re.split("\r\n|\r|\n", text)]
    elif kind in (".csv", ".tsv"):
        text = delimited(rows, draw(st.sampled_from(",;\t|")), names)
    elif kind == ".parquet":
        text = ""
    else:
        objects = [dict(zip(names, row, strict=True)) for row in rows]
        dumped = [json.dumps(row).replace(f'"{RAW}"', RAW) for row in objects]
        text = f"[{','.join(dumped)}]" if kind == ".json" else "\n".join(dumped)
        expected = [(one, name) for caption, name in rows for one in (caption or [None] if isinstance(caption, list) else [caption])]
    if kind == ".parquet":
        data, suffix = parquet(rows, draw(st.sampled_from(TYPES)), names), ""
    else:
        suffix = draw(st.sampled_from(tuple(COMPRESS)))
        data = COMPRESS[suffix](text.encode(encoding))
    several = draw(st.lists(changes, max_size=2))
    for change in several:
        data = changed(data, change)
    return File(f"c{kind}{suffix}", data, None if several else expected, form)


EXAMPLES = files()


def check(example: File) -> None:
    """Every row comes out, or a sentence; captions that can be read are planned or refused in a sentence."""
    path = Path(SCRATCH.name, example.name)
    path.write_bytes(example.data)
    try:
        rows = [row for block in caption_files.read(path, form=example.form) for row in block.to_pylist()]
    except UserError as error:
        check_sentence(error)
        assert example.rows is None or not all(is_plain(caption, name) for caption, name in example.rows), f"refused: {error}"
    else:
        assert rows and not any(is_blank(row["caption"]) for row in rows)
        if example.rows is not None:
            blank_lines = example.name.startswith("c.txt")
            expected = [caption.strip() for caption, _ in example.rows]
            expected = [caption for caption in expected if not (blank_lines and is_blank(caption))]
            assert [row["caption"].strip() for row in rows] == expected
        if len(example.data) % 4 == 0:
            plan(path, example.form, len(rows))
    try:
        for caption in read_captions(str(path), example.form):
            caption.encode()
    except UserError as error:
        check_sentence(error)


def is_plain(caption: Any, name: Any) -> bool:
    """Whether nothing about a row may be refused."""
    if not isinstance(caption, str) or caption == "caption" or "sep=" in caption:
        return False
    return caption.isprintable() and not is_blank(caption) and name != RAW and (name is None or isinstance(name, str) or type(name) is int)


def plan(path: Path, form: CaptionsForm, rows: int) -> None:
    with tempfile.TemporaryDirectory(prefix="mals-fuzz-") as folder:
        try:
            receipt = table.write_plan(Store(folder), CONFIG, table.CaptionsSource(path, form=form))
        except UserError as error:
            check_sentence(error)
        else:
            assert receipt.rows == rows


def check_sentence(error: UserError) -> None:
    assert str(error).isprintable() and len(str(error)) <= LONGEST, str(error)[:2000]
