"""Runs on a real Ray cluster of several nodes on this machine, one for all tests here."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest

from mals.dataset.pack import pack
from mals.errors import UserError
from mals.grid import ray as executor
from mals.grid.executor import Job
from mals.grid.remote import StoreFailed
from mals.grid.run import Run, run_stages
from mals.grid.stage import Resources
from mals.grid.status import status
from mals.grid.store import Store
from tests.conftest import environment
from tests.mals.grid.clusters import SmallCluster, becomes, members, small_cluster
from tests.mals.grid.contents import cells_and_pack

Planned = Callable[..., Path]
STAGES = ("generate", "safety", "filter", "crop", "caption", "label")
SLOW = "stages.caption=tests.fakes:slow_captioner"  # so that there is time to interfere


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[SmallCluster]:
    with small_cluster(2) as cluster:
        yield cluster


@pytest.fixture
def cluster(two_nodes: SmallCluster) -> SmallCluster:
    two_nodes.have(2)
    return two_nodes


def made(folder: Path, on: str = "local") -> Store:
    """A run that was made to the end."""
    run = Run.open(folder, [f"run.on={on}"])
    run_stages(run, quiet=True)
    pack(run)
    return run.store


def command(folder: Path, on: str, *words: str, name: str = "run", **env: str) -> "subprocess.Popen[str]":
    """`mals run` on a cluster, in a process group of its own."""
    line = [sys.executable, "-m", "cli.main", name, str(folder), "--on", on, *words]
    where = {"cwd": folder.parent, "env": environment(**env), "text": True, "start_new_session": True}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **where)  # type: ignore[call-overload]


def cells(folder: Path, stage: str) -> int:
    return len(list((folder / stage).glob("*.parquet")))


def handshakes(folder: Path) -> list[str]:
    """Files of handshakes that are left."""
    return [path.name for path in (folder / "locks").iterdir() if path.name.startswith(".ray")]


@pytest.mark.slow
def test_cells_and_the_packed_set_have_the_bytes_of_one_process(cluster: SmallCluster, planned: Planned) -> None:
    folder, plain = planned("cluster", "run.workers=auto"), planned("plain")
    bytes_of_one_process = cells_and_pack(made(plain))
    assert len(bytes_of_one_process) > 5 * len(STAGES) and cells_and_pack(made(folder, cluster.place)) == bytes_of_one_process
    assert list(status(Run.open(folder)).nodes.values()) == [5 * len(STAGES)]
    assert not handshakes(folder)
    assert becomes(lambda: not members())


@pytest.mark.slow
def test_a_driver_that_was_killed_leaves_no_actor_and_goes_on_when_started_again(cluster: SmallCluster, planned: Planned) -> None:
    folder, plain = planned("cluster", SLOW), planned("plain", SLOW)
    made(plain)
    driver = command(folder, cluster.place, "--quiet")
    assert becomes(lambda: cells(folder, "caption") > 0)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()
    assert becomes(lambda: not members()) and not (folder / "dataset").exists()
    again = command(folder, cluster.place, "--quiet")
    _, message = again.communicate(timeout=300)
    assert again.returncode == 0, message
    assert cells_and_pack(Store(str(folder))) == cells_and_pack(Store(str(plain)))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.slow
def test_a_signal_ends_the_command_with_a_sentence_and_leaves_no_actor(
    cluster: SmallCluster, planned: Planned, number: int, code: int
) -> None:
    folder = planned("cluster", SLOW)
    driver = command(folder, cluster.place)
    assert becomes(lambda: cells(folder, "caption") > 0)
    os.killpg(driver.pid, number)  # as a terminal does
    _, message = driver.communicate(timeout=120)
    assert driver.returncode == code and message.splitlines()[-1] == "stopped; give the same command again to go on"
    assert becomes(lambda: not members())
    assert not handshakes(folder)


def hub_cache(folder: Path, commit: str) -> Path:
    """A cache of the hub with one model at a commit, as `main`."""
    model = folder / "models--someone--checker"
    (model / "refs").mkdir(parents=True)
    (model / "refs/main").write_text(commit)
    snapshot = model / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").write_bytes(b"")
    return folder


@pytest.mark.slow
def test_a_node_with_another_revision_of_a_model_is_turned_away(cluster: SmallCluster, planned: Planned, tmp_path: Path) -> None:
    ours, theirs = "a" * 40, "b" * 40
    hub_cache(tmp_path / "home/hub", ours)
    cluster.add(env_vars={"HF_HUB_CACHE": str(hub_cache(tmp_path / "other", theirs))})
    folder = planned("cluster", "safety.model=someone/checker", "run.workers=3", "shard_rows=2")
    driver = command(folder, cluster.place, name="generate", HF_HOME=str(tmp_path / "home"))
    _, message = driver.communicate(timeout=300)
    assert driver.returncode == 0, message
    assert f'would make other cells of safety than this machine (revision: "{ours}" -> "{theirs}")' in message
    assert cells(folder, "generate") == 20


@pytest.mark.slow
def test_a_run_that_no_node_sees_is_refused(cluster: SmallCluster, planned: Planned) -> None:
    memory = fsspec.filesystem("memory")  # of this process
    memory.put(str(planned("cluster")), "/unseen", recursive=True)
    try:
        with pytest.raises(UserError, match=r"^memory://unseen is not visible from node \S+; mount the folder"):
            run_stages(Run.open("memory://unseen", [f"run.on={cluster.place}"]), quiet=True)
    finally:
        memory.rm("/unseen", recursive=True)


OWN = '''
import json, os, sys
from tests.fakes import Painter, ours

class Witness(Painter):
    """Tells in each row where it is made."""

    def row(self, row):
        import ray
        names = ("HF_HOME", "MALS_NOTE", "MALS_API_KEY", "HF_TOKEN", "CUDA_VISIBLE_DEVICES")
        copies = [path for path in sys.path if "py_modules" in path and os.path.exists(f"{path}/my_stages/witness.py")]
        facts = {"copies": copies, "resources": ray.get_runtime_context().get_assigned_resources()}
        return super().row(row) | {"model": json.dumps(facts | {name: os.environ.get(name) for name in names})}

def stage(config):
    return Witness("generate", ours("generate", config), ("seed",), config)
'''


@pytest.mark.slow
def test_an_own_stage_travels_with_the_environment_without_keys_and_its_resources_reach_ray(
    cluster: SmallCluster, planned: Planned, tmp_path: Path
) -> None:
    (tmp_path / "my_stages").mkdir()
    (tmp_path / "my_stages/__init__.py").write_text("")
    (tmp_path / "my_stages/witness.py").write_text(OWN)
    cluster.add(num_cpus=2, num_gpus=1, resources={"accelerator_type:A100": 1}, memory=8 * 10**9)
    folder = planned("cluster", "run.workers=auto", "run.resources.generate={cpus: 0.5, gpus: 0.5, memory: 2, accelerator: A100}")
    sets = ["--set", "stages.generate=my_stages.witness:stage"]
    keys = {"HF_HOME": "/models", "MALS_NOTE": "hello", "MALS_API_KEY": "key-1", "HF_TOKEN": "key-2"}
    driver = command(folder, cluster.place, *sets, name="generate", **keys)
    _, message = driver.communicate(timeout=300)
    assert driver.returncode == 0, message
    run = Run.open(folder, ["stages.generate=tests.fakes:painter"])
    rows = [json.loads(text) for shard in range(5) for text in run.grid.table(shard, ["model"], before="safety")["model"].to_pylist()]
    assert all(row["copies"] for row in rows), "the copy that Ray brought"
    resources = {key: value for key, value in rows[0]["resources"].items() if key in ("CPU", "GPU", "memory")}
    assert resources == {"CPU": 0.5, "GPU": 0.5, "memory": 2 * 10**9} and rows[0]["resources"]["accelerator_type:A100"] > 0
    assert {name: rows[0][name] for name in ("HF_HOME", "MALS_NOTE")} == {"HF_HOME": "/models", "MALS_NOTE": "hello"}
    assert {row[name] for row in rows for name in ("MALS_API_KEY", "HF_TOKEN")} == {None}
    assert {row["CUDA_VISIBLE_DEVICES"] for row in rows} == {"0"}


@pytest.mark.slow
def test_more_than_any_node_has_is_told(cluster: SmallCluster, planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "PATIENCE", 1.0)
    run = Run.open(planned("cluster", "run.resources.generate={cpus: 64, gpus: 0}"), [f"run.on={cluster.place}"])
    with pytest.raises(UserError, match=r"^no node of the Ray cluster had room for a worker \(64 cpus, 0 gpus\)"):
        run_stages(run, quiet=True)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("ray://127.0.0.1:10001", "give the address of the cluster as HOST:PORT"),
        ("first", "give the address of the cluster as HOST:PORT"),
        ("127.0.0.1:9", r"^no Ray cluster answers at 127.0.0.1:9 \(.*refused\)"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_sentence(planned: Planned, address: str, sentence: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=sentence):
        run_stages(Run.open(planned("cluster")), on=f"ray={address}", quiet=True)


def test_a_cluster_that_does_not_start_is_one_sentence(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def start(**options: object) -> None:  # as Ray does on a machine that is too busy
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", start)
    with pytest.raises(UserError, match=r"^the Ray cluster at local cannot be used: The current node timed out during startup\.$"):
        run_stages(Run.open(planned("cluster")), on="ray", quiet=True)


def test_without_the_package_the_way_to_get_it_is_told(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"^--on ray needs the package ray; pip install 'mals\[ray\]'$"):
        run_stages(Run.open(planned("cluster")), on="ray", quiet=True)


def test_a_node_has_room_for_so_many_workers() -> None:
    node = {"CPU": 8.0, "GPU": 2.0, "memory": 64e9, "accelerator_type:A100": 1.0}
    assert executor._fit(node, Resources(cpus=1), 0.0) == 8
    assert executor._fit(node, Resources(cpus=1), 1.0) == 6, "each GPU keeps a core for its worker"
    assert executor._fit(node, Resources(cpus=1, gpus=1), 0.0) == 2
    assert executor._fit(node, Resources(cpus=1, gpus=0.25, accelerator="A100"), 0.0) == 8
    assert executor._fit(node, Resources(cpus=1, memory=30), 0.0) == 2
    assert executor._fit(node, Resources(cpus=1, gpus=1, accelerator="H100"), 0.0) == 0


def bare(planned: Planned) -> executor.RayExecutor:
    """An executor that has no cluster."""
    run = Run.open(planned("cluster"))
    return executor.RayExecutor(run.store.url, run.user_settings, run.grid, run.config)


def seat(job: Job | None = None, node: str = "", cpus: float = 1) -> executor.Seat:
    return executor.Seat(None, Resources(cpus=cpus), None, node, node, job)


def test_a_node_that_was_turned_away_ends_the_run_once_no_other_is_left(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    ray, nodes = bare(planned), [{"NodeID": name, "Resources": {"CPU": 1.0}} for name in ("first", "second")]
    monkeypatch.setattr(ray, "_look", lambda: setattr(ray, "_nodes", list(nodes)))
    ray._refused["first"] = "the node first cannot work on the run"
    ray._resize(Resources(cpus=1))
    nodes.pop()
    ray._has_worked = True
    ray._resize(Resources(cpus=1))  # nodes that worked may come back
    ray._has_worked = False
    with pytest.raises(UserError, match="the node first cannot work on the run"):
        ray._resize(Resources(cpus=1))


def test_a_store_that_fails_at_the_end_hides_no_error_of_the_work(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ray = bare(planned)
    ray._ray = SimpleNamespace(shutdown=lambda: None)
    monkeypatch.setattr(Store, "remove", gone)
    ray.close()
    assert ray._ray is None and "is left: the store is gone" in caplog.text


def gone(self: Store, name: str) -> None:
    raise StoreFailed("the store is gone")


def test_a_worker_that_finds_no_room_is_told_though_others_which_have_nothing_to_do_come_and_go(planned: Planned) -> None:
    ray = bare(planned)
    ray._moved -= executor.PATIENCE + 1
    ray._seats = [seat(Job("generate", 0, {}), "first"), seat(cpus=64)]
    ray._refuse_endless_wait()
    ray._moved -= executor.PATIENCE + 1
    ray._seats = [seat(None, "first"), seat(cpus=64)]
    with pytest.raises(UserError, match=r"had room for a worker \(64 cpus, 0 gpus\) for 10 minutes"):
        ray._refuse_endless_wait()


def test_a_node_on_which_no_worker_starts_does_not_end_a_run_that_is_at_work_elsewhere(planned: Planned) -> None:
    ray = bare(planned)
    ray._seats = [seat(Job("generate", 0, {}), "first")]
    for _ in range(2 * executor.MOST_STILLBORN):
        ray._seats.append(seat())
        ray._admit(ray._seats[-1], RuntimeError("the node is broken"))
    ray._seats = [seat()]
    with pytest.raises(UserError, match=r"^no worker could be started on the Ray cluster: the node is broken$"):
        ray._admit(ray._seats[-1], RuntimeError("the node is broken"))


def test_a_stage_with_a_model_waits_for_gpus_that_the_cluster_lost(planned: Planned) -> None:
    class Nodes:
        """The part of Ray that says which nodes there are."""

        gpus = 0

        def nodes(self) -> list[dict[str, object]]:
            return [{"Alive": True, "Resources": {"CPU": 8.0, "GPU": self.gpus}}]

    ray, ray_nodes = bare(planned), Nodes()
    ray._ray = ray_nodes
    needs = []
    for ray_nodes.gpus in (0, 1, 0):
        ray._look()
        needs.append(ray._need("generate").gpus)
    assert needs == [0, 1, 1]
