"""Which kept row goes into which split: a function of ids (or persons) and shares, whatever the order of rows or the number of shards."""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray


def key(text: str) -> int:
    """A 64-bit hash of a name, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def keys(texts: Iterable[str]) -> NDArray[np.uint64]:
    return np.fromiter(map(key, texts), np.uint64)


def assign(units: NDArray[np.uint64], shares: Mapping[str, float]) -> NDArray[np.int8]:
    """[N] number of the split of each row, for rows of the units `units` [N] (their hashes); a unit is never divided.

    The units in the order of their hashes are cut where the shares say. Where each row is a unit of its own, the splits have exactly their
    shares, rounded by largest remainder; otherwise they are as near as whole units allow.
    """
    if not len(units):
        return np.empty(0, np.int8)
    _, inverse, counts = np.unique(units, return_inverse=True, return_counts=True)
    bounds = np.cumsum(quotas(len(units), list(shares.values())))
    middles = np.cumsum(counts) - counts / 2  # a unit falls where its middle does
    return np.searchsorted(bounds, middles, side="right").astype(np.int8)[inverse]


def quotas(rows: int, shares: list[float]) -> list[int]:
    """Whole numbers in the proportion of `shares` that sum to `rows` (largest remainder; the earlier share wins a tie)."""
    total = sum(shares)
    exact = [rows * share / total for share in shares]
    whole = [int(x + 1e-9) for x in exact]
    most = sorted(range(len(shares)), key=lambda i: (whole[i] - exact[i], i))
    for i in most[: rows - sum(whole)]:
        whole[i] += 1
    return whole
