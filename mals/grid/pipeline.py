"""The jobs of one worker, of which the parts overlap: inputs are read and cells are written while another shard is computed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter

from mals.errors import UserError
from mals.grid.executor import Failure, Job
from mals.grid.receipt import Receipt
from mals.grid.shard import Computed, Inputs
from mals.grid.worker import Worker, portable

AHEAD = 2  # jobs that a worker may have beside the one that it computes: one whose inputs are read, one whose cell is written


class Pipeline:
    """Answers jobs in their order. Of a cell, data and receipt are written by one thread, one after the other.

    At most one shard is being written: the next one that is computed waits for it. So of outputs two shards are in memory, and of inputs as
    many as jobs were given.
    """

    def __init__(self, worker: Worker, answer: Callable[[Receipt | Failure | UserError], None]):
        """`answer` gets what came of each job, in another thread."""
        self.worker, self.answer = worker, answer
        self._reader = ThreadPoolExecutor(1, "read")
        self._writer = ThreadPoolExecutor(1, "write")
        self._written: Future[None] | None = None

    def read(self, job: Job) -> Future[Inputs]:
        """Begin to read the inputs of a job; they wait until `compute` asks for them."""
        return self._reader.submit(self.worker.read, job, job.sources)

    def compute(self, job: Job, inputs: Future[Inputs]) -> None:
        """Compute a shard, and begin to write its cell."""
        result: Computed | Failure | UserError
        try:
            result = self.worker.guarded(job, lambda: self.worker.compute(job, inputs.result))
        except UserError as error:
            result = portable(error)
        clock = perf_counter()
        if self._written is not None:
            self._written.result()
        if isinstance(result, Computed):
            result.waited += perf_counter() - clock
            self._written = self._writer.submit(self._write, job, result)
        else:
            self._written = self._writer.submit(self.answer, result)

    def _write(self, job: Job, computed: Computed) -> None:
        try:
            self.answer(self.worker.guarded(job, lambda: self.worker.write(job, computed, waits=False)))
        except UserError as error:
            self.answer(portable(error))

    def finish(self) -> None:
        """Wait until all is written."""
        self._writer.shutdown()
        self._reader.shutdown(cancel_futures=True)
