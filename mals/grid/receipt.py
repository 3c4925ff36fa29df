"""Receipts and fingerprints: what makes one shard of one stage done, and for which settings.

Done means: there is a receipt, its fingerprint is that of the settings, the cell has the size in it, and the earlier cells are those
that the cell was made from.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

PACK_RECEIPT = "pack.json"  # of a run; mals.dataset writes it last, so a run that has it is packed

COMMON = ("stage", "fingerprint", "params", "env", "batch", "node")  # values that most receipts of a stage share

SUMMARY = "summary"  # among the inputs of a cell of a global stage: a hash of the earlier cells of all shards


def canonical(value: Any) -> bytes:
    """A JSON value in its canonical form, for hashes and for files that must be equal byte by byte."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def fingerprint(stage: str, version: int, params: dict[str, Any], upstream: str) -> str:
    """A hash of all that a cell depends on: the stage, its version and settings, and the fingerprint of the stage (or plan) before it."""
    return hashlib.sha256(canonical({"stage": stage, "version": version, "params": params, "upstream": upstream})).hexdigest()


class Source(NamedTuple):
    """The earlier cell that a cell is made from, as its receipt describes it."""

    sha256: str
    size: int  # bytes


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The record of one finished cell."""

    stage: str
    shard: int
    fingerprint: str
    version: int
    params: dict[str, Any]
    inputs: dict[str, str]  # earlier stage -> sha256 of its cell; SUMMARY, see there
    size: int  # bytes of the cell
    sha256: str
    rows: int  # rows of the cell: all rows of the shard
    active: int  # rows that reached this stage: neither refused nor failed before
    rejects: dict[str, int] = field(default_factory=dict)  # first reason -> rows
    errors: dict[str, int] = field(default_factory=dict)  # message -> rows, the ten commonest
    failed: int = 0  # rows that failed in this stage
    batch: dict[str, int] = field(default_factory=dict)  # size, smallest, out_of_memory
    seconds: float = 0.0  # of its worker
    waited: float = 0.0  # of these, in which the worker had nothing to compute: it waited for inputs, or for cells to be written
    device_seconds: float | None = None  # of `seconds`, in which the model computed; None for a stage that does not say
    started: str = ""
    attempt: int = 1
    env: dict[str, str] = field(default_factory=dict)
    used: dict[str, dict[str, int]] = field(default_factory=dict)  # of servers, see mals.grid.stage.Used; earlier attempts included
    node: str = ""  # the machine that made it; not packed
    format_version: int = 1

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Receipt | None":
        """None for a torn file, and for one that is not a receipt."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):
            return None


class Alike:
    """Keeps in memory once what the receipts of a stage have in common, such as settings and versions: a run has many thousands."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], Receipt] = {}  # stage, machine -> its last receipt

    def share(self, receipt: Receipt) -> Receipt:
        """An equal receipt, with the values of the one before where they are equal."""
        last = self._last.get((receipt.stage, receipt.node), receipt)
        equal = {name: value for name in COMMON if (value := getattr(last, name)) == getattr(receipt, name)}
        self._last[receipt.stage, receipt.node] = shared = replace(receipt, **equal)
        return shared
