"""The order of a gallery: that of a stable sort, for every float32."""

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from pretrain import ranking

FLOATS = st.floats(width=32, allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, -1.0, float("inf"), -float("inf"), 1e-45, -1e-45])


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 12)).flatmap(lambda shape: arrays(np.float32, shape, elements=FLOATS)), st.integers(1, 15)
)
def test_the_order_is_that_of_a_stable_sort(scores: np.ndarray, count: int) -> None:
    rows = torch.from_numpy(scores)
    order = rows.argsort(dim=1, descending=True, stable=True)
    assert ranking.best(rows, count).equal(order[:, :count])
    places = torch.arange(rows.shape[1]).expand(len(rows), -1)
    assert ranking.ranks_of(rows, places).equal(order.argsort(1) + 1)


def test_scores_of_other_types_and_memory_layouts_are_ranked_as_float32_and_not_changed() -> None:
    scores = torch.tensor([[0.5, -2.0, 0.5], [1.0, 3.0, 2.0]])
    expected = torch.tensor([[0, 2, 1], [1, 2, 0]])
    for same in (scores.bfloat16(), scores.double(), scores.T.contiguous().T, scores.repeat(1, 2)[:, :3]):
        before = same.clone()
        assert ranking.best(same, 3).equal(expected) and same.equal(before)
