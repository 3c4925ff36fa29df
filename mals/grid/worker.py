"""What one process of a run does: it keeps the grid and one stage between shards, and attempts one shard after the other."""

import pickle
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mals import settings
from mals.config import Config
from mals.errors import UserError
from mals.grid.cells import Damaged, Grid, build_stage
from mals.grid.executor import Failure, Job, Sources
from mals.grid.plan import read_plan
from mals.grid.receipt import Receipt
from mals.grid.shard import AdaptiveBatch, Computed, Inputs, ShardFailed, compute, free_memory, read_inputs, write_cell
from mals.grid.stage import AnyStage, GlobalStage, error_message
from mals.grid.store import Store
from mals.grid.summary import SummaryReceipt, make_summary, read_summary

Result = TypeVar("Result")
PAUSE = 1.0  # seconds before a damaged cell is read again


@dataclass
class Worker:
    """What one process keeps between shards: the grid, the stages without a model, and the one stage whose model is loaded."""

    grid: Grid
    config: Config
    _stage: AnyStage | None = None
    _light: dict[str, AnyStage] = field(default_factory=dict)  # stages without a model or a summary: shards of several take turns
    _summary_inputs: str | None = None  # of the summary that the stage was set up with
    _batches: dict[str, AdaptiveBatch] = field(default_factory=dict)

    def attempt(self, name: str, shard: int, number: int, sources: Sources, summary_inputs: str | None = None) -> Receipt | Failure:
        """Attempt `number` (from 1) at one shard, from the earlier cells `sources`, and by the summary made from `summary_inputs`.

        Raises UserError, since another attempt would fail alike. An earlier cell that is damaged costs this shard and no other.
        """
        job = Job(name, shard, sources, number, summary_inputs)
        return self.guarded(job, lambda: self.write(job, self.compute(job, lambda: self.read(job, job.sources)), waits=True))

    def read(self, job: Job, sources: Sources | None) -> Inputs:
        """The inputs of a shard; see read_inputs."""
        return read_inputs(self.grid, self.grid.stages[job.stage], job.shard, sources)

    def compute(self, job: Job, read: Callable[[], Inputs]) -> Computed:
        """The output of a shard from what `read` returns; inputs are read once more where an earlier cell is damaged."""
        try:
            stage, clock = self._load(job), time.perf_counter()
            inputs = read()
        except Damaged:
            time.sleep(PAUSE)
            stage, clock = self._load(job), time.perf_counter()
            inputs = self.read(job, None)  # by the receipts of now: another command may have made the cell again
        waited = time.perf_counter() - clock
        batch = self._batches.setdefault(job.stage, AdaptiveBatch(stage.batch, stage.batch))
        computed = compute(stage, job.shard, inputs, batch, self.config.run.max_error_rate)
        computed.waited = waited
        return computed

    def write(self, job: Job, computed: Computed, *, waits: bool) -> Receipt:
        """Write the cell; see write_cell."""
        stage = self.grid.stages[job.stage]
        return write_cell(self.grid, stage, job.shard, computed, job.attempt, job.summary_inputs, waits=waits)

    def guarded(self, job: Job, work: Callable[[], Result]) -> Result | Failure:
        """What `work` returns, or why it failed; raises a UserError that is not about one shard."""
        try:
            return work()
        except Damaged as error:
            return self._failure(job, error, "")
        except UserError:
            raise
        except ShardFailed as failed:
            return Failure(job.shard, job.attempt, failed.rows, dict(failed.errors.most_common(10)), failed.trace, failed.used)
        except (Exception, SystemExit) as error:
            return self._failure(job, error, traceback.format_exc(limit=-8))

    def summarise(self, name: str, sources: dict[int, Sources], inputs: str) -> SummaryReceipt | Failure:
        """The summary of a global stage, made from the cells `sources` of all shards; `inputs` is their Survey.summary_inputs.

        Raises UserError, as for an earlier cell that is damaged.
        """
        stage = build_stage(name, self.config)
        assert isinstance(stage, GlobalStage)
        limit_threads(self.config.run.threads)
        try:
            return make_summary(self.grid, stage, inputs, sources)
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            return Failure(0, 1, self.grid.plan.rows, {error_message(error): self.grid.plan.rows}, traceback.format_exc(limit=-8))

    def _failure(self, job: Job, error: BaseException, trace: str) -> Failure:
        rows = self.grid.row_count(job.shard)
        return Failure(job.shard, job.attempt, rows, {error_message(error): rows}, trace)

    def _load(self, job: Job) -> AnyStage:
        name, summary_inputs = job.stage, job.summary_inputs
        if name in self._light:
            return self._light[name]
        if self._stage is None or self._stage.name != name or self._summary_inputs != summary_inputs:
            stage = build_stage(name, self.config)  # not the grid's, which would keep it
            light = not stage.resources.gpus and not isinstance(stage, GlobalStage)
            if not light:
                self._stage = None  # free the old model before loading the next
                free_memory()
            limit_threads(self.config.run.threads)
            if isinstance(stage, GlobalStage):
                assert summary_inputs is not None
                stage.setup(read_summary(self.grid, name, summary_inputs))
            else:
                stage.setup()
            limit_threads(self.config.run.threads)  # of libraries that setup has imported
            if light:
                self._light[name] = stage
                return stage
            self._stage, self._summary_inputs = stage, summary_inputs
        return self._stage


def limit_threads(threads: int) -> None:
    """Hold the libraries that are loaded to `threads` threads: floating-point results depend on the number."""
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
    if "cv2" in sys.modules:
        import cv2

        cv2.setNumThreads(threads)


def make_worker(url: str, user_settings: dict[str, Any], grid: Grid | None = None) -> Worker:
    """The worker of this process, from what a coordinator can send: the run's place and its settings."""
    config = settings.check(user_settings)
    if grid is None:
        store = Store(url)
        plan = read_plan(store)
        assert plan is not None  # the coordinator has read it
        grid = Grid(store, config, plan)
    import pyarrow as pa

    pa.set_cpu_count(config.run.threads)
    return Worker(grid, config)


def portable(error: UserError) -> UserError:
    """The error as another process can read it: one of a stage's own that cannot be pickled becomes a plain one of the same text."""
    try:
        copy = pickle.loads(pickle.dumps(error))
        return error if str(copy) == str(error) else UserError(str(error))
    except Exception:
        return UserError(str(error))
