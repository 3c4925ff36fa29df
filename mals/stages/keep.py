"""Stage `keep`: keeps the best share of the rows that are still in, by a number that an earlier stage stored. A global stage.

Of N rows with the number, the best `share` x N are kept, rounded up. Rows with the number of the last one that is kept are ties: those that
come first in the plan are kept. All others are refused as `not_best`, rows without the number (null, or not a number) too.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa

from mals.config import Config
from mals.config import Keep as Settings
from mals.grid.stage import PLAN_ROW, Resources, output_batch
from mals.stages.stored_numbers import check_number, has_number

NOT_BEST = "not_best"


class Keep:
    """Refuses all rows but the best share."""

    name = "keep"
    version = 1
    adds = pa.schema([])
    batch = 4096
    resources = Resources()

    def __init__(self, settings: Settings):
        self.settings = settings
        self.needs = self.summary_needs = (settings.by, PLAN_ROW)
        self.last: Any = None  # the number of the last row that is kept; None: no row is
        self.last_row = -1  # and its place in the plan

    def params(self) -> dict[str, Any]:
        return self.settings.model_dump(mode="json")

    def summarise(self, batches: Iterator[pa.RecordBatch]) -> pa.Table:
        """One line: the last row that is kept; none where no row has the number."""
        numbers, rows = [np.zeros(0)], [np.zeros(0, np.int64)]
        for batch in batches:
            there = has_number(batch[self.settings.by])
            numbers.append(batch[self.settings.by].filter(there).to_numpy())
            rows.append(batch[PLAN_ROW].filter(there).to_numpy())
        number, row = np.concatenate(numbers[1:] or numbers), np.concatenate(rows)
        best_first = np.lexsort((row, number if self.settings.lowest else _reversed(number)))
        count = ceil(Fraction(str(self.settings.share)) * len(number))
        last = best_first[count - 1 : count] if count else best_first[:0]
        return pa.table({self.settings.by: number[last], PLAN_ROW: row[last]})

    def setup(self, summary: pa.Table) -> None:
        if len(summary):
            self.last, self.last_row = summary[self.settings.by][0].as_py(), summary[PLAN_ROW][0].as_py()

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        there = has_number(batch[self.settings.by]).to_pylist()
        rows = zip(batch[self.settings.by].to_pylist(), batch[PLAN_ROW].to_pylist(), there, strict=True)
        kept = [known and self.is_kept(number, row) for number, row, known in rows]
        return output_batch(self.adds, {}, [None if keep else [NOT_BEST] for keep in kept])

    def is_kept(self, number: float, row: int) -> bool:
        """Whether a row with this number, at this place in the plan, is among the best."""
        if number == self.last:
            return row <= self.last_row
        return self.last is not None and (number < self.last) == self.settings.lowest


def stage(config: Config) -> Keep:
    """The stage with the settings of `config`; loads nothing. Raises UserError where `keep.by` is no number that a stage before stores."""
    assert config.keep is not None
    check_number(config, "keep", "keep.by", config.keep.by)
    return Keep(config.keep)


def _reversed(numbers: np.ndarray) -> np.ndarray:
    """Numbers that sort the other way round, whole ones without overflow."""
    return ~numbers if np.issubdtype(numbers.dtype, np.integer) else -numbers
