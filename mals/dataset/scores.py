"""How well images agree with their captions: the scores and ranks of the stage `agree`, counted for the card and the report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

COLUMNS = ("agree_score", "agree_rank", "agree_references")
PARTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the rows, in the order of their scores


@dataclass(frozen=True)
class ScoreCounts:
    """The scores of some rows."""

    rows: int  # with a score
    scores: list[float]  # at each of PARTS: the least, a quarter, the median, three quarters, the greatest
    median_rank: int
    first: int  # rows of rank 1
    references: int  # captions of other rows that one was compared with, at most


@dataclass
class ScoreStatistics:
    """Scores and ranks, one shard after the other: 8 bytes a row."""

    scores: list[NDArray[np.float32]] = field(default_factory=list)
    ranks: list[NDArray[np.int32]] = field(default_factory=list)
    references: int = 0

    def add(self, table: pa.Table) -> None:
        """Count the rows of a table that have a score."""
        if not set(COLUMNS) <= set(table.column_names):
            return
        scored = table.select(COLUMNS).filter(table["agree_score"].is_valid())
        self.scores.append(scored["agree_score"].to_numpy())
        self.ranks.append(scored["agree_rank"].to_numpy())
        self.references = max([self.references, *scored["agree_references"].to_pylist()])

    def counts(self) -> ScoreCounts | None:
        """None if no row has a score."""
        rows = sum(map(len, self.scores))
        if not rows:
            return None
        scores, ranks = np.sort(np.concatenate(self.scores)), np.sort(np.concatenate(self.ranks))
        quantiles = [float(scores[round(part * (rows - 1))]) for part in PARTS]
        return ScoreCounts(rows, quantiles, int(ranks[(rows - 1) // 2]), int((ranks == 1).sum()), self.references)


def rules(params: Mapping[str, Any]) -> str:
    """The rules in the params of the stage as text; empty where it refused no row."""
    texts = {
        "min_score": "`agree_score` at least {}",
        "best_rank": "`agree_rank` at most {}",
        "min_wanted": "`agreement_wanted` at least {}",
    }
    return ", ".join(text.format(params[name]) for name, text in texts.items() if params.get(name) is not None)
