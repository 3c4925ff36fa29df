"""The plan of a run as the grid knows it: the receipt in plan/plan.json, which names the plan's Parquet files.

`mals.planning` writes both, the receipt last: a run without it has no finished plan.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from mals.config import Config, dump
from mals.grid.store import Store

FOLDER = "plan"
RECEIPT = f"{FOLDER}/plan.json"


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """One Parquet file of a plan."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class CaptionsFile:
    """The captions file that a plan was made from."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class IngestRequest:
    """The images that a plan was made from."""

    source: str  # a folder, a pattern, a file or a URL, as it was given
    person_from: str | None = None  # "folder", or a column; None: no persons
    image_column: str | None = None  # of a table, where it is not found by its name
    caption_column: str | None = None  # of a table, or a key of a .json
    limit: int | None = None  # rows, at most
    shuffle: int | None = None  # the seed of their order
    origin: str | None = None  # of all images, one of mals.origin.ORIGINS; None: as the collection and the files say
    listing_sha256: str = ""  # of the addresses, persons and captions


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What a plan was made from; an equal request needs no new plan."""

    captions_file: CaptionsFile | None
    count: int | None  # rows, where --count was given
    images: str | None  # the folder of --images, an absolute path
    form: dict[str, str]  # what was said of the captions file: its encoding, the names of columns
    grammar: dict[str, str]  # file that plan.attributes names -> its sha256
    settings: dict[str, Any]  # see `plan_settings`
    folder: str | None = None  # of the captions file, an absolute path; None where no initial image is relative to it
    ingest: IngestRequest | None = None  # of images that exist


@dataclass(frozen=True, kw_only=True)
class PlanReceipt:
    """What is known of a finished plan."""

    rows: int
    shard_rows: int  # of every shard but the last, which may have fewer
    shards_per_file: int
    fingerprint: str  # sha256 over shard_rows and the files
    files: list[PlanFile]
    request: PlanRequest
    prompts_cut: int | None  # prompts longer than the text encoder takes; None where its tokenizer was missing
    token_limit: int | None  # tokens that the text encoder takes, special ones included; None where its tokenizer was missing
    persons: int | None = None  # that have several images each by plan.views; None where it is 1
    left_out: dict[str, int] = field(default_factory=dict)  # what was no image of a collection -> how many
    format_version: int = 1

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-self.rows // self.shard_rows)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> "PlanReceipt":
        """Raises TypeError or KeyError for what is not the receipt of a plan."""
        file, ingest = tree["request"]["captions_file"], tree["request"]["ingest"]
        records = {"captions_file": CaptionsFile(**file) if file else None, "ingest": IngestRequest(**ingest) if ingest else None}
        request = PlanRequest(**tree["request"] | records)
        return cls(**tree | {"files": [PlanFile(**file) for file in tree["files"]], "request": request})


def plan_file(number: int) -> str:
    """The name of one Parquet file of a plan."""
    return f"{FOLDER}/{number:05d}.parquet"


def read_plan(store: Store) -> PlanReceipt | None:
    """The receipt of a finished plan; None where there is none that can be read."""
    try:
        return PlanReceipt.from_json(json.loads(store.read(RECEIPT)))
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def plan_settings(config: Config) -> dict[str, Any]:
    """The settings that a plan depends on; a run with others needs another plan."""
    return {"source": config.source, "seed": config.seed, "shard_rows": config.shard_rows, "plan": dump(config)["plan"]}
