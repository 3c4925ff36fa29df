"""Whether the ids of millions of rows are all different, at eight bytes an id: 12 MB for 1.5 million rows."""

from collections.abc import Sequence

import numpy as np


class IdHashes:
    """A hash of every id that was added; Python salts hash() anew in each process, so they are compared only within this one."""

    def __init__(self) -> None:
        self._hashes: list[np.ndarray] = []

    def add(self, ids: Sequence[str]) -> None:
        self._hashes.append(np.fromiter(map(hash, ids), np.int64, len(ids)))

    def __len__(self) -> int:
        """The number of ids that were added."""
        return sum(map(len, self._hashes))

    def distinct(self) -> bool:
        """True if all ids are different; False if two have equal hashes, which different ids have with a chance of N^2 / 2^65."""
        hashes = np.concatenate(self._hashes) if self._hashes else np.zeros(0, np.int64)
        return len(np.unique(hashes)) == len(hashes)
