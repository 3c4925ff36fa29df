"""Receipts and fingerprints: what makes one shard of one stage done, and for which settings.

Done means: the receipt is there, its fingerprint is the one that the settings ask for, the cell has the size it names, and the earlier
cells are the ones it was made from.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any


def canonical(value: Any) -> bytes:
    """One spelling of a JSON value, for hashing and for files that must repeat."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def fingerprint(stage: str, version: int, params: dict[str, Any], upstream: str) -> str:
    """What a cell's bytes depend on: the stage, its version and settings, and the fingerprint of the stage (or plan) before it."""
    return hashlib.sha256(canonical({"stage": stage, "version": version, "params": params, "upstream": upstream})).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What is known of one finished cell."""

    stage: str
    shard: int
    fingerprint: str
    version: int
    params: dict[str, Any]
    inputs: dict[str, str]  # earlier stage -> sha256 of its cell
    size: int  # bytes of the cell
    sha256: str
    rows: int  # in the cell
    worked: int  # that reached this stage
    rejects: dict[str, int] = field(default_factory=dict)  # first reason -> rows
    errors: dict[str, int] = field(default_factory=dict)  # message -> rows, the ten commonest
    failed: int = 0  # rows with an error
    batch: dict[str, int] = field(default_factory=dict)  # size, smallest, out_of_memory
    seconds: float = 0.0
    started: str = ""
    attempt: int = 1
    env: dict[str, str] = field(default_factory=dict)
    v: int = 1

    def dump(self) -> bytes:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False).encode()

    @classmethod
    def load(cls, data: bytes) -> "Receipt | None":
        """None for what is not a receipt: a torn or foreign file is as good as none."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):
            return None
