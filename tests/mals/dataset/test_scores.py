"""Counts of scores and ranks for the card and the report."""

from collections.abc import Sequence

import pyarrow as pa
import pytest

from mals.dataset.scores import ScoreCounts, ScoreStatistics, rules


def statistics_of(rows: Sequence[tuple[float, int] | None], size: int) -> ScoreStatistics:
    """Of rows (score, rank), or None for a row without a score, in shards of `size`."""
    statistics = ScoreStatistics()
    for start in range(0, len(rows), size):
        scores, ranks = zip(*(row or (None, None) for row in rows[start : start + size]), strict=True)
        columns = {"agree_score": pa.array(scores, pa.float32()), "agree_rank": pa.array(ranks, pa.int32())}
        statistics.add(pa.table({**columns, "agree_references": pa.array([rank and 50 for rank in ranks], pa.int32())}))
    return statistics


@pytest.mark.parametrize("size", [1, 3, 100])
def test_quantiles_are_scores_of_rows_whatever_the_shards(size: int) -> None:
    rows = [(at / 8, 1 + at % 4) if at % 3 else None for at in (5, 1, 4, 3, 2, 8, 7, 6, 0)]  # scored: 1, 2, 4, 5, 7, 8 eighths
    assert statistics_of(rows, size).counts() == ScoreCounts(6, [1 / 8, 2 / 8, 4 / 8, 7 / 8, 1.0], median_rank=2, first=2, references=50)


def test_rows_without_a_score_count_as_none() -> None:
    assert statistics_of([None, None], 2).counts() is None


def test_tables_without_scores_count_as_none() -> None:
    statistics = ScoreStatistics()
    statistics.add(pa.table({"caption": ["a"]}))
    assert statistics.counts() is None


def test_rules_are_told_in_words_and_none_as_nothing() -> None:
    assert rules({"min_score": 0.2, "best_rank": 49, "min_wanted": None}) == "`agree_score` at least 0.2, `agree_rank` at most 49"
    assert rules({"min_score": None}) == ""
