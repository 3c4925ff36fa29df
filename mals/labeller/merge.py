"""The labels of one image from those of its captions, and how far captions and plan agree."""

from collections.abc import Sequence

import numpy as np

from mals.labeller.decision import EXPLICIT


def merge(values: np.ndarray, source_codes: np.ndarray) -> tuple[list[int], list[int]]:
    """Merge the labels of the k captions of one image, [k, A] each, into one list of values and one of source codes, [A].

    Explicit values have priority over implicit ones, and these over unknown. Among the captions of the strongest source the most frequent
    value wins; of equally frequent ones the first.
    """
    merged_values, merged_codes = [], []
    for attribute_values, codes in zip(values.T.tolist(), source_codes.T.tolist(), strict=True):
        strongest = EXPLICIT if EXPLICIT in codes else max(codes)
        candidates = [value for value, code in zip(attribute_values, codes, strict=True) if code == strongest]
        merged_values.append(max(candidates, key=candidates.count))  # max takes the first of equals
        merged_codes.append(strongest)
    return merged_values, merged_codes


def agreement(values: np.ndarray) -> float | None:
    """The share of attributes on which all of the k captions [k, A] agree, among those that two or more know; None if there is none."""
    known = values >= 0
    comparable = known.sum(0) >= 2
    if not comparable.any():
        return None
    least, most = np.where(known, values, 127).min(0), values.max(0)
    return float((least == most)[comparable].mean())


def agreement_with(planned: Sequence[int] | None, values: Sequence[int]) -> float | None:
    """The share of attributes with the planned value, among those known in both; None if there is none."""
    pairs = [(plan, value) for plan, value in zip(planned or (), values, strict=False) if plan is not None and plan >= 0 and value >= 0]
    return sum(plan == value for plan, value in pairs) / len(pairs) if pairs else None
