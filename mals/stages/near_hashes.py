"""Pairs of 64-bit hashes that differ in few bits: all of them, without comparing every hash with every other.

By the pigeonhole principle: the bits are divided into bands, and band b has a radius r_b, so that the sum of (r_b + 1) is over the
distance. Two hashes within the distance then differ in at most r_b bits of some band b. So for each band and each mask of at most r_b bits,
the hashes whose bands differ by exactly this mask are compared: they are ranges of one sorted table. The bands take the bits in turn, since
neighbouring bits of a perceptual hash go together. Memory is that of some tables of the hashes and of one block of pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

BITS = 64
BLOCK = 1 << 20  # pairs that are compared at once
FEWEST_BANDS = 3  # a band of 22 bits has a table of 4 million entries
MASK_COST, HASH_COST, PAIR_COST, ENTRY_COST = 30_000.0, 10.0, 20.0, 5.0  # nanoseconds: of a mask, a hash for each, a pair, a table's entry


@dataclass(frozen=True)
class Band:
    """Some bits of the hashes, and how many of them may differ."""

    bits: tuple[int, ...]
    radius: int

    @property
    def mask(self) -> int:
        """The bits as one number."""
        return sum(1 << bit for bit in self.bits)

    def masks(self) -> Iterator[int]:
        """Every set of at most `radius` differing bits, as a number among those of `keys`."""
        for size in range(self.radius + 1):
            for places in combinations(range(len(self.bits)), size):
                yield sum(1 << place for place in places)

    def keys(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """[N] the bits of the band, moved together."""
        keys = np.zeros(len(hashes), np.int64)
        for place, bit in enumerate(self.bits):
            keys |= ((hashes >> np.uint64(bit)) & np.uint64(1)).astype(np.int64) << place
        return keys


def near_pairs(hashes: NDArray[np.uint64], distance: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Places (i, j) of all pairs of different hashes that differ in at most `distance` bits, each pair once, in blocks.

    `hashes` [N] must be distinct. The order of the pairs means nothing.
    """
    bands = bands_for(distance, len(hashes))
    for number, band in enumerate(bands):
        keys = band.keys(hashes)
        order = np.argsort(keys, kind="stable")
        table = _Table(keys[order], hashes[order], len(band.bits))
        for mask in band.masks():
            for left, right in table.pairs(mask, distance):
                i, j = order[left], order[right]
                first = _first_time(hashes[i] ^ hashes[j], bands[:number])
                if first.any():
                    yield i[first], j[first]


def bands_for(distance: int, hashes: int) -> list[Band]:
    """The bands with the least expected work for so many random hashes."""
    options = [_bands(distance, count) for count in range(min(FEWEST_BANDS, distance + 1), distance + 2)]
    return min(options, key=lambda bands: sum(_cost(band, hashes) for band in bands))


def _bands(distance: int, count: int) -> list[Band]:
    """`count` bands whose radii + 1 sum to distance + 1; longer bands get the larger radii."""
    count = max(count, FEWEST_BANDS)
    share, rest = divmod(distance + 1, count)
    bands = [(tuple(range(number, BITS, count)), share + (number < rest) - 1) for number in range(count)]
    return [Band(bits, radius) for bits, radius in bands if radius >= 0]


def _cost(band: Band, hashes: int) -> float:
    masks = sum(comb(len(band.bits), size) for size in range(band.radius + 1))
    entries = 2 ** len(band.bits)
    return masks * (MASK_COST + HASH_COST * hashes + PAIR_COST * hashes * hashes / 2 / entries) + ENTRY_COST * entries


def _first_time(differing: NDArray[np.uint64], earlier: list[Band]) -> NDArray[np.bool_]:
    """[N] whether no earlier band has compared these pairs, by the bits in which they differ."""
    first = np.ones(len(differing), bool)
    for band in earlier:
        first &= np.bitwise_count(differing & np.uint64(band.mask)) > band.radius
    return first


class _Table:
    """Hashes [N] in the order of the keys [N] of one band."""

    def __init__(self, keys: NDArray[np.int64], hashes: NDArray[np.uint64], bits: int):
        self.keys, self.hashes = keys, hashes
        self.starts = np.zeros((1 << bits) + 1, np.int64)  # of the range of each key
        np.cumsum(np.bincount(keys, minlength=1 << bits), out=self.starts[1:])

    def pairs(self, mask: int, distance: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Places of pairs within the distance whose keys differ by exactly `mask`, each pair once."""
        partners = self.keys ^ mask
        starts, ends = self.starts[partners], self.starts[partners + 1]
        if mask == 0:
            starts = np.arange(1, len(self.keys) + 1)
        left = np.flatnonzero((ends > starts) & (partners >= self.keys))
        for rows, columns in ragged_pairs(left, starts[left], ends[left]):
            near = np.bitwise_count(self.hashes[rows] ^ self.hashes[columns]) <= distance
            if near.any():
                yield rows[near], columns[near]


def ragged_pairs(
    left: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Each of `left` [N] with every number in [starts, ends) [N], in blocks of about BLOCK pairs; no range may be empty."""
    sizes = ends - starts
    totals = np.cumsum(sizes)
    begin = 0
    while begin < len(left):
        before = int(totals[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(totals, before + BLOCK, side="right")))
        counts = sizes[begin:end]
        offsets = np.repeat(starts[begin:end] - (totals[begin:end] - counts - before), counts)
        columns = offsets + np.arange(len(offsets))
        yield np.repeat(left[begin:end], counts), columns
        begin = end
