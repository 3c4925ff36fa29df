"""How balanced a set is: what the plan requested, what was kept and what captions mention; which attribute values come together."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mals.dataset.statistics import AttributeCounts, AttributeStatistics, label_matrix
from mals.look.source import KEPT, STATE, Source


@dataclass(frozen=True)
class Balance:
    """Counts of every attribute, and of pairs of values."""

    rows: int  # kept
    attributes: list[AttributeCounts]
    together: NDArray[np.int64]  # [2 A, 2 A] kept rows that have both values; value v of attribute a is at 2 a + v

    @property
    def requested(self) -> bool:
        """Whether the plan requests any attribute value."""
        return any(sum(attribute.requested) for attribute in self.attributes)


def balance(source: Source) -> Balance:
    """The counts of a source with attribute labels."""
    return source.cached("balance", lambda: _count(source))


def _count(source: Source) -> Balance:
    names = [name for name in ("attributes", "wanted", "attribute_source") if name in source.columns]
    statistics, width, rows = AttributeStatistics(list(source.attributes)), len(source.attributes), 0
    together = np.zeros((2 * width, 2 * width), np.int64)
    for table in source.batches([STATE, *names]):
        is_kept = np.array(table[STATE].to_pylist(), object) == KEPT
        kept = table.filter(pa.array(is_kept))
        statistics.add(table, kept, is_kept)
        rows += len(kept)
        if "attributes" in kept.column_names and len(kept):
            labels = label_matrix(kept["attributes"], width)
            marks = np.stack([labels == 0, labels == 1], 2).reshape(len(kept), 2 * width).astype(np.float32)
            together += (marks.T @ marks).astype(np.int64)
    return Balance(rows, statistics.counts(), together)


@dataclass(frozen=True)
class Pair:
    """Two attribute values that come together more or less often than if they were independent."""

    first: str
    second: str
    rows: int
    lift: float  # rows / the rows of independent values; 1: independent


def pairs(result: Balance, attributes: dict[str, list[str]], count: int = 12) -> tuple[list[Pair], list[Pair]]:
    """The values that come together most often above chance, and those that do least often, of different attributes."""
    names = [f"{name.replace('_', ' ')}: {value}" for name, values in attributes.items() for value in values]
    own = np.diag(result.together).astype(float)
    expected = np.outer(own, own) / max(1, result.rows)
    lines = [
        Pair(names[a], names[b], int(result.together[a, b]), float(result.together[a, b] / expected[a, b]))
        for a in range(len(names))
        for b in range(a + 1, len(names))
        if a // 2 != b // 2 and expected[a, b] >= max(5.0, 0.01 * result.rows)
    ]
    ordered = sorted(lines, key=lambda pair: pair.lift)
    return ordered[::-1][:count], ordered[:count]
