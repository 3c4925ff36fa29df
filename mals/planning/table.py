"""The plan: a table that fixes every sample of a run before any model is loaded.

`plan/00000.parquet …` hold up to 64 shards each, one row group a shard; `plan/plan.json`, written last, makes the plan done. A plan that
was killed has no receipt and is made again. The plan is a pure function of the captions and the settings.
"""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from itertools import count as counting
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mals.config import Config, dump
from mals.errors import UserError
from mals.grid.receipt import canonical
from mals.grid.stage import row_seed
from mals.grid.store import Store
from mals.planning import caption_files
from mals.planning.prompt_length import Lengths, lengths_for

RECEIPT = "plan/plan.json"
SHARDS_PER_FILE = 64
NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")  # no dots: WebDataset cuts a key at the first one
PLAN = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", pa.string()),
        ("negative_prompt", pa.string()),
        ("seed", pa.int64()),
        ("caption", pa.string()),  # of the captions file, or as phrased from `wanted`
        ("person", pa.string()),
        ("camera", pa.string()),
        ("wanted", pa.list_(pa.int8())),  # values asked for, in the order and polarity of the attribute space; null where nothing was
        ("init_image", pa.string()),
        ("prompt_tokens", pa.int32()),  # null where the generator's tokenizer is not at hand
        ("prompt_cut", pa.bool_()),  # longer than the text encoder takes
    ]
)


def write_plan(store: Store, config: Config, source: Path | None, count: int | None, images: Path | None) -> dict[str, Any]:
    """Make the plan of a run, and return its receipt; a run that has this very plan keeps it. Raises UserError for bad input."""
    _check_arguments(config, source, count, images)
    lengths = lengths_for(config.generate)
    summary = Summary(lengths.limit)
    asked = {
        "source": _source(source),
        "count": count,
        "images": str(images.resolve()) if images else None,
        "grammar": _grammar_files(config),
        "settings": made_with(config),
    }
    old = read_receipt(store)
    if old is not None:
        if old["asked"] == asked:
            return old
        raise UserError(f"{store.url} holds another plan ({_difference(old['asked'], asked)}); plan into another folder")
    blocks = _rows(config, source, count, images, lengths, summary)
    files = [_write(store, number, table, config.shard_rows) for number, table in enumerate(_files(blocks, config.shard_rows))]
    if summary.clash():
        _name_the_twins(store, files)
    for name in set(store.list("plan")) - {file["path"] for file in files}:  # of a longer plan that was killed
        store.remove(name)
    receipt = {
        "v": 1,
        "rows": summary.rows,
        "shard_rows": config.shard_rows,
        "shards_per_file": SHARDS_PER_FILE,
        "fingerprint": sha256(canonical([config.shard_rows, *[file["sha256"] for file in files]])).hexdigest(),
        "files": files,
        "asked": asked,
        "settings": made_with(config),
        "prompts_cut": summary.cut if lengths.limit else None,
        "token_limit": lengths.limit,
    }
    store.commit(RECEIPT, json.dumps(receipt, indent=1).encode())
    return receipt


def made_with(config: Config) -> dict[str, Any]:
    """The settings that a plan depends on; a run under others needs another plan."""
    return {"seed": config.seed, "shard_rows": config.shard_rows, "plan": dump(config)["plan"]}


def read_receipt(store: Store) -> dict[str, Any] | None:
    """The receipt of a finished plan; None where there is none."""
    try:
        return json.loads(store.read(RECEIPT))
    except (FileNotFoundError, ValueError):
        return None


def _check_arguments(config: Config, source: Path | None, count: int | None, images: Path | None) -> None:
    if count is not None and count < 1:
        raise UserError(f"--count {count} is less than one row")
    if source is None and config.plan.attributes is None:
        raise UserError("a plan needs --captions FILE, or plan.attributes in the settings and --count")
    if config.plan.attributes is not None and count is None:
        raise UserError("plan.attributes needs --count, the number of rows")
    if config.plan.attributes is not None and config.plan.attributes.space != config.label.space:
        raise UserError(f"plan.attributes.space is {config.plan.attributes.space} and label.space {config.label.space}; give both the same")
    if images is not None and not images.is_dir():
        raise UserError(f"there is no folder {images} for --images")


