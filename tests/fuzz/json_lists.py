"""Lists of images with odd values, odd texts, and damage: each is read whole, by a training and by an import, or refused in one line."""

import gzip
import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from mals.attributes import load_space
from mals.errors import UserError
from mals.planning.column_texts import is_blank
from pretrain.data.rows import ImageTextPairs
from pretrain.datasets import open_benchmark
from pretrain.datasets.contents import empty_counts
from pretrain.datasets.importing import _tables, survey_split
from pretrain.gallery import open_rows
from tests.small.cells import small_jpeg

IMAGES = ("0.jpg", "cam_a/1.jpg", "ü.jpg")
KEYS = ("image", "file_path", "captions", "id", "x\ny")
BENCHMARKS = {"train.json": "mals-json", "PA100K_train.json": "pa100k"}  # the others are of cuhk-pedes
logging.getLogger("pretrain.data.rows").addHandler(logging.NullHandler())  # its warnings are no business of this
_place = tempfile.TemporaryDirectory()
FOLDER = Path(_place.name)
for _name in IMAGES:
    (FOLDER / _name).parent.mkdir(exist_ok=True)
    (FOLDER / _name).write_bytes(small_jpeg(_name, 16, 32))

texts = st.one_of(
    st.sampled_from(("a man", "", " ", "\u200b", "\ud83d", "\U0001f600", "a\0b", "a\nb", "left", "x" * 300, "../0.jpg", "/0.jpg")),
    st.text(max_size=5),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.just(10**30), st.just(2**63))
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2), max_leaves=4)
paths = st.sampled_from((*IMAGES * 3, "cam_a\\1.jpg", "./0.jpg", "0.JPG", "u\u0308.jpg"))
odd_paths = st.sampled_from(("2.jpg", "cam_b/1.jpg", "cam_a", "cam_a/", ".", "../0.jpg", "/0.jpg", "x" * 3000))
captions = st.one_of(st.just("a man in red"), st.lists(st.sampled_from(("a man", "he walks", " ")), max_size=3))
persons = st.integers(0, 3)
FORMS = {
    "reid_raw.json": {"file_path": paths, "captions": captions, "id": persons, "split": st.sampled_from(("train", "val", "test"))},
    "caption_all.json": {"img_path": paths, "captions": captions, "id": persons},
    "cuhk_train.json": {"image": paths, "caption": captions, "image_id": persons},
    "train.json": {
        "image": paths,
        "caption": st.sampled_from(("a man", "a woman in red")),
        "image_id": st.text("abc_1", min_size=1, max_size=4),
        "label": st.lists(st.sampled_from((-1, 0, 1)), min_size=27, max_size=27),
    },
    "PA100K_train.json": {"image": paths, "label": st.lists(st.sampled_from((0, 1)), min_size=26, max_size=26)},
}


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, Any]:
    """The name of a list and its content: as its authors have it, but for up to two changes."""
    name = draw(st.sampled_from(sorted(FORMS)))
    entries: list[Any] = draw(st.lists(st.fixed_dictionaries(FORMS[name]), max_size=4))
    for change in draw(st.lists(st.integers(0, 9), max_size=2)) if entries else ():
        at, key = draw(st.integers(0, len(entries) - 1)), draw(st.sampled_from((*sorted(FORMS[name]), *KEYS)))
        if change == 0:
            entries[at] = draw(values)
        elif isinstance(entries[at], dict) and change < 3:
            entries[at].pop(key, None)
        elif isinstance(entries[at], dict):
            entries[at] = entries[at] | {key: draw(st.one_of(values, captions, paths, odd_paths, persons))}
    return name, entries if draw(st.integers(0, 30)) else draw(values)


damage = st.one_of(
    *[st.just(lambda data: data)] * 8,
    st.just(gzip.compress),
    st.sampled_from(("utf-16", "utf-8-sig", "utf-32-le", "latin-1")).map(lambda name: lambda data: _recoded(data, name)),
    st.integers(0, 400).map(lambda at: lambda data: data[:at]),
    st.integers(0, 60).map(lambda at: lambda data: gzip.compress(data, mtime=0)[:at]),
    st.tuples(st.integers(0, 200), st.binary(max_size=3)).map(lambda at_new: lambda data: _inserted(data, *at_new)),
)
EXAMPLES = st.tuples(documents(), st.booleans(), damage)


def _dumped(document: Any, ascii_only: bool) -> bytes:
    return json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


def _inserted(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at:]


def _recoded(data: bytes, encoding: str) -> bytes:
    return data.decode("utf-8", "replace").encode(encoding, "replace")


def check(example: tuple[tuple[str, Any], bool, Callable[[bytes], bytes]]) -> None:
    """A training and an import take all rows of a list, or refuse it in one line."""
    (name, document), ascii_only, change = example
    for other in FORMS:
        (FOLDER / other).unlink(missing_ok=True)
    data = change(_dumped(document, ascii_only))
    (FOLDER / name).write_bytes(data)
    classes = load_space("market1501").classes
    rows = _taken(lambda: ImageTextPairs.open([FOLDER / name], captions=False))
    if rows is not None:
        expected = _expected(data)
        assert [rows.caption(row) for row in range(len(rows))] == expected, (list(rows.captions()), expected)
        assert all(rows.image_bytes(row) for row in range(len(rows)))
    for needed in (None, classes):
        taken = _taken(lambda needed=needed: ImageTextPairs.open([FOLDER / name], classes=needed))
        assert taken is None or (rows is not None and len(taken) == len(rows) and all(taken.captions()))
    assert _taken(lambda: open_rows([FOLDER / name], "test", ["market1501"])) is None or rows is not None
    _taken(lambda: _imported(BENCHMARKS.get(name, "cuhk-pedes")))


def _taken(read: Callable[[], Any]) -> Any:
    """What was read; None where it was refused in one line."""
    try:
        return read()
    except UserError as error:
        text = str(error)
        assert text and len(text.splitlines()) == 1 and len(text) < 2_000 and "Traceback" not in text, text
        text.encode()
        return None


def _expected(data: bytes) -> list[str]:
    """The captions of all rows, read by the shortest way."""
    text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    captions = []
    for entry in json.loads(text):
        several = entry.get("captions")
        value = entry.get("caption") if several is None else several
        own = value if isinstance(value, list) else [value]
        captions += [caption if isinstance(caption, str) and not is_blank(caption) else "" for caption in own or [None]]
    return captions


def _imported(name: str) -> None:
    """All rows of a benchmark in this folder, as they would be packed: none is lost between the list and the tables."""
    benchmark = open_benchmark(name, FOLDER)
    for split in benchmark.splits:
        rows = list(benchmark.splits[split])
        survey = survey_split(benchmark, split, 1000)
        assert len(rows) == survey.rows + sum(left_out["count"] for left_out in survey.left_out.values())
        complete = (row for row, kept in zip(rows, survey.complete, strict=True) if kept)
        tables = list(_tables(benchmark, complete, empty_counts(benchmark.info)))
        assert sum(map(len, tables)) == survey.rows
    assert all(len(note.splitlines()) == 1 for note in benchmark.notes)
