"""Readers of captions files, in blocks: plain text, tables, and the JSON lists of public data sets.

Every reader yields the same columns (`COLUMNS`, strings; null where the file has none). A file with a `caption` column may also hold id,
person, camera, init_image, negative_prompt and seed; `CaptionsForm` names columns that are called otherwise. JSON lists are read by
`mals.planning.json_lists`, text by `text_files`, fields between delimiters by `delimited`. What a file holds comes out as rows or as a
UserError: no row is passed over but blank lines.
"""

import difflib
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mals.errors import UserError, quoted
from mals.planning import delimited, json_lists
from mals.planning.column_texts import is_blank, is_list_of_texts, is_text_type, readable_type, text_column
from mals.planning.json_stream import RepeatedKey, without_repeated_keys
from mals.planning.text_files import COMPRESSIONS, SAMPLE, open_text, text_suffix

COLUMNS = ("caption", "id", "person", "camera", "init_image", "negative_prompt", "seed")
SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS])
BLOCK = 32_768  # rows read at once
OPTIONS = {"caption": "--caption-column", "id": "--id-column", "init_image": "--image-column"}
SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")
NAMED = 12  # columns that a sentence names

log = logging.getLogger("mals.planning")


@dataclass(frozen=True)
class CaptionsForm:
    """What a person says of a captions file; None for what the file itself says."""

    encoding: str | None = None  # of a text without a byte order mark that is not UTF-8
    caption_column: str | None = None  # the names of columns, or of keys of JSON objects
    id_column: str | None = None
    image_column: str | None = None  # of init_image

    def names(self) -> dict[str, str]:
        """Each of COLUMNS -> its name in the file."""
        own = {"caption": self.caption_column, "id": self.id_column, "init_image": self.image_column}
        return {name: own.get(name) or name for name in COLUMNS}

    def to_json(self) -> dict[str, str]:
        """What is said."""
        return {name: value for name, value in asdict(self).items() if value is not None}


AS_IT_IS = CaptionsForm()
Columns = dict[str, list[Any]]  # of a block, by the names in COLUMNS


def read(file: Path, images: bool = True, form: CaptionsForm = AS_IT_IS) -> Iterator[pa.Table]:
    """The rows of `file` in blocks; with `images`, the images of a public JSON list are the column init_image.

    Raises UserError with the place of a mistake, or if there is no row.
    """
    kind = check_kind(file)
    rows = 0
    for block in _json(file, form, images) if kind == ".json" else READERS[kind](file, form):
        _refuse_empty_captions(file, block, rows)
        rows += len(block)
        yield block
    if not rows:
        raise UserError(f"{file} holds no caption")


def digest(file: Path) -> str:
    """sha256 of the file, in hex."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None


def check_kind(file: Path) -> str:
    """The one of `KINDS` that a file is of; UserError where it is none of them, or there is nothing to read."""
    kind = text_suffix(file)
    if not file.is_file():
        raise UserError(f"{file} is a folder, not a captions file" if file.is_dir() else f"there is no captions file {file}")
    if kind in SPREADSHEETS:
        raise UserError(f"{file} is a spreadsheet; save its table as CSV UTF-8 (.csv)")
    if kind not in KINDS:
        raise UserError(f"{file} is not one of {', '.join(KINDS)}, which may be compressed ({', '.join(COMPRESSIONS)})")
    if kind == ".parquet" and file.suffix.lower() in COMPRESSIONS:
        raise UserError(f"{file} is a compressed Parquet file; decompress it, Parquet is compressed within")
    try:
        if not file.stat().st_size:
            raise UserError(f"{file} is empty")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    return kind


def _refuse_empty_captions(file: Path, block: pa.Table, before: int) -> None:
    for at, caption in enumerate(block["caption"].to_pylist()):
        if is_blank(caption):
            raise UserError(f"{file}: row {before + at + 1} has no caption")


def _table(columns: Columns, where: str, numbers: Sequence[int]) -> pa.Table:
    """A block of the columns of a file; `where` and the numbers of the rows name places in errors."""
    columns, numbers = _row_per_caption(columns, numbers)
    rows = len(columns["caption"])
    arrays = []
    for name in COLUMNS:
        if name in columns:
            arrays.append(text_column(columns[name], name, lambda at: f"{where} {numbers[at]}"))
        else:
            arrays.append(pa.nulls(rows, pa.string()))
    return pa.table(arrays, SCHEMA)


def _row_per_caption(columns: Columns, numbers: Sequence[int]) -> tuple[Columns, Sequence[int]]:
    """The same with a row for each caption of a list of captions: the first keeps its id, the others get "_2", "_3", ... behind it."""
    captions = [value if isinstance(value, list) else [value] for value in columns["caption"]]
    if not any(isinstance(value, list) for value in columns["caption"]):
        return columns, numbers
    rows = [(row, number) for row, values in enumerate(captions) for number in range(max(1, len(values)))]
    repeated = {name: [values[row] for row, _ in rows] for name, values in columns.items()}
    repeated["caption"] = [captions[row][number] if captions[row] else None for row, number in rows]
    if "id" in repeated:
        ids = zip(repeated["id"], rows, strict=True)
        repeated["id"] = [own if own is None or not number else f"{own}_{number + 1}" for own, (_, number) in ids]
    return repeated, [numbers[row] for row, _ in rows]


def _lines(file: Path, form: CaptionsForm) -> Iterator[pa.Table]:
    """Each line a caption; but a table, as a spreadsheet's "Unicode text", where the first line names the columns."""
    with open_text(file, form.encoding) as stream:
        names = delimited.layout(stream.read(SAMPLE), form.names()["caption"]).names
    if form.names()["caption"] in names and (len(names) > 1 or form.caption_column):
        yield from _csv(file, form)
        return
    if columns := CaptionsForm(None, form.caption_column, form.id_column, form.image_column).to_json():
        raise UserError(f"{file} has no column {next(iter(columns.values()))}: each of its lines is a caption")
    with open_text(file, form.encoding) as stream:
        captions = ((number, line.strip()) for number, line in enumerate(stream, 1))
        kept = ((number, line) for number, line in captions if not is_blank(line))
        while block := list(islice(kept, BLOCK)):
            yield _table({"caption": [line for _, line in block]}, f"{file}, line", [number for number, _ in block])


