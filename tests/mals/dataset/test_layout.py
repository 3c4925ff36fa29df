"""Which row goes into which file."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mals.dataset.layout import Layout, plan_files


@given(numbers=st.lists(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=9), min_size=1, max_size=9), most=st.integers(1, 7))
def test_the_files_of_a_pack_take_every_row_once_and_in_order(numbers: list[list[int]], most: int) -> None:
    shards = [np.array(shard, np.int8) for shard in numbers]
    rows = {number: [(at, row) for at, shard in enumerate(numbers) for row, n in enumerate(shard) if n == number] for number in (-1, 0, 1)}
    parts = [part for number in rows for part in plan_files("data", "train", number, len(rows[number]), most)]
    layout = Layout(shards, parts)
    taken: dict[int, list[tuple[int, int]]] = {-1: [], 0: [], 1: []}
    for part in parts:
        mine = [(shard, row) for shard, places in layout.positions(part) for row in places.tolist()]
        assert 0 < len(mine) == part.last - part.first <= most
        taken[part.destination] += mine
    assert taken == rows
