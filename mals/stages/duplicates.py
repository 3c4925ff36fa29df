"""Near-duplicates among images of which hashes and embeddings are known: hashes propose pairs, embeddings confirm them.

The result is that of comparing all pairs (`near_pairs` misses none), but pairs whose images are already in one cluster are not compared
again. Images of benchmarks come first, then the rows; a benchmark's image is compared with rows, and joins no cluster. Hashes, ids and
numbers are in memory, embeddings in a temporary file.
"""

import tempfile
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mals.grid.stage import PLAN_ROW
from mals.stages.components import Components
from mals.stages.near_hashes import BLOCK, near_pairs, ragged_pairs

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]  # i and j, both [E]
PAIRS = 4096  # whose embeddings are in memory at once


class Images:
    """What is known of every image, benchmarks first; to be filled before it is used, as a context manager."""

    def __init__(self) -> None:
        self.benchmarks = 0  # images of benchmarks
        self._hashes: list[NDArray[np.uint64]] = []
        self._rows: list[NDArray[np.int64]] = []
        self._best: list[NDArray[np.float64]] = []
        self._ids: list[pa.Array] = []
        self._width = 0  # numbers of an embedding

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile(prefix="mals-")
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add_benchmark(self, hashes: list[int], embeddings: NDArray[np.float16]) -> None:
        """Images of a benchmark: hashes [N], embeddings [N, D]."""
        assert not self._rows
        self.benchmarks += len(hashes)
        self._hashes.append(np.array(hashes, np.uint64))
        self._width = embeddings.shape[1]
        self._file.write(np.ascontiguousarray(embeddings, "<f2").tobytes())

    def add_rows(self, batch: pa.RecordBatch, best: str) -> None:
        """Rows with `id`, their place in the plan, their hash and embedding, and the number `best`."""
        self._hashes.append(batch["crop_phash"].to_numpy(zero_copy_only=False).astype(np.uint64))
        self._rows.append(batch[PLAN_ROW].to_numpy())
        self._best.append(batch[best].cast(pa.float64()).to_numpy(zero_copy_only=False))
        self._ids.append(batch["id"])
        embeddings = batch["image_embedding"].to_pylist()
        self._width = self._width or len(embeddings[0]) // 2
        self._file.write(b"".join(embeddings))

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """[images]"""
        return np.concatenate([np.zeros(0, np.uint64), *self._hashes])

    @property
    def rows(self) -> NDArray[np.int64]:
        """[rows] their places in the plan."""
        return np.concatenate([np.zeros(0, np.int64), *self._rows])

    @property
    def best(self) -> NDArray[np.float64]:
        """[rows] the number of which the most is kept, -inf where it is missing."""
        numbers = np.concatenate([np.zeros(0), *self._best])
        return np.where(np.isnan(numbers), -np.inf, numbers)

    @property
    def ids(self) -> pa.ChunkedArray:
        """[rows]"""
        return pa.chunked_array(self._ids, pa.string())

    def embeddings(self) -> NDArray[np.float16]:
        """[images, D], read from the file when they are used."""
        self._file.flush()
        count = sum(map(len, self._hashes))
        if not count:
            return np.zeros((0, 1), np.float16)
        return np.memmap(self._file, "<f2", "r", shape=(count, self._width))


@dataclass(frozen=True)
class Cluster:
    """The cluster of a row."""

    number: int  # the place in the plan of its first row
    kept: str | None  # the id of the row that is kept; None for that row itself, and where none is


@dataclass(frozen=True)
class Duplicates:
    """Which images are near-duplicates."""

    images: Images
    labels: NDArray[np.int64]  # [images] the smallest image of its cluster
    benchmark: dict[int, int]  # place of a row in the plan -> the image of a benchmark that is nearest to it, of those that are near

    def clusters(self, without: Set[int]) -> dict[int, Cluster]:
        """Place in the plan -> cluster, of the rows of clusters of two or more; none of the rows `without` is kept."""
        labels, rows, best, ids = self.labels[self.images.benchmarks :], self.images.rows, self.images.best, self.images.ids
        _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
        members: dict[int, list[int]] = {}
        for member in np.flatnonzero(counts[inverse] > 1).tolist():
            members.setdefault(int(labels[member]), []).append(member)
        clusters: dict[int, Cluster] = {}
        for cluster in members.values():
            candidates = [member for member in cluster if int(rows[member]) not in without]
            kept = max(candidates, key=lambda member: (best[member], -member)) if candidates else None
            name = None if kept is None else ids[kept].as_py()
            number = int(rows[cluster[0]])
            clusters |= {int(rows[member]): Cluster(number, None if member == kept else name) for member in cluster}
        return clusters


