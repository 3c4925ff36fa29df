"""Clusters of near-duplicates: those of comparing all pairs."""

from math import isnan, nan

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mals.stages.components import Components
from mals.stages.duplicates import Images, cosines, find_duplicates

HASHES = st.sampled_from([0, 0, 0, 1, 3, 7, 15, 31, 0xFF00, 0xFF01, 2**63])
VECTORS = st.tuples(*[st.integers(-1, 1)] * 3)
BEST = st.sampled_from([None, nan, -1.0, 0.0, 0.0, 2.0])
ROW = st.tuples(HASHES, VECTORS, BEST)
Row = tuple[int, tuple[int, ...], float | None]


def embeddings(rows: list[Row]) -> np.ndarray:
    vectors = np.array([row[1] for row in rows], np.float32).reshape(-1, 3)
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)).astype(np.float16)


def fill(images: Images, benchmark: list[Row], rows: list[Row], each: int) -> None:
    if benchmark:
        images.add_benchmark([row[0] for row in benchmark], embeddings(benchmark))
    vectors = [vector.tobytes() for vector in embeddings(rows)]
    columns = {
        "id": pa.array([f"r{3 * at}" for at in range(len(rows))]),
        "plan_row": pa.array([3 * at for at in range(len(rows))], pa.int64()),
        "crop_phash": pa.array([row[0] for row in rows], pa.uint64()),
        "image_embedding": pa.array(vectors, pa.binary()),
        "sharpness": pa.array([row[2] for row in rows], pa.float32()),
    }
    for batch in pa.table(columns).to_batches(max_chunksize=each):
        images.add_rows(batch, "sharpness")


def brute_force(benchmark: list[Row], rows: list[Row], distance: int, similarity: float) -> tuple[dict[int, int], dict[int, tuple]]:
    """What `Duplicates` says, by comparing all pairs: the images of benchmarks, and (number, kept) of the rows in clusters."""
    both = [*benchmark, *rows]
    i, j = (part.ravel() for part in np.meshgrid(np.arange(len(both)), np.arange(len(both))))
    cosine = cosines(embeddings(both), i, j).reshape(len(both), len(both))
    near = [[(a[0] ^ b[0]).bit_count() <= distance and cosine[m, n] >= similarity for n, b in enumerate(both)] for m, a in enumerate(both)]
    first = len(benchmark)
    leaks = {}
    for row in range(len(rows)):
        if hits := [image for image in range(first) if near[first + row][image]]:
            leaks[3 * row] = max(hits, key=lambda image: (cosine[first + row, image], -image))
    clusters, seen = {}, set()
    for row in range(len(rows)):
        members, waiting = set(), [row]
        while waiting:
            at = waiting.pop()
            if at not in members:
                members.add(at)
                waiting += [other for other in range(len(rows)) if near[first + at][first + other]]
        if row in seen or len(members) == 1:
            continue
        seen |= members
        left = [member for member in sorted(members) if 3 * member not in leaks]
        kept = max(left, key=lambda member: (_number(rows[member][2]), -member)) if left else None
        for member in members:
            clusters[3 * member] = (3 * min(members), None if kept in (None, member) else f"r{3 * kept}")
    return leaks, clusters


def _number(value: float | None) -> float:
    return -np.inf if value is None or isnan(value) else value


@settings(max_examples=150, deadline=None)
@given(
    st.lists(ROW, max_size=6),
    st.lists(ROW, min_size=1, max_size=24),
    st.integers(0, 6),
    st.sampled_from([0.4, 0.6, 0.9]),
    st.integers(1, 9),
)
def test_clusters_and_leaks_are_those_of_a_brute_force(
    benchmark: list[Row], rows: list[Row], distance: int, similarity: float, each: int
) -> None:
    with Images() as images:
        fill(images, benchmark, rows, each)
        duplicates = find_duplicates(images, distance, similarity)
        clusters = duplicates.clusters(duplicates.benchmark.keys())
    leaks, expected = brute_force(benchmark, rows, distance, np.float32(similarity))
    assert duplicates.benchmark == leaks
    assert {row: (cluster.number, cluster.kept) for row, cluster in clusters.items()} == expected


def test_without_rows_there_are_no_duplicates() -> None:
    with Images() as images:
        duplicates = find_duplicates(images, 8, 0.9)
        assert (duplicates.benchmark, duplicates.clusters(set())) == ({}, {})


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=8), max_size=4))
def test_components_do_not_depend_on_the_order_of_the_edges(blocks: list[list[tuple[int, int]]]) -> None:
    components = Components(12)
    for block in blocks:
        components.join(*np.array(block, np.int64).reshape(-1, 2).T)
    expected = list(range(12))
    for edge in (edge for block in blocks for edge in block):
        labels = {expected[node] for node in edge}
        expected = [min(labels) if label in labels else label for label in expected]
    assert components.labels.tolist() == expected
