"""Random numbers that follow from what they are for: a row has its own, whichever rows they are drawn with, when, and in which process."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLOCK = 4  # numbers that Philox makes of one value of its counter
OWN = 0xC4A9CE  # sets these streams apart: a seed sequence takes a key and the same one with zeros behind it for one


def uniform(key: Sequence[int], rows: Sequence[int], count: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), [B, count]: those of a row, which is not negative, follow from key, row and `count` alone.

    Each row has a stretch of one stream; of raw bits, which no version of numpy draws otherwise.
    """
    stream, blocks = np.random.Philox(np.random.SeedSequence((*key, OWN))), -(-count // BLOCK)
    bits, here = np.empty((len(rows), blocks * BLOCK), np.uint64), 0
    for own, row in zip(bits, rows, strict=True):
        stream.advance(blocks * row - here)
        own[:] = stream.random_raw(len(own))
        here = blocks * (row + 1)
    return np.asarray((bits[:, :count] >> np.uint64(11)) * 2.0**-53, np.float64)
