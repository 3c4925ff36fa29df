"""Inputs are read and cells written while another shard is computed, with the outcomes of one after the other."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Lock

import pytest

from mals.errors import UserError
from mals.grid.executor import Failure, Job
from mals.grid.pipeline import Pipeline
from mals.grid.receipt import Receipt
from mals.grid.run import Run, run_stages
from mals.grid.shard import Computed, Inputs
from mals.grid.worker import Worker, make_worker

Planned = Callable[..., Path]
LONG = 60.0  # seconds after which something that should happen does not
SHARDS = 5


class Answers:
    """A pipeline over the shards of one stage, with what it answered."""

    def __init__(self, folder: Path, stage: str = "safety"):
        self.run = Run.open(folder)
        self.stage = stage
        self.worker: Worker = make_worker(self.run.store.url, self.run.user_settings)
        self.results: list[Receipt | Failure | UserError] = []
        self.pipeline = Pipeline(self.worker, self.results.append)

    def work(self) -> list[Receipt | Failure | UserError]:
        survey = self.run.grid.survey()
        jobs = [Job(self.stage, shard, survey.sources(self.stage, shard)) for shard in range(SHARDS)]
        reads = [self.pipeline.read(job) for job in jobs]
        for job, inputs in zip(jobs, reads, strict=True):
            self.pipeline.compute(job, inputs)
        self.pipeline.finish()
        return self.results


@pytest.fixture
def generated(planned: Planned) -> Path:
    """A run whose first stage is made."""
    folder = planned()
    run_stages(Run.open(folder), "generate", quiet=True)
    return folder


def cells(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "safety").glob("*.parquet"))}


def test_the_next_shard_is_read_and_the_last_one_written_while_one_is_computed(generated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(generated)
    read_next, computes_next = Event(), Event()
    read, compute, write = answers.worker.read, answers.worker.compute, answers.worker.write
    overlaps: list[str] = []

    def watched_read(job: Job, sources: object) -> Inputs:
        inputs = read(job, sources)  # type: ignore[arg-type]
        if job.shard == 1:
            read_next.set()
        return inputs

    def watched_compute(job: Job, inputs: Callable[[], Inputs]) -> Computed:
        if job.shard == 0:
            assert read_next.wait(LONG), "the inputs of shard 1 are read while shard 0 is computed"
            overlaps.append("read")
        if job.shard == 1:
            computes_next.set()
        return compute(job, inputs)

    def watched_write(job: Job, computed: Computed, *, waits: bool) -> Receipt:
        if job.shard == 0:
            assert computes_next.wait(LONG), "shard 0 is written while shard 1 is computed"
            overlaps.append("write")
        return write(job, computed, waits=waits)

    monkeypatch.setattr(answers.worker, "read", watched_read)
    monkeypatch.setattr(answers.worker, "compute", watched_compute)
    monkeypatch.setattr(answers.worker, "write", watched_write)
    results = answers.work()
    assert overlaps == ["read", "write"]
    assert [result.shard for result in results if isinstance(result, Receipt)] == list(range(SHARDS))


def test_overlapping_parts_make_the_bytes_and_receipts_of_one_after_the_other(generated: Path, planned: Planned) -> None:
    results = Answers(generated).work()
    plain = planned("plain")
    run_stages(Run.open(plain), "safety", quiet=True)
    assert cells(generated) == cells(plain) and len(results) == SHARDS
    run = Run.open(plain)
    for shard, receipt in enumerate(results):
        other = run.grid.receipt("safety", shard)
        assert isinstance(receipt, Receipt) and other is not None
        assert (receipt.sha256, receipt.inputs, receipt.active, receipt.rejects) == (
            other.sha256,
            other.inputs,
            other.active,
            other.rejects,
        )
        assert 0 <= receipt.waited <= receipt.seconds and 0 <= other.waited <= other.seconds


def test_of_a_cell_the_data_comes_before_the_receipt_and_one_shard_is_written_at_a_time(
    generated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Answers(generated)
    store, lock, names = answers.worker.grid.store, Lock(), list[str]()
    commit = store.commit

    def watched(name: str, data: bytes) -> None:
        assert lock.acquire(blocking=False), "one after the other"
        names.append(name)
        commit(name, data)
        lock.release()

    monkeypatch.setattr(store, "commit", watched)
    assert all(isinstance(result, Receipt) for result in answers.work())
    assert names == [name for shard in range(SHARDS) for name in (f"safety/{shard:05d}.parquet", f"safety/{shard:05d}.json")]


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("mals.grid.worker.PAUSE", 0.0)
    yield


@pytest.mark.usefixtures("no_pause")
def test_errors_of_reading_computing_and_writing_are_those_of_their_shard(generated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (generated / "generate/00001.parquet").write_bytes(b"rubbish")
    answers = Answers(generated)
    compute, write = answers.worker.compute, answers.worker.write

    def failing_compute(job: Job, inputs: Callable[[], Inputs]) -> Computed:
        if job.shard == 2:
            raise ValueError("the model is out of paint")
        return compute(job, inputs)

    def failing_write(job: Job, computed: Computed, *, waits: bool) -> Receipt:
        if job.shard == 3:
            raise UserError("no space is left")
        return write(job, computed, waits=waits)

    monkeypatch.setattr(answers.worker, "compute", failing_compute)
    monkeypatch.setattr(answers.worker, "write", failing_write)
    first, damaged, failed, full, last = answers.work()
    assert isinstance(first, Receipt) and isinstance(last, Receipt) and (first.shard, last.shard) == (0, 4)
    assert isinstance(damaged, Failure) and damaged.shard == 1 and "generate/00001.parquet cannot be read" in damaged.commonest
    assert isinstance(failed, Failure) and failed.shard == 2 and failed.commonest == "ValueError: the model is out of paint"
    assert isinstance(full, UserError) and str(full) == "no space is left"
