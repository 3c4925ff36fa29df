"""A process of this machine that works on shards: its handle, which the executor has, and what it does."""

import multiprocessing
import os
import signal
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import Queue
from threading import RLock, Thread
from typing import Any

from mals.errors import UserError
from mals.grid.executor import Failure, Job, Sources
from mals.grid.pipeline import Pipeline
from mals.grid.receipt import Receipt
from mals.grid.shard import Inputs
from mals.grid.stage import error_message
from mals.grid.summary import SummaryReceipt
from mals.grid.worker import Worker, make_worker, portable
from mals.processes import end_with_parent

Request = Job | tuple[str, dict[int, Sources], str]  # the tuple: arguments of Worker.summarise
Answer = Receipt | Failure | SummaryReceipt | UserError
JOIN_SECONDS = 10
NOTHING = -1


class ProcessDied(Exception):
    """The process ended without an answer."""


class WorkerProcess:
    """One process, which answers requests in their order."""

    def __init__(self, url: str, user_settings: dict[str, Any], device: int | None):
        """`device`: the number of its GPU among those that are visible; None for all or none of them."""
        context = multiprocessing.get_context("spawn")  # a forked CUDA context does not work
        self.connection, theirs = context.Pipe()
        self._computed = context.Value("q", NOTHING, lock=False)  # the shard that it computes
        self._process = context.Process(target=_work, args=(url, user_settings, theirs, self._computed, device, os.getpid()))
        self._process.start()
        theirs.close()
        self.device = device
        self.stage = ""  # of its last request
        self.jobs: deque[Job] = deque()  # that it works on, and those that it gets to next

    def send(self, request: Request) -> None:
        """Give it work; what it cannot take since it died is noticed by `receive`."""
        self.stage = request.stage if isinstance(request, Job) else request[0]
        if isinstance(request, Job):
            self.jobs.append(request)
        with suppress(OSError):
            self.connection.send(request)

    def receive(self) -> Receipt | Failure | SummaryReceipt:
        """The next answer, in the order of the requests; raises ProcessDied, or a UserError of the process."""
        try:
            answer: Answer = self.connection.recv()
        except (EOFError, OSError):
            raise ProcessDied from None
        if isinstance(answer, UserError):
            raise answer
        return answer

    def computed_job(self) -> Job:
        """The job that it computes, or computed when it died; inputs of the others are read, or their cells written."""
        return next((job for job in self.jobs if job.shard == self._computed.value), self.jobs[0])

    def is_alive(self) -> bool:
        """Whether it has not died."""
        return self._process.is_alive()

    def end(self) -> None:
        """Ask it to end."""
        self._process.terminate()
        self.connection.close()

    def join(self) -> None:
        """Wait for its end; a process that does not listen is killed."""
        self._process.join(JOIN_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _work(url: str, user_settings: dict[str, Any], connection: Connection, computed: Any, device: int | None, parent: int) -> None:
    """What the process does: an answer to each request, until the executor ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the coordinator decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _share_no_lock_of_progress_bars()
    end_with_parent(parent)
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = _visible_device(device)
    try:
        worker = make_worker(url, user_settings)
    except UserError as error:
        _refuse(connection, portable(error))
    except Exception as error:
        _refuse(connection, UserError(f"a worker process could not start: {error_message(error)}"))
    else:
        _answer(worker, connection, computed)


def _share_no_lock_of_progress_bars() -> None:
    """Give tqdm a lock of this process alone, since libraries make bars even where they show none.

    Its own is a semaphore for several processes, and of one that a signal ends Python reports the semaphore as leaked.
    """
    from tqdm import tqdm

    tqdm.set_lock(RLock())


def _refuse(connection: Connection, error: UserError) -> None:
    """Answer each request with `error`."""
    with suppress(EOFError, OSError):
        while connection.recv():
            connection.send(error)


def _answer(worker: Worker, connection: Connection, computed: Any) -> None:
    """Answer each request, in order; the inputs of a job are read as soon as it is there."""

    def answer(result: Answer) -> None:
        with suppress(OSError):  # where the executor is closed
            connection.send(result)

    pipeline = Pipeline(worker, answer)
    requests: Queue[tuple[Request, Future[Inputs] | None] | None] = Queue()

    def listen() -> None:
        try:
            with suppress(EOFError, OSError):
                while True:
                    request: Request = connection.recv()
                    requests.put((request, pipeline.read(request) if isinstance(request, Job) else None))
        finally:  # the executor is closed; or no memory is left for a request or a thread, and the executor would wait for ever
            requests.put(None)

    Thread(target=listen, daemon=True, name="listen").start()
    while (item := requests.get()) is not None:
        request, inputs = item
        del item  # the inputs of a shard are many bytes
        if isinstance(request, Job):
            assert inputs is not None
            computed.value = request.shard
            pipeline.compute(request, inputs)
            del inputs
        else:
            try:
                answer(worker.summarise(*request))
            except UserError as error:
                answer(portable(error))
    pipeline.finish()


def _visible_device(device: int) -> str:
    """The GPU of one worker, among those that CUDA_VISIBLE_DEVICES leaves visible."""
    allowed = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return allowed[device] if allowed else str(device)
