"""Runs on S3 that a Ray cluster of several nodes makes: the run is behind SeaweedFS, and the keys are in the nodes' own environment."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from mals.dataset.pack import pack
from mals.grid.run import Run, run_stages
from mals.grid.status import status
from mals.grid.store import Store
from tests.conftest import environment
from tests.mals.grid.clusters import SmallCluster, becomes, members, small_cluster
from tests.mals.grid.contents import cells_and_pack
from tests.object_servers import BUCKET, KEYS, SECRET, seaweedfs

pytestmark = pytest.mark.slow
Planned = Callable[..., Path]
GLOBAL = ("keep.by=sharpness", "keep.share=0.9")  # keep looks at all rows: its summary has a lease


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment with which the library of s3:// comes to a server."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs") / "s3") as address:
        yield {**KEYS, "AWS_ENDPOINT_URL_S3": address}


@pytest.fixture(scope="module")
def no_nodes() -> Iterator[SmallCluster]:
    with small_cluster(0) as cluster:
        yield cluster


@pytest.fixture
def cluster(no_nodes: SmallCluster, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallCluster]:
    """A cluster that has no nodes yet; the keys are in the environment of this process too."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield no_nodes
    no_nodes.have(0)


def made_in_a_folder(planned: Planned, *sets: str) -> Store:
    """A run that this process has made to the end."""
    run = Run.open(planned("local", *sets))
    run_stages(run, quiet=True)
    pack(run)
    return run.store


def command(*words: object) -> "subprocess.Popen[str]":
    line = [sys.executable, "-m", "cli.main", *map(str, words)]
    return subprocess.Popen(line, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def planned_on_s3(name: str, captions: Path, *sets: str) -> str:
    from mals.planning.create import create
    from tests.fakes import FAST

    create(url := f"s3://{BUCKET}/{name}", captions=captions, assignments=[*FAST, *sets])
    return url


def holders_of_the_secret(*folders: Path) -> list[str]:
    """The files below folders that hold it."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    return [str(path) for path in files if SECRET.encode() in path.read_bytes()]


def test_nodes_make_a_run_on_s3_with_the_bytes_of_a_folder_and_write_no_key(
    cluster: SmallCluster, planned: Planned, captions: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    url = planned_on_s3("cluster", captions, *GLOBAL)
    for _ in range(2):
        cluster.add(env_vars=variables)
    driver = command("run", url, "--on", cluster.place)
    out, message = driver.communicate(timeout=300)
    assert driver.returncode == 0, message
    store = Store(url)
    assert cells_and_pack(store) == cells_and_pack(made_in_a_folder(planned, *GLOBAL))
    assert list(status(Run.open(url)).nodes.values()) == [5 * 7]
    assert store.list("locks") == {} and becomes(lambda: not members())

    store.fs.get(store.root, str(tmp_path / "fetched"), recursive=True)
    (tmp_path / "fetched/messages").write_text(out + message)
    assert list(tmp_path.glob("fetched/events/*.jsonl")) and list(tmp_path.glob("fetched/keep/summary-*.json"))
    logs = Path(cluster.cluster.head_node.get_session_dir_path())
    assert list(logs.glob("logs/worker-*.err")), "the actors have logs there"
    assert holders_of_the_secret(tmp_path / "fetched", logs) == []


def test_a_node_without_the_keys_of_the_store_is_turned_away(cluster: SmallCluster, captions: Path, variables: dict[str, str]) -> None:
    url = planned_on_s3("turned-away", captions)
    cluster.add(env_vars={**variables, "AWS_SECRET_ACCESS_KEY": "wrong"})
    driver = command("run", url, "--on", cluster.place, "--quiet")
    _, message = driver.communicate(timeout=300)
    assert driver.returncode == 2, message
    assert f"cannot work on the run: {url} cannot be used" in message and SECRET not in message
    assert Store(url).list("generate") == {} and Store(url).list("locks") == {}
