"""Which row goes into which file."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mals.dataset.layout import Layout, plan_files


@given(
    numbers=st.lists(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=9), min_size=1, max_size=9), rows_per_file=st.integers(1, 7)
)
def test_the_files_of_a_pack_take_every_row_once_and_in_order(numbers: list[list[int]], rows_per_file: int) -> None:
    shards = [np.array(shard, np.int8) for shard in numbers]
    rows = {number: [(at, row) for at, shard in enumerate(numbers) for row, n in enumerate(shard) if n == number] for number in (-1, 0, 1)}
    files = [file for number in rows for file in plan_files("data", "train", number, len(rows[number]), rows_per_file)]
    layout = Layout(shards, files)
    taken: dict[int, list[tuple[int, int]]] = {-1: [], 0: [], 1: []}
    for file in files:
        file_rows = [(shard, row) for shard, positions in layout.positions(file) for row in positions.tolist()]
        assert 0 < len(file_rows) == file.last - file.first <= rows_per_file
        taken[file.destination] += file_rows
    assert taken == rows
