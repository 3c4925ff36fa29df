"""The scheduler: which cells of a run may begin, in which order, and how often a shard is tried.

The cells of one shard are made one after the other, those of different shards independently, so several stages are at work at a time. A
global stage is a barrier: no shard goes on there before every shard of the run has got there.
"""

import json
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from mals.grid.cells import Grid, Survey
from mals.grid.executor import Executor, Failure, Job, Lost, Outcome
from mals.grid.lock import one_at_a_time
from mals.grid.progress import Progress
from mals.grid.receipt import Receipt
from mals.grid.spending import Budget, BudgetSpent
from mals.grid.summary import SummaryReceipt, is_made

LOSSES = 5  # of a shard's workers, after which the shard has failed


class RunFailed(Exception):
    """Some shards could not be made; finished ones are kept."""


@dataclass
class RunOutcome:
    """The work of one call of `run_stages`."""

    new_cells: dict[str, int] = field(default_factory=dict)  # stage -> cells made by this call
    failures: dict[str, dict[int, Failure]] = field(default_factory=dict)  # stage -> shard -> the last failure
    waiting: str = ""  # why a part stopped before a global stage, a sentence; empty if it did not


@dataclass(frozen=True)
class Rules:
    """How a run is worked on."""

    attempts: int  # at a shard that fails
    overlap: bool  # of stages: a shard goes on to its next stage while others are at an earlier one
    retry_errors: bool = False  # cells in which rows failed are made again
    part: bool = False  # other commands work on the other shards


