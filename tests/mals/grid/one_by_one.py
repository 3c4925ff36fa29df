"""A third executor, as a person could write one: a new worker for the summary and for every attempt, the last shard first."""

from collections.abc import Iterable, Iterator

from mals.grid.executor import Failure, Job, Jobs, Outcome, Sources
from mals.grid.run import Run
from mals.grid.summary import SummaryReceipt
from mals.grid.worker import Worker, make_worker

ROOM = 2  # jobs that it takes at a time


class OneByOne:
    """Works in this process and keeps nothing between shards."""

    def __init__(self, run: Run):
        self.opened = run

    def worker(self) -> Worker:
        return make_worker(self.opened.store.url, self.opened.user_settings)

    def summarise(self, stage: str, sources: dict[int, Sources], inputs: str) -> SummaryReceipt | Failure:
        return self.worker().summarise(stage, sources, inputs)

    def run(self, stage: str, shards: Iterable[tuple[int, Sources]], attempts: int, summary_inputs: str | None = None) -> Iterator[Outcome]:
        jobs = Jobs(shards, attempts)
        while taken := [job for _ in range(ROOM) if (job := jobs.take())]:
            for job in reversed(taken):
                yield self._attempt(stage, job, jobs, summary_inputs)

    def _attempt(self, stage: str, job: Job, jobs: Jobs, summary_inputs: str | None) -> Outcome:
        result = self.worker().attempt(stage, job.shard, job.attempt, job.sources, summary_inputs)
        if isinstance(result, Failure):
            jobs.failed(job)
        return result

    def place(self) -> str:
        return ""

    def close(self) -> None:
        pass