def find_duplicates(images: Images, distance: int, similarity: float) -> Duplicates:
    """The near-duplicates: hashes that differ in at most `distance` bits, embeddings with a cosine of at least `similarity`, above 0."""
    search = _Search(images, similarity)
    for i, j in search.same_hash():
        search.check(i, j)
    for a, b in _gathered(near_pairs(search.distinct, distance)):
        search.check_hashes(a, b)
    return Duplicates(images, search.components.labels, search.nearest())


def cosines(embeddings: NDArray[np.float16], i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float32]:
    """[E] of the pairs (i, j) of embeddings [N, D] of length 1."""
    result = np.empty(len(i), np.float32)
    for start in range(0, len(i), PAIRS):
        part = slice(start, start + PAIRS)
        result[part] = (embeddings[i[part]].astype(np.float32) * embeddings[j[part]].astype(np.float32)).sum(1)
    return result


def _gathered(blocks: Iterator[Pairs]) -> Iterator[Pairs]:
    """The pairs of small blocks in blocks of about BLOCK pairs."""
    waiting: list[Pairs] = []
    for block in blocks:
        waiting.append(block)
        if sum(len(i) for i, _ in waiting) >= BLOCK:
            yield np.concatenate([i for i, _ in waiting]), np.concatenate([j for _, j in waiting])
            waiting = []
    if waiting:
        yield np.concatenate([i for i, _ in waiting]), np.concatenate([j for _, j in waiting])


class _Search:
    """Compares pairs of images. Images with one hash are a group: `order` has them one group after the other."""

    def __init__(self, images: Images, similarity: float):
        self.images, self.similarity, self.embeddings = images, np.float32(similarity), images.embeddings()
        self.distinct, inverse, self.counts = np.unique(images.hashes, return_inverse=True, return_counts=True)
        self.order = np.argsort(inverse, kind="stable")
        self.starts = np.cumsum(self.counts) - self.counts
        self.components = Components(len(inverse))
        self.leaks: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []  # row, benchmark's image, cosine

    def check(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> None:
        """Compare the images (i, j), but for two of benchmarks, and two rows that are in one cluster already."""
        limit, labels = self.images.benchmarks, self.components.labels
        i, j = np.minimum(i, j), np.maximum(i, j)
        useful = (j >= limit) & (labels[i] != labels[j])
        i, j = i[useful], j[useful]
        cosine = cosines(self.embeddings, i, j)
        near = cosine >= self.similarity
        i, j, cosine = i[near], j[near], cosine[near]
        leak = i < limit
        self.leaks.append((j[leak] - limit, i[leak], cosine[leak]))
        self.components.join(i[~leak], j[~leak])

    def same_hash(self) -> Iterator[Pairs]:
        """Pairs within the groups: the first of a group with each other, then all pairs of groups that are not one cluster by then."""
        groups = np.flatnonzero(self.counts > 1)
        starts, ends = self.starts[groups], self.starts[groups] + self.counts[groups]
        for left, right in ragged_pairs(starts, starts + 1, ends):
            yield self.order[left], self.order[right]
        mixed = self._label_of(groups) < 0
        for groups_, places in ragged_pairs(np.flatnonzero(mixed), starts[mixed], ends[mixed] - 1):
            for left, right in ragged_pairs(places, places + 1, ends[groups_]):
                yield self.order[left], self.order[right]

    def check_hashes(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
        """Compare all images of the groups (a, b): their first ones, then the others unless both groups are one cluster by then."""
        self.check(self.order[self.starts[a]], self.order[self.starts[b]])
        several = (self.counts[a] > 1) | (self.counts[b] > 1)
        a, b = a[several], b[several]
        label_a, label_b = self._label_of(a), self._label_of(b)
        apart = (label_a < 0) | (label_a != label_b)
        a, b = a[apart], b[apart]
        for edges, places in ragged_pairs(np.arange(len(a)), self.starts[a], self.starts[a] + self.counts[a]):
            for left, right in ragged_pairs(places, self.starts[b[edges]], self.starts[b[edges]] + self.counts[b[edges]]):
                self.check(self.order[left], self.order[right])

    def _label_of(self, groups: NDArray[np.int64]) -> NDArray[np.int64]:
        """[groups] the cluster that all images of a group are in; -1 where they are in several."""
        if not len(self.order):
            return np.zeros(0, np.int64)
        labels = self.components.labels[self.order]
        least, most = np.minimum.reduceat(labels, self.starts), np.maximum.reduceat(labels, self.starts)
        return np.where(least == most, least, -1)[groups]

    def nearest(self) -> dict[int, int]:
        """Place of a row in the plan -> the nearest image of a benchmark, the first one of equals."""
        if not self.leaks:
            return {}
        row, image, cosine = (np.concatenate(part) for part in zip(*self.leaks, strict=True))
        order = np.lexsort((image, -cosine, row))
        first = order[np.unique(row[order], return_index=True)[1]]
        return dict(zip(self.images.rows[row[first]].tolist(), image[first].tolist(), strict=True))