def _source(source: Path | None) -> dict[str, Any] | None:
    if source is None:
        return None
    if not source.is_file():
        raise UserError(f"there is no captions file {source}")
    return {"name": source.name, "sha256": caption_files.digest(source)}


def _grammar_files(config: Config) -> dict[str, str]:
    """sha256 of the files that plan.attributes names, so that a plan is known to be of other ones."""
    grammar = config.plan.attributes
    names = [name for name in (grammar.space, grammar.joint) if name and Path(name).is_file()] if grammar else []
    return {name: caption_files.digest(Path(name)) for name in names}


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    if old["source"] != new["source"]:
        names = [asked["source"]["name"] if asked["source"] else "plan.attributes" for asked in (old, new)]
        return f"of {names[0]}" if names[0] != names[1] else f"{names[0]} has changed since"
    if old["count"] != new["count"]:
        return f"with --count {old['count']}" if old["count"] else "without --count"
    if old["images"] != new["images"]:
        return f"with --images {old['images']}" if old["images"] else "without --images"
    if changed := [name for name in old["grammar"] if name in new["grammar"] and old["grammar"][name] != new["grammar"][name]]:
        return f"{changed[0]} has changed since"
    return "made with other settings"


class Summary:
    """What is counted while the plan goes by: rows, long prompts, and a hash of every id (8 bytes a row)."""

    def __init__(self, limit: int | None):
        self.limit, self.rows, self.cut = limit, 0, 0
        self.hashes: list[np.ndarray] = []

    def add(self, table: pa.Table) -> None:
        self.rows += len(table)
        self.cut += int(np.sum(table["prompt_cut"].to_numpy(zero_copy_only=False) == True))  # noqa: E712 - nulls compare as unequal
        self.hashes.append(np.fromiter((hash(row) for row in table["id"].to_pylist()), np.int64, len(table)))

    def clash(self) -> bool:
        """Whether two ids may be equal: certain when they are not."""
        every = np.concatenate(self.hashes)
        return len(np.unique(every)) != len(every)


def _name_the_twins(store: Store, files: list[dict[str, Any]]) -> None:
    """Raise UserError for the first id that comes twice, with its two rows; nothing where only hashes were equal."""
    seen: dict[str, int] = {}
    row = 0
    for file in files:
        for name in store.parquet(file["path"]).read(columns=["id"])["id"].to_pylist():
            row += 1
            if name in seen:
                raise UserError(f"the id {name} comes twice, in rows {seen[name]} and {row}")
            seen[name] = row


def _rows(
    config: Config, source: Path | None, count: int | None, images: Path | None, lengths: Lengths, summary: Summary
) -> Iterator[pa.Table]:
    """The plan's rows in blocks."""
    for turn, block in _prompts(config, source, count, images is not None):
        table = _finish(block, turn, config, images, lengths, summary.rows)
        summary.add(table)
        yield table


def _prompts(config: Config, source: Path | None, count: int | None, pictures: bool) -> Iterator[tuple[int, pa.Table]]:
    """Blocks of prompts with the number of the turn: of the captions file, of the grammar, or of the file once and then of the grammar."""
    if source is None:
        yield from _wanted(config, count or 0)
    elif config.plan.attributes is None:
        yield from _captions(source, count, pictures)
    else:
        left = count or 0
        for block in caption_files.read(source, pictures):
            yield 0, block.slice(0, left)
            left -= min(left, len(block))
        if left:
            yield from _wanted(config, left)


def _captions(source: Path, count: int | None, pictures: bool) -> Iterator[tuple[int, pa.Table]]:
    """Blocks of the captions file, again and again until there are `count` rows; with the number of the turn."""
    left = count
    for turn in counting():
        for block in caption_files.read(source, pictures):
            if left is not None and len(block) > left:
                block = block.slice(0, left)
            if len(block):
                yield turn, block
            if left is not None:
                left -= len(block)
                if left == 0:
                    return
        if left is None:
            return


