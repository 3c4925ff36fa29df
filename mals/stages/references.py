"""The reference captions of a run, and the rank of an image's own caption among them.

The references are different texts, those with the smallest seeds, so that they do not depend on the order of the rows. Their own caption is
no reference of the rows that have it.

Shapes: N images, R references, D width of the embeddings.
"""

import heapq
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.floating[Any]]


def draw_texts(rows: Iterable[tuple[str, int]], count: int) -> list[str]:
    """The `count` texts with the smallest seeds, the smallest first, of rows (text, seed); a text has the smallest seed of its rows.

    Keeps 2 * `count` texts in memory.
    """
    seeds: dict[str, int] = {}
    for text, seed in rows:
        seeds[text] = min(seed, seeds.get(text, seed))
        if len(seeds) > 2 * count:
            seeds = _smallest(seeds, count)
    return list(_smallest(seeds, count))


def _smallest(seeds: dict[str, int], count: int) -> dict[str, int]:
    return dict(heapq.nsmallest(count, seeds.items(), key=lambda item: (item[1], item[0])))


def cosines(images: Vectors, texts: Vectors) -> NDArray[np.float32]:
    """[N, D] and [R, D] of length 1 -> [N, R], summed in double precision: the same for equal embeddings, wherever they stand."""
    return (images.astype(np.float64) @ texts.astype(np.float64, copy=False).T).astype(np.float32)


class References:
    """One text more than an image is compared with: in place of its own caption, where this is one of the others."""

    def __init__(self, texts: Sequence[str], embeddings: Vectors, count: int) -> None:
        """The embeddings [R, D] have length 1; each image is compared with `count` of them, or with fewer where R is not larger."""
        self.embeddings, self.count = embeddings.astype(np.float64), count
        self.places = {text: place for place, text in enumerate(texts)}

    def rank(self, images: Vectors, captions: Sequence[str], scores: Sequence[float]) -> tuple[list[int], list[int]]:
        """For each of N images: the rank of its caption, 1 is best, and the number of references that it was compared with.

        `scores` are those of the images [N, D] with their captions. A reference with a higher or the same score ranks before the caption.
        """
        before = cosines(images, self.embeddings) >= np.asarray(scores, np.float32)[:, None]
        compared = np.ones(before.shape, bool)
        for row, caption in enumerate(captions):
            place = self.places.get(caption, self.count)
            compared[row, place : place + 1] = False
        return (1 + (before & compared).sum(1)).tolist(), compared.sum(1).tolist()
