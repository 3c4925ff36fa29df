"""The plan: a table that fixes every sample of a run before any model is loaded.

`plan/00000.parquet …` hold up to 64 shards each, one row group a shard; the receipt `plan/plan.json`, written last, makes the plan done. A
plan that was killed has no receipt and is made again. The plan is a pure function of the captions and the settings.
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

from mals.config import Config
from mals.errors import UserError
from mals.grid.ids import IdHashes
from mals.grid.plan import FOLDER, RECEIPT, CaptionsFile, PlanFile, PlanReceipt, PlanRequest, plan_file, plan_settings, read_plan
from mals.grid.receipt import canonical
from mals.grid.stage import row_seed
from mals.grid.store import Store
from mals.planning import caption_files
from mals.planning.prompt_length import PromptLengths, lengths_for

SHARDS_PER_FILE = 64
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")  # no dots: WebDataset cuts a key at the first one
PLAN = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", pa.string()),
        ("negative_prompt", pa.string()),
        ("seed", pa.int64()),
        ("caption", pa.string()),  # of the captions file, or phrased from `wanted`
        ("person", pa.string()),
        ("camera", pa.string()),
        (
            "wanted",
            pa.list_(pa.int8()),
        ),  # requested attribute values, as indices in the order of the attribute space, -1 for none; null without plan.attributes
        ("init_image", pa.string()),
        ("prompt_tokens", pa.int32()),  # null where the generator's tokenizer is missing
        ("prompt_cut", pa.bool_()),  # longer than the text encoder takes
    ]
)


def write_plan(store: Store, config: Config, source: Path | None, count: int | None, images: Path | None) -> PlanReceipt:
    """Make the plan of a run, and return its receipt; a run that has this very plan keeps it. Raises UserError for bad input."""
    _check_arguments(config, source, count, images)
    lengths = lengths_for(config.generate)
    summary = Summary()
    request = PlanRequest(
        source=_source(source),
        count=count,
        images=str(images.resolve()) if images else None,
        grammar=_grammar_files(config),
        settings=plan_settings(config),
    )
    old = read_plan(store)
    if old is not None:
        if old.request == request:
            return old
        raise UserError(f"{store.url} holds another plan ({_difference(old.request, request)}); plan into another folder")
    blocks = _rows(config, source, count, images, lengths, summary)
    files = [_write(store, number, table, config.shard_rows) for number, table in enumerate(_files(blocks, config.shard_rows))]
    if not summary.ids.distinct():
        _refuse_repeated_ids(store, files)
    for name in set(store.list(FOLDER)) - {file.path for file in files}:  # of a longer plan that was killed
        store.remove(name)
    receipt = PlanReceipt(
        rows=len(summary.ids),
        shard_rows=config.shard_rows,
        shards_per_file=SHARDS_PER_FILE,
        fingerprint=sha256(canonical([config.shard_rows, *[file.sha256 for file in files]])).hexdigest(),
        files=files,
        request=request,
        prompts_cut=summary.cut if lengths.limit else None,
        token_limit=lengths.limit,
    )
    store.commit(RECEIPT, json.dumps(receipt.to_json(), indent=1).encode())
    return receipt


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


def _source(source: Path | None) -> CaptionsFile | None:
    if source is None:
        return None
    if not source.is_file():
        raise UserError(f"there is no captions file {source}")
    return CaptionsFile(name=source.name, sha256=caption_files.digest(source))


def _grammar_files(config: Config) -> dict[str, str]:
    """File that plan.attributes names -> its sha256, so that a change of the file is noticed."""
    grammar = config.plan.attributes
    names = [name for name in (grammar.space, grammar.joint) if name and Path(name).is_file()] if grammar else []
    return {name: caption_files.digest(Path(name)) for name in names}


def _difference(old: PlanRequest, new: PlanRequest) -> str:
    """The first difference of two requests, for a message."""
    if old.source != new.source:
        names = [request.source.name if request.source else "plan.attributes" for request in (old, new)]
        return f"of {names[0]}" if names[0] != names[1] else f"{names[0]} has changed since"
    if old.count != new.count:
        return f"with --count {old.count}" if old.count else "without --count"
    if old.images != new.images:
        return f"with --images {old.images}" if old.images else "without --images"
    if changed := [name for name in old.grammar if name in new.grammar and old.grammar[name] != new.grammar[name]]:
        return f"{changed[0]} has changed since"
    return "made with other settings"


class Summary:
    """Counts over all rows of a plan: long prompts, and a hash of every id."""

    def __init__(self) -> None:
        self.cut = 0
        self.ids = IdHashes()

    def add(self, table: pa.Table) -> None:
        self.cut += int(np.sum(table["prompt_cut"].to_numpy(zero_copy_only=False) == True))  # noqa: E712 - nulls compare as unequal
        self.ids.add(table["id"].to_pylist())


def _refuse_repeated_ids(store: Store, files: list[PlanFile]) -> None:
    """Raise UserError for the first id that comes twice, with its two rows; nothing where only hashes were equal."""
    seen: dict[str, int] = {}
    row = 0
    for file in files:
        for name in store.parquet(file.path).read(columns=["id"])["id"].to_pylist():
            row += 1
            if name in seen:
                raise UserError(f"the id {name} comes twice, in rows {seen[name]} and {row}")
            seen[name] = row


def _rows(
    config: Config, source: Path | None, count: int | None, images: Path | None, lengths: PromptLengths, summary: Summary
) -> Iterator[pa.Table]:
    """The rows of the plan in blocks."""
    for turn, block in _prompts(config, source, count, images is not None):
        table = _plan_rows(block, turn, config, images, lengths, len(summary.ids))
        summary.add(table)
        yield table


def _prompts(config: Config, source: Path | None, count: int | None, images: bool) -> Iterator[tuple[int, pa.Table]]:
    """(turn, block of captions): of the captions file, of the grammar, or of the file once and then of the grammar."""
    if source is None:
        yield from _phrased(config, count or 0)
    elif config.plan.attributes is None:
        yield from _captions(source, count, images)
    else:
        left = count or 0
        for block in caption_files.read(source, images):
            yield 0, block.slice(0, left)
            left -= min(left, len(block))
        if left:
            yield from _phrased(config, left)


def _captions(source: Path, count: int | None, images: bool) -> Iterator[tuple[int, pa.Table]]:
    """(turn, block): the captions file once, or again and again until there are `count` rows; turns count from 0."""
    left = count
    for turn in counting():
        for block in caption_files.read(source, images):
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


def _phrased(config: Config, count: int) -> Iterator[tuple[int, pa.Table]]:
    from mals.planning.balance import caption_blocks

    assert config.plan.attributes is not None
    for block in caption_blocks(config.plan.attributes, count, config.seed):
        yield 0, block


def _plan_rows(block: pa.Table, turn: int, config: Config, images: Path | None, lengths: PromptLengths, before: int) -> pa.Table:
    """A block of captions as rows of the plan; `before` rows come before it."""
    settings = config.plan
    ids = [_row_id(own, turn, before + at) for at, own in enumerate(_column(block, "id"))]
    prompts = [f"{settings.prefix}{caption}{settings.suffix}" for caption in block["caption"].to_pylist()]
    tokens = lengths.count(prompts)
    limit = lengths.limit
    negative = [text or settings.negative_prompt for text in _column(block, "negative_prompt")]
    columns = {
        "id": ids,
        "prompt": prompts,
        "negative_prompt": negative,
        "seed": [
            _row_seed(own, turn, row_id, config.seed, before + at)
            for at, (own, row_id) in enumerate(zip(_column(block, "seed"), ids, strict=True))
        ],
        "caption": block["caption"],
        "person": _column(block, "person"),
        "camera": _column(block, "camera"),
        "wanted": block["wanted"] if "wanted" in block.column_names else pa.nulls(len(block), PLAN.field("wanted").type),
        "init_image": [_init_image(path, images) for path in _column(block, "init_image")],
        "prompt_tokens": tokens,
        "prompt_cut": None if limit is None else [n > limit for n in tokens or []],
    }
    arrays = [pa.nulls(len(block), f.type) if columns[f.name] is None else columns[f.name] for f in PLAN]
    return pa.table([a if isinstance(a, pa.ChunkedArray) else pa.array(a, f.type) for a, f in zip(arrays, PLAN, strict=True)], PLAN)


def _column(block: pa.Table, name: str) -> list[Any]:
    return block[name].to_pylist() if name in block.column_names else [None] * len(block)


def _row_id(own: str | None, turn: int, row: int) -> str:
    """The id of a row: its own of the captions file, with the turn if the file repeats, or else its number."""
    if own is None:
        return f"{row:08d}"
    row_id = f"{own}-{turn}" if turn else own
    if not ID.fullmatch(row_id):
        raise UserError(f"the id {own!r} of row {row + 1} cannot be a file name: use up to 128 letters, digits, - and _")
    return row_id


def _row_seed(own: str | None, turn: int, row_id: str, seed: int, row: int) -> int:
    """The seed of a row in [0, 2^63): its own of the captions file in the first turn, or else one of its id."""
    if own is None or turn:
        return row_seed(seed, row_id, "plan")
    try:
        number = int(own)
    except ValueError:
        raise UserError(f"the seed {own!r} of row {row + 1} is not a whole number") from None
    if not 0 <= number < 2**63:
        raise UserError(f"the seed {number} of row {row + 1} is not from 0 to 2^63 - 1")
    return number


def _init_image(path: str | None, images: Path | None) -> str | None:
    if path is None or images is None:
        return path
    return path if "://" in path else str(images.resolve() / path)


def _files(blocks: Iterator[pa.Table], shard_rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of one plan file each."""
    size = shard_rows * SHARDS_PER_FILE
    rest = PLAN.empty_table()
    for block in blocks:
        rest = pa.concat_tables([rest, block])
        while len(rest) >= size:
            yield rest.slice(0, size).combine_chunks()
            rest = rest.slice(size)
    if len(rest):
        yield rest.combine_chunks()


def _write(store: Store, number: int, table: pa.Table, shard_rows: int) -> PlanFile:
    name = plan_file(number)
    with store.writer(name) as path:
        pq.write_table(table, path, compression="zstd", row_group_size=shard_rows)
        data = path.read_bytes()
    return PlanFile(path=name, bytes=len(data), sha256=sha256(data).hexdigest())
