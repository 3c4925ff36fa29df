"""Captions files of every kind, read in blocks: plain text, tables, and the JSON lists of the public data sets.

Every reader yields the same columns (`COLUMNS`, strings; null where the file has none), so that whatever comes after knows one form. A file
with a `caption` column may also hold id, person, camera, init_image, negative_prompt and seed. The JSON lists are told apart by their keys:

    CUHK-PEDES, ICFG-PEDES   file_path, captions, id            RSTPReid   img_path, captions, id
    APTM's own lists         image, caption, image_id           MALS       the same and label
"""

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mals.errors import UserError

COLUMNS = ("caption", "id", "person", "camera", "init_image", "negative_prompt", "seed")
SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS])
BLOCK = 32_768  # rows read at once
KINDS = (".txt", ".csv", ".jsonl", ".parquet", ".json")


def read(file: Path, pictures: bool = True) -> Iterator[pa.Table]:
    """The rows of `file` in blocks, with the pictures of a JSON list as init_image if asked.

    Raises UserError with the place of what is wrong, or where there is no row at all.
    """
    if not file.is_file():
        raise UserError(f"there is no captions file {file}")
    if file.suffix.lower() not in KINDS:
        raise UserError(f"{file} is not one of {', '.join(KINDS)}")
    if not file.stat().st_size:
        raise UserError(f"{file} is empty")
    kind = file.suffix.lower()
    if kind != ".parquet":
        _refuse_binary(file)
    reader = {".txt": _lines, ".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet, ".json": _json}[kind]
    rows = 0
    try:
        for block in reader(file):
            if kind == ".json" and not pictures:
                block = block.set_column(SCHEMA.get_field_index("init_image"), "init_image", pa.nulls(len(block), pa.string()))
            _refuse_empty_captions(file, block, rows)
            rows += len(block)
            yield block
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    if not rows:
        raise UserError(f"{file} holds no caption")


def digest(file: Path) -> str:
    """sha256 of the file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _refuse_binary(file: Path) -> None:
    with file.open("rb") as opened:
        if b"\0" in opened.read(1 << 16):
            raise UserError(f"{file} is a binary file, not captions")


def _refuse_empty_captions(file: Path, block: pa.Table, before: int) -> None:
    for at, caption in enumerate(block["caption"].to_pylist()):
        if caption is None or not caption.strip():
            raise UserError(f"{file}: row {before + at + 1} has no caption")


def _block(rows: Sequence[Mapping[Any, Any]]) -> pa.Table:
    columns = {name: [None if row.get(name) in (None, "") else str(row[name]) for row in rows] for name in COLUMNS}
    return pa.table(columns, SCHEMA)


def _blocks(rows: Iterable[dict[str, Any]]) -> Iterator[pa.Table]:
    source = iter(rows)
    while block := list(islice(source, BLOCK)):
        yield _block(block)


def _lines(file: Path) -> Iterator[pa.Table]:
    with file.open(encoding="utf-8-sig") as opened:
        captions = (line.strip() for line in opened)
        kept = (line for line in captions if line)
        while block := list(islice(kept, BLOCK)):
            nothing = pa.nulls(len(block), pa.string())
            yield pa.table([pa.array(block, pa.string()), *[nothing] * (len(COLUMNS) - 1)], SCHEMA)


def _csv(file: Path) -> Iterator[pa.Table]:
    import pandas as pd

    try:
        chunks = pd.read_csv(file, dtype=str, keep_default_na=False, chunksize=BLOCK, encoding="utf-8-sig", on_bad_lines="error")
        for at, chunk in enumerate(chunks):
            if at == 0:
                _require_caption(file, list(chunk.columns))
            known = [name for name in COLUMNS if name in chunk.columns]
            yield _block(chunk[known].to_dict("records"))
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(
            f"{file} is not a CSV table: {str(error).strip().splitlines()[-1].removeprefix('Error tokenizing data. ')}"
        ) from None


def _jsonl(file: Path) -> Iterator[pa.Table]:
    def rows() -> Iterator[dict[str, Any]]:
        with file.open(encoding="utf-8-sig") as opened:
            for number, line in enumerate(opened, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise UserError(f"{file}, line {number} is not JSON: {error}") from None
                if not isinstance(row, dict):
                    raise UserError(f"{file}, line {number} is not a JSON object")
                if "caption" not in row:
                    _require_caption(file, list(row), f", line {number}")
                yield row

    yield from _blocks(rows())


def _parquet(file: Path) -> Iterator[pa.Table]:
    try:
        opened = pq.ParquetFile(file)
        names = opened.schema_arrow.names
        _require_caption(file, names)
        kind = opened.schema_arrow.field("caption").type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)):
            raise UserError(f"{file}: the column caption holds {kind}, not strings")
        for batch in opened.iter_batches(BLOCK, columns=[name for name in COLUMNS if name in names]):
            yield _block(batch.to_pylist())
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file} is not a readable Parquet file: {str(error).splitlines()[0]}") from None


def _require_caption(file: Path, names: list[str], where: str = "") -> None:
    if "caption" in names:
        return
    near = difflib.get_close_matches("caption", names, 1, 0.5)
    hint = f"; did you mean {near[0]} to be caption?" if near else ""
    raise UserError(f"{file}{where} has no column caption, only {', '.join(map(str, names)) or 'none'}{hint}")


def _json(file: Path) -> Iterator[pa.Table]:
    try:
        entries = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        raise UserError(f"{file} is not JSON: {error}") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{file} is not a list of objects, as CUHK-PEDES, ICFG-PEDES, RSTPReid and MALS are")
    yield from _blocks(row for number, entry in enumerate(entries, 1) for row in _entry(file, number, entry))


def _entry(file: Path, number: int, entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One object of a public list as one row a caption."""
    picture = next((entry[name] for name in ("file_path", "img_path", "image") if name in entry), None)
    said = entry.get("captions", entry.get("caption"))
    if picture is None or said is None:
        raise UserError(f"{file}: object {number} has the keys {', '.join(entry)}, which none of the known data sets has")
    made: dict[str, Any] = {"picture": picture, "person": entry.get("id")}
    if "image_id" in entry:  # in MALS the picture's own name; in APTM's lists for real data sets the person
        made["id" if "label" in entry else "person"] = entry["image_id"]
    for caption in said if isinstance(said, list) else [said]:
        yield {"caption": caption, "init_image": made["picture"], "person": made["person"], "id": made.get("id")}
