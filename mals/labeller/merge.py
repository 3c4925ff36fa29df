"""The labels of one image from those of its several captions, and how far the captions agree."""

from collections.abc import Sequence

import numpy as np

from mals.labeller.decision import EXPLICIT


def merge(values: np.ndarray, codes: np.ndarray) -> tuple[list[int], list[int]]:
    """One picture's labels from those of its k captions, [k, A] each.

    Explicit beats implicit beats unknown; where the captions of the strongest source differ, the majority decides, then the first.
    """
    merged, sources = [], []
    for said, code in zip(values.T.tolist(), codes.T.tolist(), strict=True):
        source = EXPLICIT if EXPLICIT in code else max(code)
        heard = [value for value, its in zip(said, code, strict=True) if its == source]
        merged.append(max(heard, key=heard.count))  # of equals, max takes the first
        sources.append(source)
    return merged, sources


def agreement(values: np.ndarray) -> float | None:
    """Of the attributes that two or more of the k captions [k, A] know, the share on which all of them agree; None where there is none."""
    known = values >= 0
    several = known.sum(0) >= 2
    if not several.any():
        return None
    least, most = np.where(known, values, 127).min(0), values.max(0)
    return float((least == most)[several].mean())


def agreement_with(wanted: Sequence[int] | None, values: Sequence[int]) -> float | None:
    """Of the attributes known to both, the share that is as wanted; None where there is none."""
    both = [(w, v) for w, v in zip(wanted or (), values, strict=False) if w is not None and w >= 0 and v >= 0]
    return sum(w == v for w, v in both) / len(both) if both else None
