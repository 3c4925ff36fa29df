"""The labels of one image from those of its captions."""

import numpy as np

from mals.labeller.merge import agreement, agreement_with, merge


def test_explicit_values_win_over_an_implicit_majority_and_the_majority_of_the_strongest_source_decides() -> None:
    values = np.array([[1, 0, -1, 1], [1, 1, -1, 0], [0, 1, -1, 0]], np.int8)
    codes = np.array([[2, 1, 0, 2], [2, 1, 0, 2], [1, 1, 0, 2]], np.uint8)
    assert merge(values, codes) == ([0, 1, -1, 0], [1, 1, 0, 2])
    assert agreement(values) == 0.0
    assert agreement(values[1:, 1:]) == 1.0
    assert agreement(values[:1]) is None


def test_agreement_with_the_plan_counts_attributes_that_both_know() -> None:
    assert agreement_with([0, 1, -1, 1], [0, 0, 1, -1]) == 0.5
    assert agreement_with(None, [0, 1]) is None and agreement_with([-1, 0], [0, -1]) is None
