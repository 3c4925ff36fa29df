"""The handle of a worker process, beside what test_executor.py and test_run.py ask of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mals.grid.process import ProcessDied, WorkerProcess
from mals.grid.run import Run

Planned = Callable[..., Path]
LONG = 60.0  # seconds after which something that should happen does not


def test_a_process_that_cannot_take_a_request_ends_and_its_executor_does_not_wait_for_ever(planned: Planned) -> None:
    run = Run.open(planned())
    process = WorkerProcess(run.store.url, run.user_settings, None)
    try:
        process.connection.send_bytes(b"no request")
        assert process.connection.poll(LONG), "it neither answers nor ends"
        with pytest.raises(ProcessDied):
            process.receive()
    finally:
        process.end()
        process.join()