class Schedule:
    """Makes the missing cells of some shards."""

    def __init__(self, grid: Grid, survey: Survey, executor: Executor, progress: Progress, budget: Budget, rules: Rules):
        self.grid, self.survey, self.executor, self.progress, self.budget, self.rules = grid, survey, executor, progress, budget, rules
        self.outcome = RunOutcome()
        self._stages: Sequence[str] = ()
        self._shards: Sequence[int] = ()
        self._ready: dict[str, deque[tuple[int, int]]] = {}  # stage -> shard, attempt
        self._at_work: Counter[str] = Counter()  # stage -> jobs
        self._left: dict[str, set[int]] = {}  # stage -> shards that are ready or will be; at most, see `_go_on`
        self._at_barrier: list[int] = []  # shards that have got to the next global stage
        self._summaries: dict[str, str] = {}  # global stage that may begin -> what its summary was made from
        self._losses: Counter[tuple[str, int]] = Counter()
        self._spent: BudgetSpent | None = None

    def make(self, stages: Sequence[str], shards: Sequence[int]) -> RunOutcome:
        """Make the missing cells of `shards` in `stages`, the first ones of the run or all.

        Raises RunFailed where a summary cannot be made, BudgetSpent, and the UserError of a worker.
        """
        self._stages, self._shards = stages, shards
        self._ready, self._left = {stage: deque() for stage in stages}, {stage: set() for stage in stages}
        self._enter(shards, 0)
        while True:
            if self._start():
                for job, result in self.executor.wait():
                    self._take(job, result)
                self._end_stages()
            elif not self._open_barrier():
                break
        if self._spent is not None:
            raise self._spent
        return self.outcome

    def _enter(self, shards: Sequence[int], at: int) -> None:
        """Let shards begin, of which the stages before the one numbered `at` are done."""
        for shard in shards:
            needed = False
            for stage in self._stages[at:]:
                needed = needed or self._needs_work(stage, shard)
                if needed:
                    self._left[stage].add(shard)
        for shard in shards:
            self._go_on(shard, at)

    def _needs_work(self, stage: str, shard: int) -> bool:
        """Whether a cell is to be made: it is not done, or it has failed rows that are to be tried again."""
        if self.survey.state(stage, shard) != "done":
            return True
        return self.rules.retry_errors and self.survey.receipts[stage][shard].failed > 0

    def _go_on(self, shard: int, at: int) -> None:
        """Find the next cell of a shard, from the stage numbered `at` on.

        A cell after one that was made again is done all the same where the new one has the bytes of the old one.
        """
        for stage in self._stages[at:]:
            if self.grid.is_global(stage) and stage not in self._summaries:
                self._at_barrier.append(shard)
                return
            if self._needs_work(stage, shard):
                self._ready[stage].append((shard, 1))
                return
            self._drop(stage, shard)

    def _drop(self, stage: str, shard: int) -> None:
        """A cell that was to be made is not made."""
        if shard in self._left[stage]:
            self._left[stage].remove(shard)
            self.progress.dropped(stage, self.grid.row_count(shard))

    def _give_up(self, stage: str, shard: int) -> None:
        """Neither this cell nor those after it are made."""
        for later in self._stages[self._stages.index(stage) :]:
            self._drop(later, shard)

    def _start(self) -> bool:
        """Start the jobs for which there is room, those of the latest stage first; whether any is at work or waits for a worker."""
        for stage in reversed(self._stages):
            while self._ready[stage] and self._may_begin(stage) and self.executor.room(stage, len(self._left[stage])):
                if not self.progress.began(stage):
                    self._begin(stage)
                shard, attempt = self._ready[stage].popleft()
                self._left[stage].discard(shard)
                self._at_work[stage] += 1
                sources = self.survey.sources(stage, shard)
                self.executor.start(Job(stage, shard, sources, attempt, self._summaries.get(stage)))
        return self._at_work.total() > 0 or any(self._ready.values())

    def _begin(self, stage: str) -> None:
        """Tell the progress what is to do in a stage."""
        left = self._left[stage]
        done = sum(shard not in left and self.survey.state(stage, shard) == "done" for shard in self._shards)
        self.progress.begin(stage, len(left), sum(map(self.grid.row_count, left)), done)

    def _may_begin(self, stage: str) -> bool:
        """Whether the rules let a job of this stage begin."""
        if not self.rules.overlap and any(
            self._left[earlier] or self._at_work[earlier] for earlier in self._stages[: self._stages.index(stage)]
        ):
            return False
        try:
            return self.budget.allows(stage, self._at_work, self.survey)
        except BudgetSpent as spent:  # what is at work is finished
            self._spent = self._spent or spent
            for shard, _ in self._ready[stage]:
                self._give_up(stage, shard)
            self._ready[stage].clear()
            return False

    def _take(self, job: Job, result: Outcome) -> None:
        """Take up what came of a job."""
        self._at_work[job.stage] -= 1
        if isinstance(result, Receipt):
            self._made(result)
            self._go_on(job.shard, self._stages.index(job.stage) + 1)
            return
        if isinstance(result, Lost):
            self.progress.lost(job.stage, result)
            self._losses[job.stage, job.shard] += 1
            if self._losses[job.stage, job.shard] < LOSSES:
                self._again(job.stage, job.shard, job.attempt)
                return
            rows = self.grid.row_count(job.shard)
            result = Failure(job.shard, self.rules.attempts, rows, {f"WorkersLost: {LOSSES} times, at last {result.reason}": rows})
        self._failed(job.stage, result)
        if result.attempt < self.rules.attempts:
            self._again(job.stage, job.shard, job.attempt + 1)
        else:
            self._give_up(job.stage, job.shard)

    def _again(self, stage: str, shard: int, attempt: int) -> None:
        self._ready[stage].appendleft((shard, attempt))
        self._left[stage].add(shard)

    def _made(self, receipt: Receipt) -> None:
        """A new cell is there."""
        stage, made, failures = receipt.stage, self.outcome.new_cells, self.outcome.failures
        made[stage] = made.get(stage, 0) + 1
        failed = self.grid.failure_name(stage, receipt.shard)
        if failures.get(stage, {}).pop(receipt.shard, None) or failed in self.survey.sizes[stage]:
            self.grid.store.remove(failed)
        if not failures.get(stage, True):
            del failures[stage]
        self.survey.add(receipt)
        self.progress.finished(receipt, self.executor.place())

    def _failed(self, stage: str, failure: Failure) -> None:
        """Keep a failure where `mals status` finds it."""
        self.outcome.failures.setdefault(stage, {})[failure.shard] = failure
        self.survey.remove(stage, failure.shard)
        self.budget.add_failed(stage, failure.used)
        record = json.dumps({"stage": stage, **asdict(failure)}, indent=1)
        self.grid.store.commit(self.grid.failure_name(stage, failure.shard), record.encode())
        self.progress.failed(stage, failure)

    def _end_stages(self) -> None:
        """Tell the progress which stages are finished."""
        for stage in self._stages:
            if self.progress.began(stage) and not self._left[stage] and not self._at_work[stage]:
                self.progress.end(stage)

    def _open_barrier(self) -> bool:
        """Let the shards go on that have got to a global stage, once nothing is at work; False where none is there or none may."""
        if not self._at_barrier:
            return False
        at, stage = next(
            (at, stage) for at, stage in enumerate(self._stages) if self.grid.is_global(stage) and stage not in self._summaries
        )
        if self.rules.part:
            self.survey = self.grid.survey()  # with what the other parts made
        self.outcome.waiting = self._waiting(stage)
        if self.outcome.waiting:
            return False
        shards, self._at_barrier = sorted(self._at_barrier), []
        self._summaries[stage] = self.survey.summary_inputs(stage)
        for later in self._stages[at:]:
            self._left[later].clear()
        if any(self._needs_work(stage, shard) for shard in shards):
            self._summarise(stage)
        self._enter(shards, at)
        return True

    def _waiting(self, stage: str) -> str:
        """Why a global stage cannot be made yet, a sentence; empty if it can."""
        for name in self.grid.earlier(stage):
            if left := self.grid.shards - self.survey.count(name, "done"):
                return (
                    f"the stage {stage} looks at all rows, and {left} of {self.grid.shards} shards of {name} are not done; "
                    "give the same command again when they are"
                )
        return ""

    def _summarise(self, stage: str) -> None:
        """Make the summary of a global stage unless it is there. Raises RunFailed where it cannot be made."""
        inputs = self._summaries[stage]
        with one_at_a_time(self.grid.store, f"{stage}.summary"):
            if is_made(self.grid, stage, inputs):
                return
            sources = {shard: self.survey.sources(stage, shard) for shard in range(self.grid.shards)}
            problem = ""
            for attempt in range(1, self.rules.attempts + 1):
                result = self.executor.summarise(stage, sources, inputs)
                if isinstance(result, SummaryReceipt):
                    self.progress.event("summary", stage=stage, rows=result.rows, bytes=result.size, seconds=result.seconds)
                    return
                self.progress.failed(stage, replace(result, attempt=attempt))
                problem = result.commonest
        raise RunFailed(
            f"{stage}: the summary of all rows could not be made: {problem}; the events of the run have more, "
            "correct the cause and give the same command again"
        )
