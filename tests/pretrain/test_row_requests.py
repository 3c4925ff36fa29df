"""Rows that ranks ask each other for are those that all would have gathered."""

import json

import pytest

from tests.pretrain.test_ranks import run


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_requested_rows_and_their_gradients_are_those_of_a_gather(processes: int) -> None:
    results = json.loads(run(processes, "rows.py").stdout)
    assert len(results) == processes
    for of_rank in results:
        for rows_equal, bits_equal, close in of_rank.values():
            assert rows_equal and close
            assert bits_equal or processes > 2  # where gloo adds the ranks of a gather in another order
