"""A third executor, as a person could write one: a new worker for the summary and for every attempt, the last shard first."""

from mals.grid.executor import Failure, Job, Outcome, Sources
from mals.grid.run import Run
from mals.grid.summary import SummaryReceipt
from mals.grid.worker import Worker, make_worker

ROOM = 2  # jobs that it takes at a time, of whatever stages


class OneByOne:
    """Works in this process and keeps nothing between shards."""

    def __init__(self, run: Run):
        self.opened = run
        self.jobs: list[Job] = []

    def worker(self) -> Worker:
        return make_worker(self.opened.store.url, self.opened.user_settings)

    def room(self, stage: str, left: int) -> bool:
        return len(self.jobs) < ROOM

    def start(self, job: Job) -> None:
        self.jobs.append(job)

    def wait(self) -> list[tuple[Job, Outcome]]:
        job = self.jobs.pop()
        return [(job, self.worker().attempt(job.stage, job.shard, job.attempt, job.sources, job.summary_inputs))]

    def summarise(self, stage: str, sources: dict[int, Sources], inputs: str) -> SummaryReceipt | Failure:
        return self.worker().summarise(stage, sources, inputs)

    def place(self) -> str:
        return ""

    def close(self) -> None:
        self.jobs.clear()
