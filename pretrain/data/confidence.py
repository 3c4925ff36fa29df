"""How much each row counts in a training: a weight by the rank of a number of the row, such as the agreement of its image and caption.

Shapes: n rows of one data set, N of all.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from mals.errors import UserError

NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers."""
    return any(is_kind(kind) for is_kind in NUMBERS)


def check_column(file: object, schema: pa.Schema, name: str) -> None:
    """UserError where a file has no column of numbers with this name."""
    numbers = [field.name for field in schema if is_number(field.type)]
    others = f"its columns of numbers are {', '.join(numbers)}" if numbers else "it has no column of numbers"
    if name not in schema.names:
        raise UserError(f"{file} has no column {name}, which data.confidence names; {others}")
    if not is_number(schema.field(name).type):
        raise UserError(f"{file}: the column {name}, which data.confidence names, holds {schema.field(name).type}; {others}")


def scores_of(column: pa.ChunkedArray) -> Tensor:
    """The numbers of a column [n] as float64, NaN for null."""
    return torch.from_numpy(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy().copy())


def check_scores(scores: Tensor, starts: Sequence[int], name: str) -> str | None:
    """A sentence about rows [N] without a number, where there are some; UserError where no row of any data set would count more.

    `name` is the column of the scores.
    """
    missing = int(scores.isnan().sum())
    if missing == len(scores):
        raise UserError(f"no row has a number in the column {name}, which data.confidence names; set it to null, or name another column")
    sets = [scores[first:end] for first, end in pairwise(starts)]
    if all(len(own[~own.isnan()].unique()) < 2 for own in sets):
        raise UserError(
            f"all rows of a data set have the same number in the column {name}, which data.confidence names, so that none would count more "
            "than another; set it to null, or name another column"
        )
    return f"{missing:,} of {len(scores):,} rows have no number in the column {name}, and the weight 1" if missing else None


def row_weights(scores: Tensor, starts: Sequence[int], lowest: float) -> Tensor | None:
    """Weights [N] float32 of rows by their scores [N], whose mean is 1; None where all are 1.

    Within each data set, which begins at a row of `starts` (the last one is N), the weight grows linearly with the rank of the score, and
    the highest is 1 / `lowest` times the lowest (`lowest` in [0, 1]); equal scores share their mean rank. A row without a score (NaN), and
    each row of a set whose scores are all equal, has 1.
    """
    weights = torch.ones(len(scores), dtype=torch.float64)
    for first, end in pairwise(starts):
        own = scores[first:end]
        known = ~own.isnan()
        _, places, counts = own[known].unique(return_inverse=True, return_counts=True)
        if len(counts) < 2:
            continue
        middle = counts.cumsum(0) - (counts.double() + 1) / 2  # the mean rank, from 0 on, of each different score
        share = middle / (int(known.sum()) - 1)
        weights[first:end][known] = ((lowest + (1 - lowest) * share) / ((1 + lowest) / 2))[places]
    return None if bool((weights == 1).all()) else weights.float()
