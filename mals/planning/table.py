"""The plan: a table that fixes every sample of a run before any model is loaded.

`plan/00000.parquet …` hold up to 64 shards each, one row group a shard; the receipt `plan/plan.json`, written last, makes the plan done. A
plan that was killed has no receipt and is made again. The plan is a pure function of the captions and the settings.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count as counting
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mals.config import Config, Plan
from mals.errors import UserError, quoted
from mals.grid.differences import differences
from mals.grid.ids import IdHashes
from mals.grid.plan import FOLDER, RECEIPT, CaptionsFile, PlanFile, PlanReceipt, PlanRequest, plan_file, plan_settings, read_plan
from mals.grid.receipt import canonical
from mals.grid.stage import row_seed
from mals.grid.store import Store
from mals.planning import caption_files
from mals.planning.caption_files import AS_IT_IS, CaptionsForm
from mals.planning.prompt_length import PromptLengths, lengths_for
from mals.planning.views import FIRST_VIEW, captioned_views, phrased_views

SHARDS_PER_FILE = 64
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")  # no dots: WebDataset cuts a key at the first one
PLAN = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", pa.string()),
        ("negative_prompt", pa.string()),
        ("seed", pa.int64()),
        ("caption", pa.string()),  # of the captions file, or phrased from the requested attribute values
        ("person", pa.string()),
        ("camera", pa.string()),
        # The requested value of each attribute, in the order of the attribute space: its index, or -1 for no request; null if the caption
        # comes from the captions file. Only this published column has the name `wanted`: code says `requested`.
        ("wanted", pa.list_(pa.int8())),
        ("init_image", pa.string()),
        ("prompt_tokens", pa.int32()),  # null if the generator's tokenizer is missing
        ("prompt_cut", pa.bool_()),  # longer than the text encoder takes
    ]
)


def plan_schema(plan: Plan) -> pa.Schema:
    """The columns of a plan with these settings."""
    return PLAN if plan.views == 1 else PLAN.append(FIRST_VIEW)


@dataclass(frozen=True)
class CaptionsSource:
    """The captions that a plan is made of."""

    file: Path | None
    count: int | None = None  # rows, for which the file repeats
    images: Path | None = None  # the folder of initial images; that of the file itself where it is not named
    form: CaptionsForm = AS_IT_IS

    @property
    def folder(self) -> Path | None:
        """The folder, an absolute path, from which relative initial images are read."""
        folder = self.images or (self.file.parent if self.file else None)
        return folder.resolve() if folder else None


def write_plan(store: Store, config: Config, source: CaptionsSource) -> PlanReceipt:
    """Make the plan of a run, and return its receipt; a run that has this very plan keeps it. Raises UserError for bad input."""
    _check_arguments(config, source)
    lengths = lengths_for(config.generate)
    counts = PlanCounts()
    request = PlanRequest(
        captions_file=_captions_record(source.file),
        count=source.count,
        images=str(source.images.resolve()) if source.images else None,
        form=source.form.to_json(),
        grammar=_grammar_files(config),
        settings=plan_settings(config),
    )
    if old := refuse_other_plan(store, request, source.folder):
        return old

    def finish() -> tuple[PlanRequest, dict[str, int]]:
        relative = counts.has_relative_images and source.images is None
        return replace(request, folder=str(source.folder)) if relative else request, {}

    return commit_plan(store, config, finish, _rows(config, source, lengths, counts), counts, lengths.limit)


def refuse_other_plan(store: Store, request: PlanRequest, folder: Path | None = None) -> PlanReceipt | None:
    """The plan that the run has, where it was made from `request`; None if there is none. Raises UserError for another plan.

    `folder`: of the captions file. Whether a collection of images has changed is not compared here.
    """
    old = read_plan(store)
    if old is None:
        return None
    ingest = replace(old.request.ingest, listing_sha256="") if old.request.ingest else None
    expected = replace(request, folder=str(folder)) if old.request.folder else request
    if replace(old.request, ingest=ingest) != expected:
        raise UserError(f"{store.url} holds another plan ({_difference(old.request, request)}); plan into another folder")
    return old


def commit_plan(
    store: Store,
    config: Config,
    finish: Callable[[], tuple[PlanRequest, dict[str, int]]],
    blocks: Iterator[pa.Table],
    counts: "PlanCounts",
    token_limit: int | None = None,
) -> PlanReceipt:
    """Write the plan of the rows in `blocks`; `finish` gives its request, and what was left out, when all rows are written."""
    files = [_write(store, number, table, config.shard_rows) for number, table in enumerate(_files(blocks, config.shard_rows))]
    request, left_out = finish()
    if not counts.ids.distinct():
        _refuse_repeated_ids(store, files)
    for name in set(store.list(FOLDER)) - {file.path for file in files}:  # of a longer plan that was killed
        store.remove(name)
    receipt = PlanReceipt(
        rows=len(counts.ids),
        shard_rows=config.shard_rows,
        shards_per_file=SHARDS_PER_FILE,
        fingerprint=sha256(canonical([config.shard_rows, *[file.sha256 for file in files]])).hexdigest(),
        files=files,
        request=request,
        persons=counts.first_views or None,
        prompts_cut=counts.prompts_cut if token_limit else None,
        token_limit=token_limit,
        left_out=left_out,
    )
    store.commit(RECEIPT, json.dumps(receipt.to_json(), indent=1).encode())
    return receipt


def _check_arguments(config: Config, source: CaptionsSource) -> None:
    count, images = source.count, source.images
    if count is not None and count < 1:
        raise UserError(f"--count {count} is less than one row")
    if source.file is None and source.form != AS_IT_IS:
        raise UserError("columns and an encoding are named of a captions file, and there is none; give it with --captions FILE")
    if source.file is None and config.plan.attributes is None:
        raise UserError("a plan needs --captions FILE, --ingest IMAGES, or plan.attributes in the settings and --count")
    if config.plan.attributes is not None and count is None:
        raise UserError("plan.attributes needs --count, the number of rows")
    if config.plan.attributes is not None and config.plan.attributes.space != config.label.space:
        space = config.plan.attributes.space
        raise UserError(f"plan.attributes.space is {space} and label.space {config.label.space}; set label.space={space}")
    if images is not None and not images.is_dir():
        raise UserError(f"there is no folder {images} for --images")


def _captions_record(file: Path | None) -> CaptionsFile | None:
    if file is None:
        return None
    caption_files.check_kind(file)
    return CaptionsFile(name=file.name, sha256=caption_files.digest(file))


def _grammar_files(config: Config) -> dict[str, str]:
    """File that plan.attributes names -> its sha256, so that a change of the file is noticed."""
    grammar = config.plan.attributes
    names = [name for name in (grammar.space, grammar.joint) if name and Path(name).is_file()] if grammar else []
    return {name: caption_files.digest(Path(name)) for name in names}


def _difference(old: PlanRequest, new: PlanRequest) -> str:
    """The first difference of two requests, for a message."""
    if old.ingest != new.ingest:
        sources = [request.ingest.source if request.ingest else "captions" for request in (old, new)]
        return f"of {sources[0]}" if sources[0] != sources[1] else "with other options of --ingest"
    if old.captions_file != new.captions_file:
        names = [request.captions_file.name if request.captions_file else "plan.attributes" for request in (old, new)]
        return f"of {names[0]}" if names[0] != names[1] else f"{names[0]} has changed since"
    if old.count != new.count:
        return f"with --count {old.count}" if old.count else "without --count"
    if old.images != new.images:
        return f"with --images {old.images}" if old.images else "without --images"
    if old.form != new.form:
        return f"read with {', '.join(f'{name} {value}' for name, value in old.form.items()) or 'no named column and encoding'}"
    if old.folder != new.folder:
        return f"with initial images from {old.folder}" if old.folder else "without initial images of a folder"
    if changes := differences(old.settings, new.settings):
        return f"made with other settings: {changes[0]}"
    changed_file = next(name for name in old.grammar | new.grammar if old.grammar.get(name) != new.grammar.get(name))
    return f"{changed_file} has changed since"


class PlanCounts:
    """Counts over all rows of a plan: prompts that are too long, relative initial images, rows with a person, a caption, first images of
    persons, and a hash of every id."""

    def __init__(self) -> None:
        self.prompts_cut = 0
        self.has_relative_images = False
        self.persons = self.captions = self.first_views = 0
        self.ids = IdHashes()

    def add(self, table: pa.Table) -> None:
        if "prompt_cut" in table.column_names:
            self.prompts_cut += pc.sum(table["prompt_cut"], min_count=0).as_py()
        self.persons += len(table) - table["person"].null_count
        self.captions += len(table) - table["caption"].null_count
        if "first_view" in table.column_names:
            self.first_views += table["first_view"].null_count
        self.ids.add(table["id"].to_pylist())


def _refuse_repeated_ids(store: Store, files: list[PlanFile]) -> None:
    """Raise UserError for the first id that comes twice, with its two rows; nothing where only hashes were equal."""
    seen: dict[str, int] = {}
    row = 0
    for file in files:
        for name in store.parquet(file.path).read(columns=["id"])["id"].to_pylist():
            row += 1
            if name in seen:
                raise UserError(f"the id {name} comes twice, in rows {seen[name]} and {row}; give each row its own id, or none")
            seen[name] = row


def _rows(config: Config, source: CaptionsSource, lengths: PromptLengths, counts: PlanCounts) -> Iterator[pa.Table]:
    """The rows of the plan in blocks."""
    for repeat, block in _prompts(config, source):
        first_row = len(counts.ids)
        if config.plan.views > 1 and "view" not in block.column_names:
            block = captioned_views(block, config.plan, first_row // config.plan.views, config.seed)
        if source.count is not None:  # the last person may have fewer images
            block = block.slice(0, source.count - first_row)
        counts.has_relative_images |= any(_is_relative(path) for path in _column(block, "init_image"))
        table = _plan_rows(block, repeat, config, source.folder, lengths, first_row)
        counts.add(table)
        yield table


def _prompts(config: Config, source: CaptionsSource) -> Iterator[tuple[int, pa.Table]]:
    """(repeat, block of captions): of the captions file, of the grammar, or of the file once and then of the grammar; see `_captions`."""
    views = config.plan.views
    if source.file is None:
        yield from _phrased(config, source.count or 0)
    elif config.plan.attributes is None:
        yield from _captions(source, None if source.count is None else -(-source.count // views))
    else:
        left = source.count or 0
        for block in caption_files.read(source.file, source.images is not None, source.form):
            yield 0, block.slice(0, -(-left // views))
            left -= min(left, len(block) * views)
        if left:
            yield from _phrased(config, left)


def _captions(source: CaptionsSource, count: int | None) -> Iterator[tuple[int, pa.Table]]:
    """(repeat, block): the captions file once, or repeated until there are `count` captions; repeat is 0 for the first pass."""
    assert source.file is not None
    left = count
    for repeat in counting():
        for block in caption_files.read(source.file, source.images is not None, source.form):
            if left is not None and len(block) > left:
                block = block.slice(0, left)
            if len(block):
                yield repeat, block
            if left is not None:
                left -= len(block)
                if left == 0:
                    return
        if left is None:
            return


def _phrased(config: Config, count: int) -> Iterator[tuple[int, pa.Table]]:
    from mals.planning.balance import caption_blocks

    assert config.plan.attributes is not None
    several = config.plan.views > 1
    blocks = phrased_views(config.plan, count, config.seed) if several else caption_blocks(config.plan.attributes, count, config.seed)
    for block in blocks:
        yield 0, block


def _plan_rows(block: pa.Table, repeat: int, config: Config, folder: Path | None, lengths: PromptLengths, first_row: int) -> pa.Table:
    """A block of captions as rows of the plan, of which the first is number `first_row`."""
    plan = config.plan
    views = _column(block, "view")
    file_ids = zip(_column(block, "id"), views, strict=True)
    ids = [_row_id(file_id, repeat, view, row) for row, (file_id, view) in enumerate(file_ids, first_row)]
    firsts = [at - (view or 0) for at, view in enumerate(views)]  # position in the block of the first image of each row's person
    prompts = [f"{plan.prefix}{caption}{plan.suffix}" for caption in block["caption"].to_pylist()]
    tokens = lengths.count(prompts)
    limit = lengths.limit
    columns = {
        "id": ids,
        "prompt": prompts,
        "negative_prompt": [text or plan.negative_prompt for text in _column(block, "negative_prompt")],
        "seed": _seeds(block, repeat, config, ids, firsts, first_row),
        "caption": block["caption"],
        "person": _column(block, "person"),
        "camera": _column(block, "camera"),
        "wanted": block["wanted"] if "wanted" in block.column_names else pa.nulls(len(block), PLAN.field("wanted").type),
        "init_image": [_init_image(path, folder) for path in _column(block, "init_image")],
        "prompt_tokens": tokens,
        "prompt_cut": None if limit is None else [n > limit for n in tokens or []],
    }
    if plan.views > 1:
        columns["person"] = [person or ids[first] for person, first in zip(columns["person"], firsts, strict=True)]
        rows = pa.table({name: columns[name] for name in FIRST_VIEW.type.names}).to_pylist()
        columns["first_view"] = [rows[first] if view else None for first, view in zip(firsts, views, strict=True)]
    schema = plan_schema(plan)
    arrays = [pa.nulls(len(block), f.type) if columns[f.name] is None else columns[f.name] for f in schema]
    return pa.table([a if isinstance(a, pa.ChunkedArray) else pa.array(a, f.type) for a, f in zip(arrays, schema, strict=True)], schema)


def _seeds(block: pa.Table, repeat: int, config: Config, ids: list[str], firsts: list[int], first_row: int) -> list[int]:
    """The seed of each row of a block; a seed of the captions file is that of the first image of a person."""
    own_seeds = [
        _row_seed(file_seed, repeat > 0 or first != at, ids[at], config.seed, first_row + at)
        for at, (file_seed, first) in enumerate(zip(_column(block, "seed"), firsts, strict=True))
    ]
    return [own_seeds[first] for first in firsts] if config.plan.view_seed == "person" else own_seeds


def _column(block: pa.Table, name: str) -> list[Any]:
    return block[name].to_pylist() if name in block.column_names else [None] * len(block)


def _row_id(file_id: str | None, repeat: int, view: int | None, row: int) -> str:
    """The id of a row: `file_id` from the captions file, or else the number of the row.

    Behind an id of the file come "-1", "-2", ... where the file repeats, and the number of the image of its person, "_v0", "_v1", ...
    """
    if file_id is None:
        return f"{row:08d}"
    row_id = f"{file_id}-{repeat}" if repeat else file_id
    row_id = row_id if view is None else f"{row_id}_v{view}"
    if not ID.fullmatch(row_id):
        raise UserError(f"the id {quoted(file_id)} of row {row + 1} cannot be a file name: use up to 128 letters, digits, - and _")
    return row_id


def _row_seed(file_seed: str | None, is_repeat: bool, row_id: str, seed: int, row: int) -> int:
    """The seed of a row in [0, 2^63): `file_seed` of the captions file where it is used first, else one derived from `seed` and the id."""
    if file_seed is None or is_repeat:
        return row_seed(seed, row_id, "plan")
    try:
        number = int(file_seed)
    except ValueError:
        raise UserError(f"the seed {quoted(file_seed)} of row {row + 1} is not a whole number of at most 19 digits") from None
    if not 0 <= number < 2**63:
        raise UserError(f"the seed {quoted(file_seed)} of row {row + 1} is not from 0 to 2^63 - 1")
    return number


def _is_relative(path: str | None) -> bool:
    return path is not None and "://" not in path and not Path(path).is_absolute()


def _init_image(path: str | None, folder: Path | None) -> str | None:
    """The place of an initial image: a URL, or an absolute path, so that the run works from any folder."""
    return str(folder / path) if path is not None and folder is not None and _is_relative(path) else path


def _files(blocks: Iterator[pa.Table], shard_rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of one plan file each."""
    size = shard_rows * SHARDS_PER_FILE
    rest: pa.Table | None = None
    for block in blocks:
        rest = block if rest is None else pa.concat_tables([rest, block])
        while len(rest) >= size:
            yield rest.slice(0, size).combine_chunks()
            rest = rest.slice(size)
    if rest:
        yield rest.combine_chunks()


def _write(store: Store, number: int, table: pa.Table, shard_rows: int) -> PlanFile:
    name = plan_file(number)
    with store.writer(name) as path:
        pq.write_table(table, path, compression="zstd", row_group_size=shard_rows)
        data = path.read_bytes()
    return PlanFile(path=name, bytes=len(data), sha256=sha256(data).hexdigest())
