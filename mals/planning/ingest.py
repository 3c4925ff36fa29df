"""The plan of a run of images that exist: `mals plan RUN --ingest DIR|PATTERN|PARQUET|WEBDATASET|PACKED`.

Rows have neither a prompt nor, mostly, a caption. Nothing is decoded here, and no image is opened that has a suffix: a million files are
planned in seconds.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import blake2b, sha256
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mals.config import Config
from mals.errors import UserError
from mals.grid.plan import IngestRequest, PlanReceipt, PlanRequest, plan_settings
from mals.grid.stage import row_seed
from mals.grid.store import Store
from mals.origin import ORIGINS, recorded_origin
from mals.planning.collection import open_collection, readable
from mals.planning.image_files import ImageFile, caption_beside, image_files
from mals.planning.image_source import printable
from mals.planning.image_tables import Requested, TableRow, table_images
from mals.planning.image_tars import tar_images
from mals.planning.table import ID, PlanCounts, commit_plan, refuse_other_plan

INGEST_PLAN = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),  # see mals/planning/image_source.py
        ("source_name", pa.string()),  # in its collection, relative
        ("person", pa.string()),
        ("caption", pa.string()),  # that lies beside the image
        ("origin", pa.string()),  # as the collection says; null: not known
        ("seed", pa.int64()),
    ]
)
FOLDER = "folder"  # --person-from folder
BLOCK = 32_768  # rows of a table
NO_ID = re.compile(r"[^A-Za-z0-9_-]+")


class Row(NamedTuple):
    """One image of a collection."""

    name: str
    address: str
    person: str | None
    caption: str | None
    origin: str | None
    id: str


def plan_images(store: Store, config: Config, request: IngestRequest) -> PlanReceipt:
    """Make the plan of a run of the images that `request` names; a run that has this very plan keeps it. Raises UserError for bad input."""
    _check(config, request)
    plan_request = PlanRequest(
        captions_file=None, count=None, images=None, form={}, grammar={}, settings=plan_settings(config), ingest=request
    )
    left_out: Counter[str] = Counter()
    old = refuse_other_plan(store, plan_request)
    digest = sha256()
    blocks = _hashed(_tables(request, config.seed, left_out), digest)
    if old is not None:
        for _ in blocks:
            pass
        assert old.request.ingest is not None
        if old.request.ingest.listing_sha256 != digest.hexdigest():
            raise UserError(f"{store.url} holds another plan (the images in {request.source} have changed since); plan into another folder")
        return old
    counts = PlanCounts()

    def finished() -> tuple[PlanRequest, dict[str, int]]:
        """What is known when all images are listed."""
        if not len(counts.ids):
            reasons = f" (left out: {listed(left_out)})" if +left_out else ""
            raise UserError(f"there are no images in {request.source}{reasons}; give another folder, pattern, Parquet file or tar")
        if request.person_from and not counts.persons:
            place = "all lie in the folder itself" if request.person_from == FOLDER else "no .json beside them and no column says it"
            raise UserError(f"--person-from {request.person_from} gives no image of {request.source} a person: {place}")
        if request.caption_column and not counts.captions:
            raise UserError(f"--caption-column {request.caption_column} gives no image of {request.source} a caption: no text stands there")
        return replace(plan_request, ingest=replace(request, listing_sha256=digest.hexdigest())), dict((+left_out).most_common())

    return commit_plan(store, config, finished, _counted(blocks, counts), counts)


def listed(left_out: Counter[str] | dict[str, int]) -> str:
    """What was left out, as "3 hidden, 2 .pdf"."""
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.items() if count)


def _check(config: Config, request: IngestRequest) -> None:
    if config.plan.attributes is not None:
        raise UserError("plan.attributes phrases prompts, and --ingest generates nothing; take plan.attributes out of the settings")
    if config.plan.views > 1:
        raise UserError("plan.views makes several images of each prompt, and --ingest generates nothing; take it out of the settings")
    if request.limit is not None and request.limit < 1:
        raise UserError(f"--limit {request.limit} is less than one row")
    if request.origin is not None and request.origin not in ORIGINS:
        raise UserError(f"--origin {request.origin} is none of {', '.join(ORIGINS)}")


def _counted(blocks: Iterable[pa.Table], counts: PlanCounts) -> Iterator[pa.Table]:
    for block in blocks:
        counts.add(block)
        yield block


def _hashed(blocks: Iterable[pa.Table], digest: Any) -> Iterator[pa.Table]:
    """The same blocks, each value of which goes into `digest`."""
    for block in blocks:
        for name in ("source", "person", "caption"):
            digest.update("\0".join(value or "" for value in block[name].to_pylist()).encode() + b"\1")
        yield block


def _tables(request: IngestRequest, seed: int, left_out: Counter[str]) -> Iterator[pa.Table]:
    """The rows of the plan in blocks: in the order of the collection, or shuffled."""
    rows = _readable(request, left_out)
    if request.shuffle is None:
        yield from _blocks(islice(rows, request.limit), seed)
        return
    tables = list(_blocks(rows, seed))
    if not tables:
        return
    table = pa.concat_tables(tables)
    keys = np.fromiter((row_seed(request.shuffle, id_, "shuffle") for id_ in table["id"].to_pylist()), np.int64, len(table))
    order = np.argsort(keys, kind="stable")[: request.limit]
    for start in range(0, len(order), BLOCK):
        yield table.take(pa.array(order[start : start + BLOCK]))


def _blocks(rows: Iterator[Row], seed: int) -> Iterator[pa.Table]:
    while block := list(islice(rows, BLOCK)):
        columns = {
            "id": [row.id for row in block],
            "source": [row.address for row in block],
            "source_name": [row.name for row in block],
            "person": [row.person for row in block],
            "caption": [row.caption for row in block],
            "origin": [row.origin for row in block],
            "seed": [row_seed(seed, row.id, "plan") for row in block],
        }
        yield pa.table(columns, INGEST_PLAN)


def _readable(request: IngestRequest, left_out: Counter[str]) -> Iterator[Row]:
    with readable(request.source):
        yield from _rows(request, left_out)


def _rows(request: IngestRequest, left_out: Counter[str]) -> Iterator[Row]:
    """The images of a collection, in its order."""
    column = None if request.person_from in (None, FOLDER) else request.person_from
    collection = open_collection(request.source, request.image_column)
    if request.image_column is not None and collection.kind != "tables":
        raise UserError(f"--image-column is for Parquet files, and {request.source} has none")
    if collection.kind == "images":
        for image in image_files(collection.folders(left_out), left_out, read_facts=bool(column or request.caption_column)):
            yield _file_row(image, request, left_out)
    requested = Requested(request.image_column, request.caption_column, column, ids=not collection.patterns)
    for path, name in collection.files:
        if collection.kind == "tars":
            for image in tar_images(path, name, left_out):
                yield _file_row(image, request, left_out)
        else:
            for row in table_images(path, name, requested, left_out):
                yield _table_row(row, request)


def _file_row(image: ImageFile, request: IngestRequest, left_out: Counter[str]) -> Row:
    person = image.folder or None
    if request.person_from != FOLDER:
        person = image.facts.get(request.person_from) if request.person_from else None
    key = os.fsencode(image.name)
    if image.address.startswith("tar:"):  # a tar may hold a name twice
        key += f"\0{image.address.split(':')[1]}".encode()
    caption = caption_beside(image, request.caption_column, left_out)
    return Row(
        printable(image.name),
        image.address,
        _person(person),
        caption,
        request.origin or recorded_origin(image.facts),
        _row_id(image.name, key),
    )


def _table_row(row: TableRow, request: IngestRequest) -> Row:
    person = row.folder if request.person_from == FOLDER else row.person
    id_ = row.id if row.id and ID.fullmatch(row.id) else _row_id(row.name, os.fsencode(row.key))
    return Row(row.name, row.address, _person(person), row.caption, request.origin or row.origin, id_)


def _person(value: Any) -> str | None:
    """An identity as a text; None where there is none."""
    if value is None or value == "" or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise UserError(f"--person-from: {str(value)[:80]!r} is neither a text nor a whole number; name a column with the person")
    return printable(str(value))


def _row_id(name: str, key: bytes) -> str:
    """An id that can be a file name: what is readable of the image's name, and a hash of `key`, which is unique in the collection."""
    stem = name.rpartition(".")[0] or name
    readable = NO_ID.sub("_", stem).strip("_")[-48:]
    digest = blake2b(key, digest_size=8).hexdigest()
    return f"{readable}-{digest}" if readable else digest
