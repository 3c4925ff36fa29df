"""What every executor has to do: the ones of mals, and `one_by_one`, which stands for one of your own.

A new executor is one line in EXECUTORS.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mals.errors import UserError
from mals.grid.executor import Executor, Failure, Job, Jobs, Lost, Outcome, Sources
from mals.grid.receipt import Receipt
from mals.grid.run import Run, executor_of
from mals.grid.shard import AdaptiveBatch, run_shard
from mals.grid.summary import SummaryReceipt, make_summary
from tests.mals.grid.one_by_one import OneByOne

Planned = Callable[..., Path]
SHARDS = 5
BAD = "stages.generate=tests.fakes:one_bad_row"
EXECUTORS: dict[str, tuple[Callable[[Run], Executor], tuple[str, ...]]] = {  # name -> what makes it for a run, and its settings
    "this process": (executor_of, ("run.workers=1",)),
    "two processes": (executor_of, ("run.workers=2",)),
    "one of your own": (OneByOne, ()),
}


class Setting:
    """An executor on a run of five shards, of which `upto` is made in the plainest way."""

    def __init__(self, name: str, planned: Planned):
        self.make, self.sets = EXECUTORS[name]
        self.planned = planned
        self.executors: list[Executor] = []

    def open(self, *sets: str) -> tuple[Run, Executor]:
        run = Run.open(self.planned("run", *self.sets, *sets))
        self.executors.append(self.make(run))
        return run, self.executors[-1]

    def close(self) -> None:
        for executor in self.executors:
            executor.close()


@pytest.fixture(params=EXECUTORS)
def setting(request: pytest.FixtureRequest, planned: Planned) -> Iterator[Setting]:
    setting = Setting(request.param, planned)
    yield setting
    setting.close()


def plainly(run: Run, stage: str) -> None:
    """Make every cell of a stage without an executor."""
    for shard in range(SHARDS):
        made = run.grid.stages[stage]
        run_shard(run.grid, made, shard, AdaptiveBatch(made.batch, made.batch), 1.0)


def nothing_before(taken: list[int]) -> Iterator[tuple[int, Sources]]:
    """The shards of a first stage; `taken` gets those that were asked for."""
    for shard in range(SHARDS):
        taken.append(shard)
        yield shard, {}


def sources(run: Run, stage: str) -> dict[int, Sources]:
    survey = run.grid.survey()
    return {shard: survey.sources(stage, shard) for shard in range(SHARDS)}


def cells(run: Run, stage: str) -> list[bytes]:
    return [run.store.read(run.grid.cell_name(stage, shard)) for shard in range(SHARDS)]


def shards_of(outcomes: list[Outcome], kind: type) -> list[int]:
    return sorted(outcome.shard for outcome in outcomes if isinstance(outcome, kind))


def test_every_shard_is_made_once_with_the_bytes_of_the_plainest_way(setting: Setting, planned: Planned) -> None:
    run, executor = setting.open()
    plain = Run.open(planned("plain"))
    for stage in ("generate", "safety", "filter", "crop"):
        plainly(plain, stage)
        receipts = list(executor.run(stage, sources(run, stage).items(), 2))
        assert shards_of(receipts, Receipt) == list(range(SHARDS)) and len(receipts) == SHARDS
        assert cells(run, stage) == cells(plain, stage)
        for receipt in receipts:
            assert receipt == run.grid.receipt(stage, receipt.shard) and receipt.fingerprint == run.grid.fingerprints[stage]
            assert receipt.node, "a receipt says which machine made the cell"


def test_shards_are_taken_when_there_is_room_for_them(setting: Setting) -> None:
    _, executor = setting.open("shard_rows=1")  # 40 shards, of which five are asked for
    taken: list[int] = []
    outcomes = executor.run("generate", nothing_before(taken), 1)
    first = next(outcomes)
    assert (isinstance(first, Receipt) and len(taken) < SHARDS) or taken == list(range(SHARDS))
    assert shards_of([first, *outcomes], Receipt) == taken == list(range(SHARDS))


def test_a_shard_that_fails_is_tried_again_and_costs_no_other(setting: Setting, captions: Path) -> None:
    captions.write_text("".join(f"a {'bad' if i < 8 else 'good'} person {i}\n" for i in range(40)))
    _, executor = setting.open(BAD)
    outcomes = list(executor.run("generate", nothing_before([]), 3))
    assert shards_of(outcomes, Receipt) == [1, 2, 3, 4]
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert [(failure.shard, failure.attempt, failure.commonest) for failure in failures] == [
        (0, attempt, "ValueError: this row is bad") for attempt in (1, 2, 3)
    ]


def test_a_mistake_of_a_person_ends_the_work_with_its_sentence(setting: Setting) -> None:
    _, executor = setting.open("stages.generate=tests.fakes:mistaken")
    with pytest.raises(UserError, match=r"^the brush needs 80 GB$"):
        list(executor.run("generate", nothing_before([]), 2))


def test_a_stage_that_exits_fails_its_shards_and_ends_no_worker(setting: Setting) -> None:
    _, executor = setting.open("stages.generate=tests.fakes:leaver")
    outcomes = list(executor.run("generate", nothing_before([]), 1))
    assert shards_of(outcomes, Failure) == list(range(SHARDS)) and not shards_of(outcomes, Lost)
    assert {outcome.commonest for outcome in outcomes if isinstance(outcome, Failure)} == {"SystemExit: no brush"}


def test_a_damaged_earlier_cell_costs_its_own_shard(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mals.grid.worker.PAUSE", 0.0)
    run, executor = setting.open()
    plainly(run, "generate")
    (run.store.folder / "generate/00002.parquet").write_bytes(b"rubbish")
    outcomes = list(executor.run("safety", sources(run, "safety").items(), 1))
    assert shards_of(outcomes, Receipt) == [0, 1, 3, 4]
    (failure,) = (outcome for outcome in outcomes if isinstance(outcome, Failure))
    assert "generate/00002.parquet cannot be read" in failure.commonest


def test_a_global_stage_gets_its_summary(setting: Setting, planned: Planned) -> None:
    run, executor = setting.open("keep.by=sharpness")
    for stage in run.grid.earlier("keep"):
        plainly(run, stage)
    inputs, before = run.grid.survey().summary_inputs("keep"), sources(run, "keep")
    summary = executor.summarise("keep", before, inputs)
    assert isinstance(summary, SummaryReceipt) and summary.inputs == inputs
    outcomes = list(executor.run("keep", before.items(), 1, inputs))
    assert shards_of(outcomes, Receipt) == list(range(SHARDS))
    again = make_summary(run.grid, run.grid.stages["keep"], inputs, before)
    assert again.sha256 == summary.sha256


def test_work_that_is_left_in_the_middle_keeps_what_is_finished_and_leaves_no_process(setting: Setting) -> None:
    before = {process.pid for process in psutil.Process(os.getpid()).children(recursive=True)}
    run, executor = setting.open()
    outcomes = executor.run("generate", nothing_before([]), 1)
    first = next(outcomes)
    executor.close()
    assert isinstance(first, Receipt) and run.grid.receipt("generate", first.shard) == first
    left = [process for process in psutil.Process(os.getpid()).children(recursive=True) if process.pid not in before]
    assert [process for process in left if "resource_tracker" not in " ".join(process.cmdline())] == []


def test_jobs_are_taken_in_order_and_those_that_failed_first() -> None:
    jobs = Jobs(((shard, {}) for shard in range(3)), attempts=2)
    assert jobs.ahead(2) == 2 and jobs.ahead(9) == 3
    first = jobs.take()
    assert first == Job(0, {})
    jobs.failed(first)
    again = jobs.take()
    assert again == Job(0, {}, attempt=2)
    jobs.failed(again)
    assert [jobs.take(), jobs.take(), jobs.take()] == [Job(1, {}), Job(2, {}), None]
