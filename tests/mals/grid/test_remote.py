"""Runs on an object store: what they cost, and what happens where it fails."""

import hashlib
import random
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from mals.errors import UserError
from mals.grid.remote import StoreFailed
from mals.grid.run import Run, run_stages
from mals.grid.stage import Resources, output_batch
from mals.grid.store import Store
from mals.planning.create import create
from tests.conftest import FAST, environment
from tests.one_cell import make_cell

URL = "s3://bucket/run"


@pytest.fixture(autouse=True)
def quick(objects, monkeypatch):
    monkeypatch.setattr("mals.grid.worker.PAUSE", 0.0)


@pytest.fixture
def planned_there(captions):
    """The URL of a planned run of 5 shards on the store."""
    create(URL, captions=captions, assignments=FAST)
    return URL


def run_there(url=URL, upto="label"):
    return run_stages(Run.open(url), upto, quiet=True)


def cells(objects):
    return {name: hashlib.sha256(data).hexdigest() for name, data in objects.buckets["bucket"].items() if name.endswith(".parquet")}


class Photographer:
    """60 kB of noise a row, as long as a JPEG of a person."""

    name, version, needs, batch, resources = "generate", 1, ("seed",), 512, Resources()
    adds = pa.schema([("image", pa.binary()), ("width", pa.int32()), ("model", pa.string())])

    def __call__(self, batch):
        images = [np.random.default_rng(seed).bytes(60_000) for seed in batch["seed"].to_pylist()]
        return output_batch(self.adds, {"image": images, "width": [128] * len(images), "model": ["painter"] * len(images)})


class OneStage:
    """A grid of the one stage over 512 rows."""

    def __init__(self, store):
        self.store, self.fingerprints, self.params, self.node = store, {"generate": "f"}, {"generate": {}}, "here"

    def sources(self, stage, shard):
        return {}

    def table(self, shard, columns, before=None, sources=None):
        none = pa.nulls(512, pa.string())
        return pa.table({"id": [f"{n:016x}" for n in range(512)], "seed": list(range(512)), "refused_by": none, "failed_in": none})

    cell_name = staticmethod(lambda stage, shard: f"{stage}/{shard:05d}.parquet")
    receipt_name = staticmethod(lambda stage, shard: f"{stage}/{shard:05d}.json")


def test_three_columns_of_a_cell_of_30_mb_cost_under_200_kb_and_one_request(objects):
    store = Store(URL)
    receipt = make_cell(OneStage(store), Photographer())
    assert receipt.size > 30_000_000
    objects.requests.kinds.clear()
    table = store.parquet("generate/00000.parquet", receipt.size).read(columns=["id", "reject", "error"])
    assert table["id"].to_pylist()[::511] == [f"{0:016x}", f"{511:016x}"]
    assert (objects.requests.kinds, objects.requests.bytes <= 200_000) == (["GET"], True)


def test_all_of_a_large_cell_is_read_back_as_it_was(objects):
    store = Store(URL)
    receipt = make_cell(OneStage(store), Photographer())
    cell = store.parquet("generate/00000.parquet").read()
    assert [image == np.random.default_rng(row).bytes(60_000) for row, image in enumerate(cell["image"].to_pylist())] == [True] * 512
    assert store.sha256("generate/00000.parquet") == receipt.sha256
    batches = store.parquet("generate/00000.parquet").iter_batches(100, columns=["id", "image"])
    assert pa.Table.from_batches(batches)["image"].equals(cell["image"])


def test_a_cell_costs_under_12_requests(objects, planned_there):
    objects.requests.kinds.clear()
    cells = sum(run_there().new_cells.values())
    assert cells == 30
    assert len(objects.requests.kinds) / cells < 8, "counted with everything around: settings, listings, events"
    assert "MAKE" not in objects.requests.kinds


def test_a_missing_bucket_is_an_error_and_is_not_made(objects, captions):
    for work in (lambda: create("s3://none/run", captions=captions, assignments=FAST), lambda: Store("s3://none/run").commit("a", b"1")):
        with pytest.raises(UserError, match="there is no bucket none; make it first"):
            work()
    assert list(objects.buckets) == ["bucket"]