def _csv(file: Path, form: CaptionsForm) -> Iterator[pa.Table]:
    with open_text(file, form.encoding, newline="") as stream:
        preferred = "\t" if text_suffix(file) == ".tsv" else ","
        layout = delimited.layout(stream.read(SAMPLE), form.names()["caption"], preferred)
    columns = _positions(str(file), layout.names, form)
    with open_text(file, form.encoding, newline="") as stream:
        rows = delimited.rows(stream, layout, str(file))
        while block := list(islice(rows, BLOCK)):
            values = {name: [fields[at] for _, fields in block] for name, at in columns.items()}
            yield _table(values, f"{file}, line", [number for number, _ in block])


def _jsonl(file: Path, form: CaptionsForm) -> Iterator[pa.Table]:
    parse = json.JSONDecoder(object_pairs_hook=without_repeated_keys, parse_int=str).decode  # a number of any length is read as its digits
    with open_text(file, form.encoding) as stream:
        lines = ((number, line) for number, line in enumerate(stream, 1) if line.strip())
        objects = ((number, _object(file, number, line, parse)) for number, line in lines)
        yield from _objects(file, objects, form, "line")


def _object(file: Path, number: int, line: str, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        row = parse(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{file}, line {number} is not JSON: {error.msg} at column {error.colno}") from None
    except RepeatedKey as error:
        raise UserError(f"{file}, line {number} has the key {quoted(error.args[0])} twice") from None
    except RecursionError:
        raise UserError(f"{file}, line {number} is nested too deeply") from None
    if not isinstance(row, dict):
        hint = "; name the file .json if it holds one list" if isinstance(row, list) else ""
        raise UserError(f"{file}, line {number} is not a JSON object{hint}")
    return row


def _objects(file: Path, objects: Iterable[tuple[int, Mapping[str, Any]]], form: CaptionsForm, unit: str) -> Iterator[pa.Table]:
    """The rows of numbered JSON objects, each with a caption; `unit` is what the number counts."""
    names, missing, start = form.names(), set(form.to_json()) - {"encoding"}, True
    source = iter(objects)
    while block := list(islice(source, BLOCK)):
        for number, row in block:
            if names["caption"] not in row:
                _positions(f"{file}, {unit} {number}", list(row), form)
        if start:
            _warn_of_near_names(str(file), list(block[0][1]), names)
            start = False
        missing = {option for option in missing if all(getattr(form, option) not in row for _, row in block)}
        columns = {name: [row.get(own) for _, row in block] for name, own in names.items()}
        yield _table(columns, f"{file}, {unit}", [number for number, _ in block])
    if missing:
        raise UserError(f"{file} has the key {quoted(getattr(form, min(missing)))} in no object")


def _json(file: Path, form: CaptionsForm, images: bool) -> Iterator[pa.Table]:
    """A public list; objects with a caption and no image, or whose keys are named, are rows as those of a .jsonl file."""
    objects = json_lists.read_objects(file, form.encoding)
    own = form.to_json().keys() - {"encoding"}
    if own or not any(key in entry for key in json_lists.IMAGE_KEYS for entry in objects):
        yield from _objects(file, enumerate(objects, 1), form, "object")
        return
    rows = json_lists.list_rows(file, objects)
    while block := list(islice(rows, BLOCK)):
        numbers, paths, captions, ids, persons = map(list, zip(*block, strict=True))
        columns = {"caption": captions, "id": ids, "person": persons, "init_image": paths if images else [None] * len(paths)}
        yield _table(columns, f"{file}, object", numbers)


def _parquet(file: Path, form: CaptionsForm) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(file) as parquet:
            schema, before = parquet.schema_arrow, 0
            columns = {name: schema.field(at) for name, at in _positions(str(file), schema.names, form).items()}
            _check_types(file, columns)
            for batch in parquet.iter_batches(BLOCK, columns=[field.name for field in columns.values()]):
                values = {name: _values(batch[field.name], f"{file}: the column {field.name}") for name, field in columns.items()}
                yield _table(values, f"{file}: row", range(before + 1, before + len(batch) + 1))
                before += len(batch)
    except (pa.ArrowException, OSError, ValueError) as error:  # a ValueError for names of columns that are no text
        raise UserError(f"{file} is not a readable Parquet file: {(str(error).splitlines() or ['damaged'])[0]}") from None


def _check_types(file: Path, columns: Mapping[str, pa.Field]) -> None:
    """UserError where a column of a Parquet file holds something else than texts or, but for captions, numbers."""
    for name, field in columns.items():
        if name == "caption":
            if not is_text_type(field.type) and not is_list_of_texts(field.type) and not pa.types.is_null(field.type):
                raise UserError(f"{file}: the column {field.name} holds {field.type}, not strings")
        elif not readable_type(field.type):
            raise UserError(f"{file}: the column {field.name} holds {field.type}, not texts or numbers")


def _values(column: pa.Array, where: str) -> list[Any]:
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.string())
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float64())
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        raise UserError(f"{where} holds bytes that are not UTF-8 text") from None


