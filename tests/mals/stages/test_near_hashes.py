"""Pairs of hashes within a distance: those of comparing all pairs, each once."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mals.stages.near_hashes import BITS, bands_for, near_pairs, ragged_pairs

WORDS = st.integers(0, 2**BITS - 1)


def pairs(hashes: list[int], distance: int) -> list[tuple[int, int]]:
    blocks = near_pairs(np.array(hashes, np.uint64), distance)
    return sorted((min(i, j), max(i, j)) for left, right in blocks for i, j in zip(left.tolist(), right.tolist(), strict=True))


def brute_force(hashes: list[int], distance: int) -> list[tuple[int, int]]:
    return [(i, j) for i, j in combinations(range(len(hashes)), 2) if (hashes[i] ^ hashes[j]).bit_count() <= distance]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 12))
def test_all_pairs_within_the_distance_are_there_once(data: st.DataObject, distance: int) -> None:
    seeds = data.draw(st.lists(WORDS, min_size=1, max_size=3))
    flips = data.draw(st.lists(st.tuples(st.sampled_from(seeds), st.sets(st.integers(0, BITS - 1), max_size=12)), max_size=20))
    hashes = list({seed ^ sum(1 << bit for bit in bits) for seed, bits in flips})
    assert pairs(hashes, distance) == brute_force(hashes, distance)


@pytest.mark.parametrize("distance", [0, 3, 8, 10])
def test_hashes_that_share_most_bits_are_compared_too(distance: int) -> None:
    values = np.random.default_rng(0).integers(0, 1 << 14, 300, np.uint64)
    hashes = np.unique(values * np.uint64(0x0002000400080011)).tolist()  # 14 bits decide all 64
    assert pairs(hashes, distance) == brute_force(hashes, distance)


@pytest.mark.parametrize("distance", range(13))
@pytest.mark.parametrize("hashes", [10, 20_000, 1_500_000])
def test_the_bands_hold_every_bit_once_and_their_radii_suffice(distance: int, hashes: int) -> None:
    bands = bands_for(distance, hashes)
    assert sum(band.radius + 1 for band in bands) > distance
    used = [bit for band in bands for bit in band.bits]
    assert len(used) == len(set(used)) and max(len(band.bits) for band in bands) <= 22


def test_ragged_pairs_are_all_of_the_ranges_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mals.stages.near_hashes.BLOCK", 4)
    left, starts, ends = np.array([7, 8, 9]), np.array([0, 5, 2]), np.array([6, 6, 4])
    blocks = list(ragged_pairs(left, starts, ends))
    assert [(i, j) for a, b in blocks for i, j in zip(a.tolist(), b.tolist(), strict=True)] == [
        *((7, j) for j in range(6)),
        (8, 5),
        (9, 2),
        (9, 3),
    ]
    assert len(blocks) == 2
