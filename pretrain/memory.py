"""Memory that runs out, here or in a process that reads pictures, as a sentence that says what to lower."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import torch

from mals.errors import UserError

TOLD = ("can't allocate memory", "cannot allocate memory", "out of memory", "not enough memory", "bad_alloc", "alloc_failed")  # of torch
CAUGHT = "memoryerror"  # of numpy in a worker: torch tells it as a RuntimeError, since it cannot make one anew
DECODED = "insufficient memory"  # of OpenCV


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there is no memory; each library has its own way to."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    told = (*TOLD, CAUGHT) if isinstance(error, RuntimeError) else (DECODED,) if isinstance(error, cv2.error) else ()
    return any(one in str(error).lower() for one in told)


@contextmanager
def explain_out_of_memory(advice: str, workers: str = "data.workers") -> Iterator[None]:
    """UserError with `advice` where memory runs out, here or in a worker; `workers` is the setting that says how many of these there are.

    As a decorator, or around what needs the memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError, EOFError, cv2.error) as error:
        if ran_out(error):
            raise UserError(f"memory ran out; {advice}") from None
        if isinstance(error, ConnectionError | EOFError) or str(error).startswith("DataLoader worker"):
            raise UserError(
                f"a process that reads pictures was ended, most likely for want of memory; lower {workers}, or give more shared memory"
            ) from None
        raise