def _positions(where: str, names: Sequence[str], form: CaptionsForm) -> dict[str, int]:
    """Each of COLUMNS that is among the names of a file's columns -> its position.

    Raises UserError where there is no caption, where a column that the form names is not there, and where a name stands twice.
    """
    positions = {}
    for name, own in form.names().items():
        count = list(names).count(own)
        if count > 1:
            raise UserError(f"{where} has {count} columns with the name {own}; rename all but one")
        if count:
            positions[name] = list(names).index(own)
        elif name == "caption" or own != name:
            raise UserError(f"{where} has no column {own}, only {_listed(names)}{_column_hint(name, own, names)}")
    _warn_of_near_names(where, names, form.names())
    return positions


def _listed(names: Sequence[str]) -> str:
    """Some names in one line."""
    shown = [" ".join(str(name).split())[:40] for name in names[:NAMED]]
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return (", ".join(shown) or "none") + more


def _column_hint(name: str, own: str, names: Sequence[str]) -> str:
    """The way on where a file has no column `own` for `name`."""
    if delimited.lacks_header(list(names)):
        return f"; its first line looks like a caption: put a line with the names of the columns, such as {own},id, above it"
    near = difflib.get_close_matches(own.lower(), [str(key).lower() for key in names], 1, 0.5)
    mean = f"; did you mean {next(key for key in names if str(key).lower() == near[0])} to be {own}?" if near else ""
    example = next((key for key in names if near and str(key).lower() == near[0]), names[0] if names else "NAME")
    return f"{mean or ';'} name the column with {OPTIONS[name]}, as in {OPTIONS[name]} {' '.join(str(example).split())[:40] or 'NAME'}"


def _warn_of_near_names(where: str, names: Sequence[str], known: Mapping[str, str]) -> None:
    """Warn of columns that are not used only because of capitals or spaces."""
    for key in names:
        own = str(key).strip().lower()
        if own in COLUMNS and key not in known.values() and known[own] not in names:
            log.warning("%s: the column %s is not used; name it %s if it is one", where, quoted(key), known[own])


READERS: dict[str, Callable[[Path, CaptionsForm], Iterator[pa.Table]]] = {
    ".txt": _lines,
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
}
KINDS = (*READERS, ".json")
