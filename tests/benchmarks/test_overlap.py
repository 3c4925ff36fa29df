"""benchmarks.overlap at toy size: both ways make the same cells, and it prints what it measured."""

from pathlib import Path

from benchmarks import overlap


def test_stages_that_differ_in_what_they_use_make_the_same_cells_both_ways(tmp_path: Path) -> None:
    values = overlap.stages(tmp_path, shards=2, rounds=1)
    assert values["same_cells"] and values["bound_by"] == "card" and values["bound_s"] == 1.4
    assert values["overlap_s"] >= values["bound_s"]


def test_a_worker_that_reads_and_writes_much_makes_the_same_cells_both_ways(tmp_path: Path) -> None:
    values = overlap.worker(tmp_path, shards=2, rounds=1)
    assert values["same_cells"] and 0 <= values["share_waited_overlap"] <= 1


def test_dispatch_counts_its_cells(tmp_path: Path) -> None:
    values = overlap.dispatch(tmp_path, shards=10)
    assert values["cells"] == 60 and values["ms_a_cell"] > 0
