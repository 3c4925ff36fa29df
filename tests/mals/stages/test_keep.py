"""The stage `keep`: the best share of all rows by a stored number."""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, inf, isnan, nan

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mals import settings as run_settings
from mals.config import Keep as Settings
from mals.errors import UserError
from mals.grid.cells import build_stages, check_needs
from mals.planning.table import PLAN
from mals.stages.keep import Keep

NUMBERS = st.sampled_from([None, nan, -inf, -1.5, -0.0, 0.0, 0.1, 0.5, 0.5, 2.0, inf])  # ties are frequent
WHOLE = st.sampled_from([None, -(2**63), -1, 0, 0, 3, 2**63 - 1])


def kept(numbers: Sequence[float | None], rows: Sequence[int], each: int, dtype: pa.DataType, **keep: object) -> list[bool]:
    """Whether the stage keeps each row, by its number and its place in the plan, in shards of `each` rows."""
    values = {"by": "number", **keep}
    table = pa.table({"number": pa.array(numbers, dtype), "plan_row": pa.array(rows, pa.int64())})
    batches = table.to_batches(max_chunksize=each)
    summary = Keep(Settings(**values)).summarise(iter(batches))  # type: ignore[arg-type]
    stage = Keep(Settings(**values))  # type: ignore[arg-type]
    stage.setup(summary)
    return [not row["reject"] for batch in batches for row in stage(batch).to_pylist()]


def brute_force(numbers: Sequence[float | None], rows: Sequence[int], share: float, lowest: bool) -> list[bool]:
    sign = 1 if lowest else -1
    order = sorted((sign * number, row) for number, row in zip(numbers, rows, strict=True) if number is not None and not isnan(number))
    best = {row for _, row in order[: ceil(Fraction(str(share)) * len(order))]}
    return [row in best for row in rows]


@settings(max_examples=200, deadline=None)
@given(st.data(), st.booleans(), st.sampled_from([0.001, 0.1, 0.3, 0.5, 0.7, 1.0]), st.integers(1, 9))
def test_the_best_share_is_that_of_a_brute_force_over_all_rows(data: st.DataObject, lowest: bool, share: float, each: int) -> None:
    dtype, values = data.draw(st.sampled_from([(pa.float32(), NUMBERS), (pa.float64(), NUMBERS), (pa.int64(), WHOLE)]))
    numbers = pa.array(data.draw(st.lists(values, max_size=40)), dtype).to_pylist()
    rows = sorted(data.draw(st.sets(st.integers(0, 1000), min_size=len(numbers), max_size=len(numbers))))
    assert kept(numbers, rows, each, dtype, share=share, lowest=lowest) == brute_force(numbers, rows, share, lowest)


def test_of_thirty_rows_a_tenth_is_three() -> None:
    assert sum(kept(list(range(30)), list(range(30)), 7, pa.int32(), share=0.1)) == 3, "0.1 x 30 is more than 3 in binary fractions"


def test_rows_without_the_number_are_refused_as_not_best() -> None:
    batch = pa.record_batch({"number": pa.array([None, 1.0, nan]), "plan_row": [0, 1, 2]})
    stage = Keep(Settings(by="number", share=1.0))
    stage.setup(stage.summarise(iter([batch])))
    assert stage(batch)["reject"].to_pylist() == [["not_best"], None, ["not_best"]]


def test_what_is_no_number_of_a_stage_before_is_refused_when_the_run_is_planned() -> None:
    with pytest.raises(UserError, match=r"keep\.by = 'sharpnes' is no number of a stage before; did you mean sharpness\?"):
        build_stages(run_settings.check({"keep": {"by": "sharpnes"}}))
    with pytest.raises(UserError, match=r"keep\.by = 'caption' is no number .* there are seed, "):
        build_stages(run_settings.check({"keep": {"by": "caption"}}))
    with pytest.raises(UserError, match=r"keep\.by = 'agree_score' is no number of a stage before; .* where agree\.scorer is set"):
        build_stages(run_settings.check({"keep": {"share": 0.5}}))
    for by in ("sharpness", "agreement_wanted", "person_score"):
        check_needs(build_stages(run_settings.check({"keep": {"by": by}})), PLAN.names)


def test_keep_none_is_no_stage() -> None:
    assert "keep" not in build_stages(run_settings.check({"keep": "none"}))
