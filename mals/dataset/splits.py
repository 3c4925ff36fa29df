"""Which kept row goes into which split: a function of ids (or identities) and shares, not of the order of rows or the number of shards."""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray


def hash64(text: str) -> int:
    """A 64-bit hash of a text, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def hashes64(texts: Iterable[str]) -> NDArray[np.uint64]:
    """[N] the hash of each text."""
    return np.fromiter(map(hash64, texts), np.uint64)


def assign_splits(group_hashes: NDArray[np.uint64], shares: Mapping[str, float]) -> NDArray[np.int8]:
    """[N] number of the split of each row; rows with equal `group_hashes` [N] (all rows of an identity, or a single row) stay together.

    Groups are sorted by hash, and each split takes the next share of the rows. If each row is its own group, the splits have exactly their
    shares, rounded by largest remainder; otherwise they are as near as whole groups allow. With more rows a group may get another split.
    """
    if not len(group_hashes):
        return np.empty(0, np.int8)
    _, inverse, counts = np.unique(group_hashes, return_inverse=True, return_counts=True)
    bounds = np.cumsum(quotas(len(group_hashes), list(shares.values())))
    middles = np.cumsum(counts) - counts / 2  # the middle of a group decides its split
    return np.searchsorted(bounds, middles, side="right").astype(np.int8)[inverse]


def quotas(rows: int, shares: list[float]) -> list[int]:
    """Whole numbers in the proportion of `shares` that sum to `rows` (largest remainder; the earlier share wins a tie)."""
    total = sum(shares)
    exact = [rows * share / total for share in shares]
    whole = [int(x + 1e-9) for x in exact]
    by_remainder = sorted(range(len(shares)), key=lambda i: (whole[i] - exact[i], i))
    for i in by_remainder[: rows - sum(whole)]:
        whole[i] += 1
    return whole
