from hypothesis import given, settings
from hypothesis import strategies as st

from mals.dataset.splits import assign_splits, hashes64, quotas


@given(rows=st.integers(0, 5000), shares=st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_quotas_sum_to_the_rows_and_are_nearest_to_the_shares(rows: int, shares: list[int]) -> None:
    counts = quotas(rows, [share / sum(shares) for share in shares])
    assert sum(counts) == rows
    assert all(abs(count - rows * share / sum(shares)) < 1 for count, share in zip(counts, shares, strict=True))


@given(order=st.randoms(), rows=st.integers(1, 200))
@settings(max_examples=30)
def test_a_row_has_the_same_split_in_whatever_order_rows_come(order, rows: int) -> None:
    names = [f"row {at}" for at in range(rows)]
    shuffled = names.copy()
    order.shuffle(shuffled)
    shares = {"a": 0.7, "b": 0.3}
    in_order = dict(zip(names, assign_splits(hashes64(names), shares).tolist(), strict=True))
    in_other_order = dict(zip(shuffled, assign_splits(hashes64(shuffled), shares).tolist(), strict=True))
    assert in_order == in_other_order
