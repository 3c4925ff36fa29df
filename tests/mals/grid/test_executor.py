"""What every executor has to do: the ones of mals, and `one_by_one`, which stands for one of your own.

A new executor is one line in EXECUTORS.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mals.errors import UserError
from mals.grid.executor import Executor, Failure, Job, Lost, Outcome, Sources
from mals.grid.receipt import Receipt
from mals.grid.run import Run, executor_of
from mals.grid.summary import SummaryReceipt, make_summary
from tests.mals.grid.clusters import becomes, on_ray
from tests.mals.grid.one_by_one import OneByOne
from tests.one_cell import make_cell

Planned = Callable[..., Path]
SHARDS = 5
BAD = "stages.generate=tests.fakes:one_bad_row"
EXECUTORS: dict[str, tuple[Callable[[Run], Executor], tuple[str, ...]]] = {  # name -> what makes it for a run, and its settings
    "this process": (executor_of, ("run.workers=1",)),
    "two processes": (executor_of, ("run.workers=2",)),
    "one of your own": (OneByOne, ()),
    "Ray": (on_ray, ("run.workers=2",)),
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


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name == "Ray")) for name in EXECUTORS])
def setting(request: pytest.FixtureRequest, planned: Planned) -> Iterator[Setting]:
    setting = Setting(request.param, planned)
    yield setting
    setting.close()


def plainly(run: Run, stage: str) -> None:
    """Make every cell of a stage without an executor."""
    for shard in range(SHARDS):
        make_cell(run.grid, run.grid.stages[stage], shard)


def jobs_of(executor: Executor, jobs: Iterable[Job]) -> Iterator[list[tuple[Job, Outcome]]]:
    """What comes of jobs that are started in their order when there is room, after each wait."""
    waiting, at_work = deque(jobs), 0
    while waiting or at_work:
        while waiting and executor.room(waiting[0].stage, len(waiting)):
            executor.start(waiting.popleft())
            at_work += 1
        ended = executor.wait()
        at_work -= len(ended)
        yield ended


def outcomes_of(executor: Executor, jobs: Iterable[Job]) -> list[Outcome]:
    return [outcome for ended in jobs_of(executor, jobs) for _, outcome in ended]


def first_stage() -> list[Job]:
    return [Job("generate", shard, {}) for shard in range(SHARDS)]


def jobs(run: Run, stage: str, inputs: str | None = None) -> list[Job]:
    return [Job(stage, shard, before, summary_inputs=inputs) for shard, before in sources(run, stage).items()]


def sources(run: Run, stage: str) -> dict[int, Sources]:
    survey = run.grid.survey()
    return {shard: survey.sources(stage, shard) for shard in range(SHARDS)}


def cells(run: Run, stage: str) -> list[bytes]:
    return [run.store.read(run.grid.cell_name(stage, shard)) for shard in range(SHARDS)]


def is_worker(process: psutil.Process) -> bool:
    """Whether a process of this machine is a worker's, neither one of Python's own helpers nor of a cluster that stays."""
    try:
        line = " ".join(process.cmdline())
        return process.status() != psutil.STATUS_ZOMBIE and not any(
            name in line for name in ("resource_tracker", "site-packages/ray/", "ray::IDLE")
        )
    except psutil.NoSuchProcess:
        return False


def shards_of(outcomes: list[Outcome], kind: type) -> list[int]:
    return sorted(outcome.shard for outcome in outcomes if isinstance(outcome, kind))


def test_every_shard_is_made_once_with_the_bytes_of_the_plainest_way(setting: Setting, planned: Planned) -> None:
    run, executor = setting.open()
    plain = Run.open(planned("plain"))
    for stage in ("generate", "safety", "filter", "crop"):
        plainly(plain, stage)
        work = jobs(run, stage)
        ended = [pair for pairs in jobs_of(executor, work) for pair in pairs]
        assert sorted((job for job, _ in ended), key=lambda job: job.shard) == work, "each job comes back as it was given"
        assert cells(run, stage) == cells(plain, stage)
        for job, receipt in ended:
            assert isinstance(receipt, Receipt) and receipt == run.grid.receipt(stage, job.shard)
            assert receipt.fingerprint == run.grid.fingerprints[stage]
            assert receipt.node, "a receipt says which machine made the cell"


def test_there_is_room_at_first_and_not_for_ever(setting: Setting) -> None:
    _, executor = setting.open("shard_rows=1")
    started = 0
    while executor.room("generate", 40 - started):
        executor.start(Job("generate", started, {}))
        started += 1
    assert 0 < started < 40
    ended = executor.wait()
    while len(ended) < started:
        ended += executor.wait()
    assert shards_of([outcome for _, outcome in ended], Receipt) == list(range(started))
    assert executor.room("safety", 40), "for any stage where nothing is at work"


def test_jobs_of_several_stages_may_be_at_work_and_each_gets_its_own_outcome(setting: Setting, planned: Planned) -> None:
    run, executor = setting.open()
    plain = Run.open(planned("plain"))
    for stage in ("generate", "safety", "filter"):
        plainly(run, stage)
        plainly(plain, stage)
    (run.store.folder / "filter/00001.json").unlink()
    plainly(plain, "crop")
    refilter, crop = jobs(run, "filter"), jobs(run, "crop")
    ended = [pair for pairs in jobs_of(executor, [crop[0], refilter[1], crop[2], crop[3]]) for pair in pairs]
    assert {(job.stage, job.shard) for job, _ in ended} == {("crop", 0), ("filter", 1), ("crop", 2), ("crop", 3)}
    assert all(isinstance(receipt, Receipt) and receipt.stage == job.stage for job, receipt in ended)
    for shard in (0, 2, 3):
        name = run.grid.cell_name("crop", shard)
        assert run.store.read(name) == plain.store.read(name)


def test_a_shard_that_fails_says_why_and_costs_no_other(setting: Setting, captions: Path) -> None:
    captions.write_text("".join(f"a {'bad' if i < 8 else 'good'} person {i}\n" for i in range(40)))
    _, executor = setting.open(BAD)
    outcomes = outcomes_of(executor, [replace(job, attempt=3) for job in first_stage()])
    assert shards_of(outcomes, Receipt) == [1, 2, 3, 4]
    (failure,) = (outcome for outcome in outcomes if isinstance(outcome, Failure))
    assert (failure.shard, failure.attempt, failure.commonest) == (0, 3, "ValueError: this row is bad")


def test_a_mistake_of_a_person_ends_the_work_with_its_sentence(setting: Setting) -> None:
    _, executor = setting.open("stages.generate=tests.fakes:mistaken")
    with pytest.raises(UserError, match=r"^the brush needs 80 GB$"):
        outcomes_of(executor, first_stage())


def test_a_stage_that_exits_fails_its_shards_and_ends_no_worker(setting: Setting) -> None:
    _, executor = setting.open("stages.generate=tests.fakes:leaver")
    outcomes = outcomes_of(executor, first_stage())
    assert shards_of(outcomes, Failure) == list(range(SHARDS)) and not shards_of(outcomes, Lost)
    assert {outcome.commonest for outcome in outcomes if isinstance(outcome, Failure)} == {"SystemExit: no brush"}


def test_a_damaged_earlier_cell_costs_its_own_shard(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mals.grid.worker.PAUSE", 0.0)
    run, executor = setting.open()
    plainly(run, "generate")
    (run.store.folder / "generate/00002.parquet").write_bytes(b"rubbish")
    outcomes = outcomes_of(executor, jobs(run, "safety"))
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
    outcomes = outcomes_of(executor, jobs(run, "keep", inputs))
    assert shards_of(outcomes, Receipt) == list(range(SHARDS))
    again = make_summary(run.grid, run.grid.stages["keep"], inputs, before)
    assert again.sha256 == summary.sha256


def test_work_that_is_left_in_the_middle_keeps_what_is_finished_and_leaves_no_process(setting: Setting) -> None:
    before = {process.pid for process in psutil.Process(os.getpid()).children(recursive=True)}
    run, executor = setting.open()
    first = next(jobs_of(executor, first_stage()))
    executor.close()
    for job, receipt in first:
        assert isinstance(receipt, Receipt) and run.grid.receipt("generate", job.shard) == receipt
    left = [process for process in psutil.Process(os.getpid()).children(recursive=True) if process.pid not in before]
    assert becomes(lambda: not any(map(is_worker, left))), "a cluster stays, and ends its processes in its own time"