def test_a_store_that_is_overloaded_makes_a_run_slower_and_nothing_else(objects, planned_there):
    run_there()
    undisturbed = cells(objects)
    for name in [name for name in objects.buckets["bucket"] if not name.startswith("run/plan/") and name != "run/mals.yaml"]:
        del objects.buckets["bucket"][name]
    dice = random.Random(0)

    def overloaded(kind, path):
        if dice.random() < 0.4:
            raise OSError(16, "Please reduce your request rate")

    objects.fault = overloaded
    run_there()
    objects.fault = lambda kind, path: None
    assert cells(objects) == undisturbed


def test_receipts_that_could_not_be_fetched_at_once_are_fetched_again(objects):
    store = Store(URL)
    store.commit("a", b"1")
    store.commit("b", b"2")
    left = ["run/b"]

    def once(kind, path):
        if path in left:
            left.remove(path)
            raise TimeoutError("slow")

    objects.fault = once
    assert store.read_all(["a", "b", "c"]) == {"a": b"1", "b": b"2"}


def test_a_store_that_stops_answering_ends_the_run_with_a_sentence_and_keeps_what_is_finished(objects, planned_there):
    def down(kind, path):
        if path.startswith("run/crop/00002"):
            raise ConnectionRefusedError(111, "Connection refused")

    objects.fault = down
    with pytest.raises(StoreFailed) as failed:
        run_there()
    assert "\n" not in str(failed.value) and URL in str(failed.value) and "finished work is kept" in str(failed.value)
    objects.fault = lambda kind, path: None
    assert run_there().new_cells == {"crop": 3, "caption": 5, "label": 5}


@pytest.mark.parametrize("error", [PermissionError("Access Denied"), type("NoCredentialsError", (Exception,), {})("none were found")])
def test_wrong_keys_are_told_at_the_first_request(objects, error):
    def refuse(kind, path):
        raise error

    objects.fault = refuse
    with pytest.raises(StoreFailed, match=f"{URL} cannot be used .*{error}.*check the URL, the keys"):
        Store(URL).read("mals.yaml")
    assert objects.requests.kinds == ["GET"]


def test_a_cell_that_another_command_makes_again_meanwhile_is_read_as_it_is_then(objects, planned_there):
    run_there(upto="generate")
    bucket = objects.buckets["bucket"]
    whole, seen = bucket["run/generate/00001.parquet"], []

    def replaced(kind, path):
        if (kind, path) == ("GET", "run/generate/00001.parquet"):
            seen.append(kind)
            bucket[path] = whole[:100] if len(seen) == 1 else whole

    objects.fault = replaced
    assert run_there(upto="safety").new_cells == {"safety": 5}
    assert len(seen) == 2


def test_a_damaged_cell_costs_its_own_shard_and_the_others_are_made(objects, planned_there):
    from mals.grid.run import RunFailed

    run_there(upto="generate")
    bucket = objects.buckets["bucket"]
    bucket["run/generate/00001.parquet"] = bytes(len(bucket["run/generate/00001.parquet"]))
    with pytest.raises(RunFailed, match=r"safety: 1 of 5 shards are not done, for example shard 1: Damaged: .*--repair"):
        run_there(upto="filter")
    assert sorted(name for name in bucket if name.startswith("run/filter/") and name.endswith(".parquet")) == [
        f"run/filter/{shard:05d}.parquet" for shard in (0, 2, 3, 4)
    ]


def test_a_server_that_refuses_the_connection_is_one_sentence_and_exit_code_2(tmp_path):
    script = "import mals.grid.remote as r; r.FIRST_PAUSE = 0; from cli.main import main; main()"
    words = [sys.executable, "-c", script, "status", "ftp://127.0.0.1:1/run"]
    ended = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1 and "ftp://127.0.0.1:1/run does not answer" in ended.stderr
