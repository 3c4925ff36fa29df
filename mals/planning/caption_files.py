"""Readers of captions files, in blocks: plain text, tables, and the JSON lists of public data sets.

Every reader yields the same columns (`COLUMNS`, strings; null where the file has none). A file with a `caption` column may also hold id,
person, camera, init_image, negative_prompt and seed. JSON lists are read by `mals.planning.json_lists`.
"""

import csv
import difflib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mals.errors import UserError
from mals.planning import json_lists

COLUMNS = ("caption", "id", "person", "camera", "init_image", "negative_prompt", "seed")
SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS])
BLOCK = 32_768  # rows read at once


def read(file: Path, images: bool = True, require_captions: bool = True) -> Iterator[pa.Table]:
    """The rows of `file` in blocks; with `images`, the images of a JSON list are the column init_image.

    Raises UserError with the place of a mistake, or if there is no row. Without `require_captions`, an image of a JSON list may have no
    caption: its row has null.
    """
    kind = file.suffix.lower()
    if not file.is_file():
        raise UserError(f"there is no captions file {file}")
    if kind not in KINDS:
        raise UserError(f"{file} is not one of {', '.join(KINDS)}")
    if not file.stat().st_size:
        raise UserError(f"{file} is empty")
    rows = 0
    try:
        if kind not in (".parquet", ".json"):
            _refuse_binary(file)
        for block in _json(file, require_captions) if kind == ".json" else KINDS[kind](file):
            if kind == ".json" and not images:
                block = block.set_column(COLUMNS.index("init_image"), "init_image", pa.nulls(len(block), pa.string()))
            if require_captions:
                _refuse_empty_captions(file, block, rows)
            rows += len(block)
            yield block
    except UnicodeDecodeError as error:
        raise UserError(f"{file}, line {_undecodable(file)} is not UTF-8 text ({error.reason})") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from None
    if not rows:
        raise UserError(f"{file} holds no caption")


def digest(file: Path) -> str:
    """sha256 of the file, in hex."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None


def _refuse_binary(file: Path) -> None:
    with file.open("rb") as stream:
        if b"\0" in stream.read(1 << 16):
            raise UserError(f"{file} is a binary file, not captions")


def _undecodable(file: Path) -> int:
    """The number of the first line that is not UTF-8; a reader's own error counts from the start of its buffer."""
    with file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 0


def _refuse_empty_captions(file: Path, block: pa.Table, before: int) -> None:
    for at, caption in enumerate(block["caption"].to_pylist()):
        if caption is None or not caption.strip():
            raise UserError(f"{file}: row {before + at + 1} has no caption")


def _table(columns: Mapping[str, list[Any]], where: str, numbers: Sequence[int]) -> pa.Table:
    """A block of the columns of a file; `where` and the numbers of the rows name places in errors."""
    rows = len(columns["caption"])
    arrays = []
    for name in COLUMNS:
        if name not in columns:
            arrays.append(pa.nulls(rows, pa.string()))
            continue
        texts = [value if type(value) is str else _text(value) for value in columns[name]]
        for at, text in enumerate(texts):
            if text is not None and type(text) is not str:
                raise UserError(f"{where} {numbers[at]} holds a {type(text).__name__} as its {name}, not a text")
        arrays.append(pa.array([text or None for text in texts], pa.string()))
    return pa.table(arrays, SCHEMA)


def _text(value: Any) -> Any:
    """A number as text, without the fraction that pandas adds to whole numbers where one is missing; other values unchanged."""
    if isinstance(value, float):
        return None if value != value else str(int(value)) if value.is_integer() else str(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _lines(file: Path) -> Iterator[pa.Table]:
    with file.open(encoding="utf-8-sig") as stream:
        captions = (line.strip() for line in stream)
        kept = (line for line in captions if line)
        while block := list(islice(kept, BLOCK)):
            yield _table({"caption": block}, "line", ())


def _csv(file: Path) -> Iterator[pa.Table]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            names = next(reader, [])
            _require_caption(str(file), names)
            while block := list(islice(_fields(file, reader, len(names)), BLOCK)):
                columns = dict(zip(names, map(list, zip(*block, strict=True)), strict=True))
                yield _table(columns, "line", ())
        except csv.Error as error:
            raise UserError(f"{file}, line {reader.line_num} is not CSV: {error}") from None


def _fields(file: Path, reader: Any, columns: int) -> Iterator[list[str]]:
    """The rows of a CSV file, each of as many fields as the header; blank lines are skipped."""
    for row in reader:
        if len(row) == columns:
            yield row
        elif row:
            raise UserError(f"{file}, line {reader.line_num} has {len(row)} fields where the header has {columns}; quote texts with commas")


def _jsonl(file: Path) -> Iterator[pa.Table]:
    with file.open(encoding="utf-8-sig") as stream:
        lines = ((number, line) for number, line in enumerate(stream, 1) if line.strip())
        while block := list(islice(lines, BLOCK)):
            rows = [_object(file, number, line) for number, line in block]
            numbers = [number for number, _ in block]
            columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
            yield _table(columns, f"{file}, line", numbers)


def _object(file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{file}, line {number} is not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise UserError(f"{file}, line {number} is nested too deeply") from None
    if not isinstance(row, dict):
        raise UserError(f"{file}, line {number} is not a JSON object")
    _require_caption(f"{file}, line {number}", list(row))
    return row


def _parquet(file: Path) -> Iterator[pa.Table]:
    try:
        parquet = pq.ParquetFile(file)
        names = parquet.schema_arrow.names
        _require_caption(str(file), names)
        kind = parquet.schema_arrow.field("caption").type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)):
            raise UserError(f"{file}: the column caption holds {kind}, not strings")
        before = 0
        for batch in parquet.iter_batches(BLOCK, columns=[name for name in COLUMNS if name in names]):
            yield _table(batch.to_pydict(), f"{file}: row", range(before + 1, before + len(batch) + 1))
            before += len(batch)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise UserError(f"{file} is not a readable Parquet file: {str(error).splitlines()[0]}") from None


def _require_caption(where: str, names: list[str]) -> None:
    if "caption" in names:
        return
    near = difflib.get_close_matches("caption", [str(name).lower() for name in names], 1, 0.5)
    hint = f"; did you mean {next(name for name in names if str(name).lower() == near[0])} to be caption?" if near else ""
    raise UserError(f"{where} has no column caption, only {', '.join(map(str, names)) or 'none'}{hint}")


def _json(file: Path, require_captions: bool = True) -> Iterator[pa.Table]:
    rows = json_lists.list_rows(file, json_lists.read_objects(file), require_captions)
    while block := list(islice(rows, BLOCK)):
        numbers, images, captions, ids, persons = map(list, zip(*block, strict=True))
        yield _table({"caption": captions, "id": ids, "person": persons, "init_image": images}, f"{file}: object", numbers)


KINDS: dict[str, Callable[[Path], Iterator[pa.Table]]] = {
    ".txt": _lines,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
    ".json": _json,
}
