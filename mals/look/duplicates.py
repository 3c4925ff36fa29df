"""Near-duplicates, pair by pair: what the stages `embed` and `dedup` keep of the rows that they refused and of those that stayed."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mals.look.query import select
from mals.look.source import Source

PAGE = 30  # pairs of one page
HASH, EMBEDDING = "crop_phash", "image_embedding"


@dataclass(frozen=True)
class Pair:
    """A row that was refused, and the one that was kept in its place, or what it equals in a benchmark."""

    row: int
    kept: int | None  # None: its twin is in a benchmark
    match: str  # the set and row of the benchmark; empty where it is in none
    cluster: int  # rows of its cluster; 0 where it has none
    distance: int | None  # bits in which the hashes differ
    similarity: float | None  # cosine of the embeddings


@dataclass(frozen=True)
class Pairs:
    """One page of pairs."""

    pairs: list[Pair]
    total: int
    clusters: int


def has_duplicates(source: Source) -> bool:
    """Whether a source has what the stage dedup adds."""
    return source.kind == "run" and "duplicate_cluster" in source.columns


SQL = """WITH near AS (SELECT * FROM rows WHERE duplicate_cluster IS NOT NULL OR benchmark_match IS NOT NULL),
        sizes AS (SELECT duplicate_cluster, count(*) AS size FROM near WHERE duplicate_cluster IS NOT NULL GROUP BY ALL)
    SELECT a.row, b.row, coalesce(a.benchmark_match, ''), coalesce(s.size, 0), count(*) OVER (),
        (SELECT count(*) FROM sizes)
    FROM near a LEFT JOIN near b ON b.id = a.duplicate_of AND b.duplicate_cluster = a.duplicate_cluster
        LEFT JOIN sizes s ON s.duplicate_cluster = a.duplicate_cluster
    WHERE a.duplicate_of IS NOT NULL OR a.benchmark_match IS NOT NULL
    ORDER BY coalesce(a.duplicate_cluster, a.row), a.row"""


def listed(source: Source, number: int) -> Pairs:
    """The page of pairs with this number, from 0, in the order of clusters in the plan."""

    def ask() -> Pairs:
        columns = ["id", "duplicate_cluster", "duplicate_of", "benchmark_match"]
        lines = select(source, f"{SQL} LIMIT {PAGE:d} OFFSET {number * PAGE:d}", columns=columns)
        measures = _measures(source, [row for line in lines for row in line[:2] if row is not None])
        pairs = [Pair(row, kept, match, size, *_nearness(measures, row, kept)) for row, kept, match, size, *_ in lines]
        return Pairs(pairs, *(lines[0][-2:] if lines else (0, 0)))

    return source.cached(("duplicates", number), ask)


def _measures(source: Source, rows: list[int]) -> dict[int, dict[str, Any]]:
    """The hash and the embedding of each row, as the stage embed has stored them."""
    unique = list(dict.fromkeys(rows))
    return dict(zip(unique, source.take(unique, [HASH, EMBEDDING]), strict=True))


def _nearness(measures: dict[int, dict[str, Any]], one: int, other: int | None) -> tuple[int | None, float | None]:
    """The bits in which two rows' hashes differ, and the cosine of their embeddings; None where a number is missing."""
    if other is None:
        return None, None
    hashes = [measures[row][HASH] for row in (one, other)]
    vectors = [measures[row][EMBEDDING] for row in (one, other)]
    distance = None if None in hashes else (hashes[0] ^ hashes[1]).bit_count()
    if None in vectors:
        return distance, None
    first, second = (np.frombuffer(vector, "<f2").astype(np.float32) for vector in vectors)
    return distance, float(first @ second)
