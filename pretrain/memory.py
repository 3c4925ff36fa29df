"""Explain an out-of-memory error, here or in a worker that reads images, by a sentence that says what to lower."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import torch

from mals.errors import UserError

TORCH_MESSAGES = ("can't allocate memory", "cannot allocate memory", "out of memory", "not enough memory", "bad_alloc", "alloc_failed")
THREAD_MESSAGE = "can't start new thread"  # of Python, where there is no memory for its stack
WORKER_MESSAGE = "memoryerror"  # of numpy in a worker: torch cannot rebuild the exception and raises a RuntimeError
OPENCV_MESSAGE = "insufficient memory"


def ran_out(error: BaseException) -> bool:
    """Whether an error means that memory ran out; each library has its own."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    torch_messages = (*TORCH_MESSAGES, THREAD_MESSAGE, WORKER_MESSAGE)
    messages = torch_messages if isinstance(error, RuntimeError) else (OPENCV_MESSAGE,) if isinstance(error, cv2.error) else ()
    return any(message in str(error).lower() for message in messages)


@contextmanager
def explain_out_of_memory(advice: str, workers: str = "data.workers") -> Iterator[None]:
    """Raise UserError with `advice` if memory runs out, here or in a worker; `workers` is the setting of the number of workers.

    A context manager, also usable as a decorator.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError, EOFError, cv2.error) as error:
        if ran_out(error):
            raise UserError(f"memory ran out; {advice}") from None
        if isinstance(error, ConnectionError | EOFError) or str(error).startswith("DataLoader worker"):
            raise UserError(
                f"a process that reads images was killed, most likely because memory ran out; lower {workers}, or give more shared memory"
            ) from None
        raise
