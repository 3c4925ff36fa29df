"""Connected components of a graph whose edges come in blocks."""

import numpy as np
from numpy.typing import NDArray


class Components:
    """The components of N nodes; the label of each is its smallest node, whatever the order of the edges."""

    def __init__(self, nodes: int):
        self.labels = np.arange(nodes)

    def join(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> None:
        """Add the edges (i, j), both [E]."""
        while len(i):
            a, b = self.labels[i], self.labels[j]
            apart = a != b
            i, j, a, b = i[apart], j[apart], a[apart], b[apart]
            np.minimum.at(self.labels, np.maximum(a, b), np.minimum(a, b))
            self._compress()

    def _compress(self) -> None:
        """Let every node have the label of its label, until nothing changes."""
        while True:
            labels = self.labels[self.labels]
            if np.array_equal(labels, self.labels):
                return
            self.labels = labels
