"""A Ray cluster of several nodes on this machine, for tests of grid/ray.py.

A node starts slowly where the machine has much else to do, so Ray's own patience is raised.
"""

import atexit
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

from mals.grid.executor import Executor
from mals.grid.run import Run, executor_of

PATIENCE = {
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_worker_register_timeout_seconds": "180",
    "RAY_health_check_timeout_ms": "30000",  # a node that answers slowly is not dead; one that is gone is noticed after 15 s
    "RAY_USAGE_STATS_ENABLED": "0",
}
ROOT = Path(__file__).parents[3]
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}
MEMBER = "ray::RayMember"  # how Ray calls the processes of our actors


class SmallCluster:
    """A head without work and some nodes of one core; nodes may be killed and started."""

    def __init__(self, cluster: Any):
        self.cluster = cluster
        self.nodes: list[Any] = []

    @property
    def place(self) -> str:
        """The setting run.on."""
        return f"ray={self.cluster.address}"

    def have(self, nodes: int) -> None:
        """Start or end nodes until there are so many."""
        while len(self.nodes) < nodes:
            self.add()
        while len(self.nodes) > nodes:
            self.kill(self.nodes[-1])

    def add(self, **options: Any) -> Any:
        options["env_vars"] = {"PYTHONPATH": str(ROOT), **options.get("env_vars", {})}
        node = self.cluster.add_node(**{**NODE, **options})
        self.nodes.append(node)
        return node

    def kill(self, node: Any) -> None:
        """As when the machine loses its power: its workers would go on for some seconds after Ray's own process."""
        workers = psutil.Process(node.all_processes["raylet"][0].process.pid).children(recursive=True)
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.kill()


@contextmanager
def small_cluster(nodes: int) -> Iterator[SmallCluster]:
    """A cluster that is ended in every case; the test is skipped where Ray is not installed."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'mals[ray]'")
    os.environ.update(PATIENCE)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    try:
        small = SmallCluster(cluster)
        small.have(nodes)
        yield small
    finally:
        cluster.shutdown()


def members() -> list[int]:
    """The processes of actors that run on this machine."""
    pids = []
    for process in psutil.process_iter(["cmdline"]):
        if " ".join(process.info["cmdline"] or []).startswith(MEMBER):
            pids.append(process.pid)
    return pids


def becomes(state: Callable[[], bool], seconds: float = 90) -> bool:
    """Whether something is so before the time is over."""
    deadline = time.monotonic() + seconds
    while not state() and time.monotonic() < deadline:
        time.sleep(0.1)
    return state()


_shared = ExitStack()  # with the cluster of `on_ray`, which ends with the tests


@cache
def _shared_cluster() -> SmallCluster:
    atexit.register(_shared.close)
    return _shared.enter_context(small_cluster(2))


def on_ray(run: Run) -> Executor:
    """The executor of a cluster that all tests of this process share."""
    return executor_of(run, _shared_cluster().place)
