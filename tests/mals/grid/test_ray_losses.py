"""Nodes of a Ray cluster, workers and the coordinator are lost in the middle of a stage, or come: a gate says where the middle is."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mals.dataset.pack import pack
from mals.grid import ray as executor
from mals.grid.run import Run, run_stages
from mals.grid.store import Store
from mals.planning.create import create
from tests.fakes import FAST
from tests.mals.grid.clusters import SmallCluster, small_cluster
from tests.mals.grid.contents import cells_and_pack
from tests.mals.grid.gates import GATED, STAGES, Gate

pytestmark = pytest.mark.slow
Planned = Callable[..., Path]
SETS = (*GATED, "keep.by=sharpness", "keep.share=0.9", "run.attempts=1")


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[SmallCluster]:
    with small_cluster(2) as cluster:
        yield cluster


@pytest.fixture
def cluster(two_nodes: SmallCluster, monkeypatch: pytest.MonkeyPatch) -> SmallCluster:
    two_nodes.have(2)
    monkeypatch.setattr(executor, "BEAT", 1.0)
    return two_nodes


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one process makes of 40 captions."""
    root = tmp_path_factory.mktemp("undisturbed")
    (root / "captions.txt").write_text("".join(f"a person number {i} in a coat\n" for i in range(40)))
    create(str(root / "run"), captions=root / "captions.txt", assignments=[*FAST, *SETS])
    return finished(root / "run")


def finished(folder: Path, on: str = "local") -> dict[str, str]:
    """The bytes of a run that is made to the end."""
    run = Run.open(folder, [f"run.on={on}"])
    run_stages(run, quiet=True)
    pack(run)
    return cells_and_pack(Store(str(folder)))


class Disturbed:
    """A run that is made on a cluster, in another thread, while something happens to it."""

    def __init__(self, folder: Path, cluster: SmallCluster, event: Callable[[], None], gate: Gate):
        with ThreadPoolExecutor(1) as thread:
            try:
                run = thread.submit(finished, folder, cluster.place)
                event()
            finally:
                gate.open()
            self.bytes = run.result()
        self.events: list[dict[str, Any]] = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]

    def lost(self) -> list[str]:
        """The stages of the shards that lost their workers."""
        return [event["stage"] for event in self.events if event["event"] == "lost"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_node_that_is_killed_in_the_middle_of_any_stage_costs_no_byte_and_no_attempt(
    cluster: SmallCluster, planned: Planned, undisturbed: dict[str, str], gate: Gate, stage: str
) -> None:
    folder = planned("cluster", *SETS, "run.workers=2")
    gate.close(at=stage)

    def kill() -> None:
        nodes = gate.wait_for(1)
        cluster.kill(next(node for node in cluster.nodes if node.node_id in nodes.values()))

    run = Disturbed(folder, cluster, kill, gate)
    assert run.bytes == undisturbed
    assert run.lost() == [stage] and not [event for event in run.events if event["event"] == "failed"]
    grid = Run.open(folder).grid
    assert {receipt.attempt for name in STAGES for receipt in grid.receipts(name).values()} == {1}


def test_a_worker_that_is_lost_while_it_makes_a_summary_costs_no_attempt(
    cluster: SmallCluster, planned: Planned, undisturbed: dict[str, str], gate: Gate
) -> None:
    folder = planned("cluster", *SETS, "run.workers=2")
    gate.close(at="keep.summary")

    def kill() -> None:
        os.kill(next(iter(gate.wait_for(1))), signal.SIGKILL)
        gate.wait_for(2)

    run = Disturbed(folder, cluster, kill, gate)
    assert run.bytes == undisturbed
    assert [event["event"] for event in run.events].count("summary") == 1
    assert not [event for event in run.events if event["event"] == "failed"]


def test_a_node_that_joins_while_a_run_is_going_gets_work(
    cluster: SmallCluster, planned: Planned, undisturbed: dict[str, str], gate: Gate
) -> None:
    cluster.have(1)
    folder = planned("cluster", *SETS, "run.workers=auto")
    gate.close(at="generate")
    nodes: set[str] = set()

    def join() -> None:
        gate.wait_for(1)
        cluster.add()
        nodes.update(gate.wait_for(2).values())

    assert Disturbed(folder, cluster, join, gate).bytes == undisturbed
    assert nodes == {node.node_id for node in cluster.nodes}
