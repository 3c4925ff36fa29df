"""One shard of a stage that the test can make fail."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from mals.errors import UserError
from mals.grid.receipt import Alike, Receipt
from mals.grid.shard import AdaptiveBatch, ContractBroken, ShardFailed
from mals.grid.stage import Resources, output_batch, row_seed
from mals.grid.status import StageStatus, Status, lines
from mals.grid.store import Store
from tests.one_cell import make_cell

TWICE = pa.schema([("twice", pa.int64())])
MODEL = Resources(gpus=1)


@dataclass
class Doubler:
    """Doubles a number; `trouble` is called before each batch and may raise."""

    trouble: Any = None
    name: str = "double"
    version: int = 1
    needs: tuple[str, ...] = ("number",)
    adds: pa.Schema = TWICE
    batch: int = 8
    resources: Resources = MODEL
    sizes: list[int] = field(default_factory=list)

    def params(self):
        return {}

    def setup(self):
        pass

    def __call__(self, batch):
        numbers = batch["number"].to_pylist()
        self.sizes.append(len(numbers))
        if self.trouble is not None:
            self.trouble(numbers)
        reject = [["odd", "small"] if n == 3 else None for n in numbers]
        return output_batch(self.adds, {"twice": [2 * n for n in numbers]}, reject)


class OneStage:
    """A grid of one stage over a table, with a real store; what is asked of a grid to make a cell."""

    def __init__(self, store, numbers):
        self.store, self.numbers = store, numbers
        self.fingerprints, self.params, self.node = {"double": "f"}, {"double": {}}, "here"

    def sources(self, stage, shard):
        return {}

    def table(self, shard, columns, before=None, sources=None):
        rows = len(self.numbers)
        none = pa.nulls(rows, pa.string())
        ids = [f"r{n}" for n in range(rows)]
        return pa.table({"id": ids, "number": pa.array(self.numbers, pa.int64()), "refused_by": none, "failed_in": none})

    cell_name = staticmethod(lambda stage, shard: f"{stage}/{shard:05d}.parquet")
    receipt_name = staticmethod(lambda stage, shard: f"{stage}/{shard:05d}.json")


@pytest.fixture
def work(tmp_path):
    """Run the doubler over the numbers 0 to rows - 1; the receipt and the cell."""

    def run(stage, rows=20, rate=0.1, pace=None):
        grid = OneStage(Store(str(tmp_path)), list(range(rows)))
        receipt = make_cell(grid, stage, 0, pace, rate)
        return receipt, grid.store.parquet("double/00000.parquet").read()

    return run


def test_the_last_batch_is_padded_and_the_padding_cut_off(work):
    stage = Doubler()
    receipt, cell = work(stage)
    assert stage.sizes == [8, 8, 8]
    assert cell["twice"].to_pylist() == [2 * n for n in range(20)]
    assert (receipt.rows, receipt.active, receipt.rejects, receipt.failed) == (20, 20, {"odd": 1}, 0)
    assert cell["reject"].to_pylist()[3] == ["odd", "small"]


def test_a_stage_without_a_model_gets_no_padding(work):
    stage = Doubler(resources=Resources())
    work(stage)
    assert stage.sizes == [8, 8, 4]


def test_the_receipt_knows_the_cells_bytes(work, tmp_path):
    receipt, _ = work(Doubler())
    data = (tmp_path / "double/00000.parquet").read_bytes()
    assert (receipt.size, receipt.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_one_bad_row_costs_one_row(work):
    def trouble(numbers):
        if 13 in numbers:
            raise ValueError("unlucky\nsecond line")

    receipt, cell = work(Doubler(trouble), rate=0.1)
    assert receipt.errors == {"ValueError: unlucky": 1}
    assert cell["error"].to_pylist()[13] == "ValueError: unlucky"
    assert [n for n, v in enumerate(cell["twice"].to_pylist()) if v is None] == [13]


def test_one_bad_row_in_a_tiny_shard_does_not_fail_it(work):
    receipt, _ = work(Doubler(_fails_on(1)), rows=4, rate=0.02)
    assert receipt.failed == 1


def test_a_shard_of_which_most_rows_fail_is_not_done(work, tmp_path):
    def trouble(numbers):
        if any(n % 10 for n in numbers):
            raise ValueError("dry")

    with pytest.raises(ShardFailed, match="18 of 20 rows failed: ValueError: dry") as failed:
        work(Doubler(trouble))
    assert "raise ValueError" in failed.value.trace
    assert not list(tmp_path.rglob("*.json"))


def test_a_single_row_that_fails_fails_its_shard(work):
    with pytest.raises(ShardFailed):
        work(Doubler(_fails_on(0)), rows=1)


def _fails_on(bad):
    def trouble(numbers):
        if bad in numbers:
            raise KeyError(bad)

    return trouble


@pytest.mark.parametrize("words", ["CUDA out of memory. Tried to allocate 2 GiB", "DefaultCPUAllocator: can't allocate memory"])
def test_out_of_memory_halves_the_batch_and_leaves_the_rows_as_they_were(work, words):
    def trouble(numbers):
        if len(numbers) > 4:
            raise RuntimeError(words)

    stage, pace = Doubler(trouble), AdaptiveBatch(16, 16)
    receipt, cell = work(stage, pace=pace)
    assert stage.sizes == [16, 8, 4, 4, 4, 4, 4]
    assert receipt.batch == {"size": 16, "smallest": 4, "out_of_memory": 2}
    assert cell["twice"].to_pylist() == [2 * n for n in range(20)]
    assert (receipt.failed, pace.current) == (0, 4)


def test_a_halved_batch_grows_back():
    pace = AdaptiveBatch(16, 16)
    pace.halve()
    for _ in range(15):
        pace.succeeded()
    assert pace.current == 8
    pace.succeeded()
    assert pace.current == 16
    for _ in range(40):
        pace.succeeded()
    assert pace.current == 16


def test_a_row_too_large_for_memory_on_its_own_is_a_row_error(work):
    def trouble(numbers):
        if 5 in numbers:
            raise MemoryError("5 is too large")

    receipt, cell = work(Doubler(trouble), rate=0.1)
    assert cell["error"].to_pylist()[5] == "MemoryError: 5 is too large"
    assert receipt.failed == 1


def test_a_full_disk_is_not_a_row_error(work):
    def trouble(numbers):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        work(Doubler(trouble))


def test_a_users_mistake_is_not_a_row_error(work):
    def trouble(numbers):
        raise UserError("no such scheduler")

    with pytest.raises(UserError, match="no such scheduler"):
        work(Doubler(trouble))


def test_a_stage_that_loses_a_row_is_told_off(work):
    class Loser(Doubler):
        def __call__(self, batch):
            return super().__call__(batch).slice(1)

    with pytest.raises(ContractBroken, match="was given 8 rows and returned 7"):
        work(Loser())


def test_a_stage_that_returns_other_columns_is_told_off(work):
    class Other(Doubler):
        def __call__(self, batch):
            return super().__call__(batch).rename_columns(["thrice", "reject", "error"])

    with pytest.raises(ContractBroken, match="thrice"):
        work(Other())


def test_the_same_shard_makes_the_same_bytes(work, tmp_path):
    first = work(Doubler())[0].sha256
    assert work(Doubler())[0].sha256 == first


def test_seeds_depend_on_run_row_and_stage_alone():
    seeds = {row_seed(s, i, n) for s in (0, 1) for i in ("a", "b") for n in ("generate", "caption")}
    assert len(seeds) == 8
    assert row_seed(0, "a", "caption") == row_seed(0, "a", "caption")
    assert all(0 <= seed < 2**63 for seed in seeds)


class TimedDoubler(Doubler):
    """A doubler that says how long its model computed."""

    def take_device_seconds(self):
        return 0.25


def test_the_seconds_of_the_device_are_in_the_receipt_of_a_stage_that_tells_them(work):
    assert work(TimedDoubler())[0].device_seconds == 0.25
    assert work(Doubler())[0].device_seconds is None


def test_status_says_how_many_images_a_second_and_how_long_worker_and_device_waited():
    stages = [StageStatus("generate", 1, 1, 0, 0, 100, 90, seconds=50.0, waited=5.0, device_seconds=40.0)]
    stages.append(StageStatus("filter", 1, 1, 0, 0, 90, 80, seconds=45.0, waited=9.0))
    text = lines(Status("run", "tiny", 100, None, False, "", stages))
    assert text[1].endswith("2.0 images/s a worker, which waited 10 % of the time and its device 20 %")
    assert text[2].endswith("2.0 rows/s a worker, which waited 20 % of the time")


def test_receipts_of_a_stage_are_in_memory_with_one_copy_of_what_they_have_in_common():
    common = {"stage": "crop", "fingerprint": "f", "version": 1, "inputs": {}, "size": 1, "rows": 1, "active": 1}
    files = [
        Receipt(**common, shard=shard, sha256=str(shard), params={"beams": shard // 3}, env={"torch": "2"}).to_bytes() for shard in range(6)
    ]
    receipts, alike = [Receipt.from_bytes(file) for file in files], Alike()
    shared = [alike.share(receipt) for receipt in receipts]
    assert shared == receipts
    assert len({id(receipt.env) for receipt in shared}) == 1 and len({id(receipt.env) for receipt in receipts}) == 6
    assert [receipt.params["beams"] for receipt in shared] == [0, 0, 0, 1, 1, 1] and len({id(receipt.params) for receipt in shared}) == 2