def _wanted(config: Config, count: int) -> Iterator[tuple[int, pa.Table]]:
    from mals.planning.balance import phrased

    assert config.plan.attributes is not None
    for block in phrased(config.plan.attributes, count, config.seed):
        yield 0, block


def _finish(block: pa.Table, turn: int, config: Config, images: Path | None, lengths: Lengths, before: int) -> pa.Table:
    """A block of captions as rows of the plan."""
    settings = config.plan
    given = block["id"].to_pylist() if "id" in block.column_names else [None] * len(block)
    ids = [_name(name, turn, before + at) for at, name in enumerate(given)]
    prompts = [f"{settings.prefix}{caption}{settings.suffix}" for caption in block["caption"].to_pylist()]
    tokens = lengths.count(prompts)
    limit = lengths.limit
    negative = [text or settings.negative_prompt for text in _column(block, "negative_prompt")]
    columns = {
        "id": ids,
        "prompt": prompts,
        "negative_prompt": negative,
        "seed": [
            _seed(seed, turn, name, config.seed, before + at)
            for at, (seed, name) in enumerate(zip(_column(block, "seed"), ids, strict=True))
        ],
        "caption": block["caption"],
        "person": _column(block, "person"),
        "camera": _column(block, "camera"),
        "wanted": block["wanted"] if "wanted" in block.column_names else pa.nulls(len(block), PLAN.field("wanted").type),
        "init_image": [_picture(path, images) for path in _column(block, "init_image")],
        "prompt_tokens": tokens,
        "prompt_cut": None if limit is None else [n > limit for n in tokens or []],
    }
    arrays = [pa.nulls(len(block), f.type) if columns[f.name] is None else columns[f.name] for f in PLAN]
    return pa.table([a if isinstance(a, pa.ChunkedArray) else pa.array(a, f.type) for a, f in zip(arrays, PLAN, strict=True)], PLAN)


def _column(block: pa.Table, name: str) -> list[Any]:
    return block[name].to_pylist() if name in block.column_names else [None] * len(block)


def _name(given: str | None, turn: int, row: int) -> str:
    if given is None:
        return f"{row:08d}"
    name = f"{given}-{turn}" if turn else given
    if not NAME.fullmatch(name):
        raise UserError(f"the id {given!r} of row {row + 1} cannot be a file name: use up to 128 letters, digits, - and _")
    return name


def _seed(given: str | None, turn: int, name: str, seed: int, row: int) -> int:
    if given is None or turn:
        return row_seed(seed, name, "plan")
    try:
        number = int(given)
    except ValueError:
        raise UserError(f"the seed {given!r} of row {row + 1} is not a whole number") from None
    if not 0 <= number < 2**63:
        raise UserError(f"the seed {number} of row {row + 1} is not from 0 to 2^63 - 1")
    return number


def _picture(path: str | None, images: Path | None) -> str | None:
    if path is None or images is None:
        return path
    return path if "://" in path else str(images.resolve() / path)


def _files(blocks: Iterator[pa.Table], shard_rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of a plan file each."""
    size = shard_rows * SHARDS_PER_FILE
    rest = PLAN.empty_table()
    for block in blocks:
        rest = pa.concat_tables([rest, block])
        while len(rest) >= size:
            yield rest.slice(0, size).combine_chunks()
            rest = rest.slice(size)
    if len(rest):
        yield rest.combine_chunks()


def _write(store: Store, number: int, table: pa.Table, shard_rows: int) -> dict[str, Any]:
    path = f"plan/{number:05d}.parquet"
    with store.writer(path) as file:
        pq.write_table(table, file, compression="zstd", row_group_size=shard_rows)
        data = file.read_bytes()
    return {"path": path, "bytes": len(data), "sha256": sha256(data).hexdigest()}
