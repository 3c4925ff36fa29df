"""The scheduler, by what an executor is asked to start and when."""

from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from mals.errors import UserError
from mals.grid.executor import Failure, Job, Lost, Outcome, Sources
from mals.grid.run import Run, RunFailed, RunOutcome, run_stages
from mals.grid.schedule import LOSSES
from mals.grid.summary import SummaryReceipt
from mals.grid.worker import Worker, make_worker

Planned = Callable[..., Path]
STAGES = ["generate", "safety", "filter", "crop", "caption", "label"]


class Watched:
    """An executor that makes cells in this process, `size` at a time, and keeps what it was asked to start."""

    def __init__(self, run: Run, size: int = 2, faults: dict[tuple[str, int], deque[str]] | None = None):
        self.worker: Worker = make_worker(run.store.url, run.user_settings)
        self.size, self.faults = size, faults or {}
        self.started: list[Job] = []
        self.jobs: deque[Job] = deque()
        self.left: dict[str, list[int]] = {}  # stage -> what `room` was told

    def room(self, stage: str, left: int) -> bool:
        self.left.setdefault(stage, []).append(left)
        return len(self.jobs) < self.size

    def start(self, job: Job) -> None:
        assert len(self.jobs) < self.size, "no job without room"
        self.started.append(job)
        self.jobs.append(job)

    def wait(self) -> list[tuple[Job, Outcome]]:
        job = self.jobs.popleft()
        faults = self.faults.get((job.stage, job.shard))
        fault = faults.popleft() if faults else ""
        if fault == "lost":
            return [(job, Lost(job.shard, "node", "the node went away"))]
        if fault == "failed":
            return [(job, Failure(job.shard, job.attempt, 8, {"ValueError: no": 8}))]
        return [(job, self.worker.attempt(job.stage, job.shard, job.attempt, job.sources, job.summary_inputs))]

    def summarise(self, stage: str, sources: dict[int, Sources], inputs: str) -> SummaryReceipt | Failure:
        assert not self.jobs, "nothing is at work beside a summary"
        return self.worker.summarise(stage, sources, inputs)

    def place(self) -> str:
        return ""

    def close(self) -> None:
        pass


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Watched, RunOutcome]]:
    """Run a run by a Watched; the executor and the outcome."""

    def work(folder: Path, *sets: str, size: int = 2, faults: dict[tuple[str, int], list[str]] | None = None, **options: object):
        run = Run.open(folder, sets)
        executor = Watched(run, size, {cell: deque(kinds) for cell, kinds in (faults or {}).items()})
        monkeypatch.setattr("mals.grid.run.executor_of", lambda _run, on=None: executor)
        return executor, run_stages(run, quiet=True, **options)  # type: ignore[arg-type]

    return work


def test_a_shard_goes_on_as_soon_as_its_inputs_are_there_and_the_latest_stage_first(planned: Planned, worked: Callable[..., tuple]) -> None:
    executor, outcome = worked(planned())
    assert outcome.new_cells == dict.fromkeys(STAGES, 5)
    order = [(job.stage, job.shard) for job in executor.started]
    for shard in range(5):
        assert [stage for stage, number in order if number == shard] == STAGES
    assert order.index(("label", 0)) < order.index(("generate", 4))
    assert executor.left["generate"][0] == 5
    assert all(job.sources.keys() == set(STAGES[: STAGES.index(job.stage)]) for job in executor.started)


def test_without_overlap_one_stage_is_made_after_the_other(planned: Planned, worked: Callable[..., tuple]) -> None:
    executor, _ = worked(planned("run", "run.overlap=false"))
    stages = [job.stage for job in executor.started]
    assert stages == sorted(stages, key=STAGES.index) and len(stages) == 30


def test_a_global_stage_begins_when_every_shard_is_there(planned: Planned, worked: Callable[..., tuple]) -> None:
    executor, outcome = worked(planned("run", "keep.by=sharpness"))
    assert outcome.new_cells == dict.fromkeys([*STAGES, "keep"], 5)
    assert [job.stage for job in executor.started][-5:] == ["keep"] * 5
    assert len({job.summary_inputs for job in executor.started if job.stage == "keep"} - {None}) == 1
    assert all(job.summary_inputs is None for job in executor.started if job.stage != "keep")


def test_a_shard_that_fails_is_tried_again_and_then_given_up_while_others_go_on(planned: Planned, worked: Callable[..., tuple]) -> None:
    folder = planned("run", "run.attempts=3")
    faults = {("crop", 1): ["failed", "failed"], ("crop", 2): ["failed"] * 3}
    with pytest.raises(RunFailed, match="crop: 1 of 5 shards are not done, for example shard 2: ValueError: no"):
        worked(folder, faults=faults)
    run = Run.open(folder)
    receipt = run.grid.receipt("crop", 1)
    assert receipt is not None and receipt.attempt == 3
    assert list(run.grid.failures("crop")) == [2] and run.grid.failures("crop")[2]["attempt"] == 3
    assert [run.grid.survey().count(stage, "done") for stage in STAGES] == [5, 5, 5, 4, 4, 4]
    assert worked(folder)[1].new_cells == {"crop": 1, "caption": 1, "label": 1}
    assert Run.open(folder).grid.failures("crop") == {}


def test_a_lost_shard_is_no_attempt_and_has_a_budget_of_its_own(planned: Planned, worked: Callable[..., tuple]) -> None:
    folder = planned("run", "run.attempts=1")
    executor, outcome = worked(folder, faults={("crop", 1): ["lost"] * (LOSSES - 1)})
    assert outcome.new_cells == dict.fromkeys(STAGES, 5)
    assert [job.attempt for job in executor.started if (job.stage, job.shard) == ("crop", 1)] == [1] * LOSSES
    lost = planned("lost", "run.attempts=2")
    with pytest.raises(RunFailed, match="WorkersLost: 5 times, at last the node went away"):
        worked(lost, faults={("crop", 1): ["lost"] * LOSSES})
    assert [Run.open(lost).grid.survey().count(stage, "done") for stage in STAGES] == [5, 5, 5, 4, 4, 4]


def test_cells_after_one_that_was_made_again_with_equal_bytes_are_left_as_they_are(planned: Planned, worked: Callable[..., tuple]) -> None:
    folder = planned()
    worked(folder)
    (folder / "generate/00003.json").unlink()
    executor, outcome = worked(folder)
    assert outcome.new_cells == {"generate": 1} and len(executor.started) == 1
    assert worked(folder)[0].started == []


def test_a_part_makes_its_own_shards_only(planned: Planned, worked: Callable[..., tuple]) -> None:
    executor, outcome = worked(planned("run", "keep.by=sharpness"), part=(1, 2))
    assert {job.shard for job in executor.started} == {1, 3}
    assert "the stage keep looks at all rows, and 3 of 5 shards of generate are not done" in outcome.waiting


def test_a_mistake_of_a_person_ends_the_run_and_the_same_command_goes_on(planned: Planned, worked: Callable[..., tuple]) -> None:
    folder = planned()
    with pytest.raises(UserError, match="the brush needs 80 GB"):
        worked(folder, "stages.generate=tests.fakes:mistaken")
    assert worked(folder, "stages.generate=tests.fakes:painter")[1].new_cells == dict.fromkeys(STAGES, 5)
