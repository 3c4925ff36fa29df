"""Room in the shared memory through which processes that read images send their batches.

It is /dev/shm, of which a Docker container has 64 MB unless it is started with more. Where a batch does not fit, a worker of PyTorch prints
a traceback and its trainer waits forever: so the room is looked at before the first batch, and each one is put there before it is sent.
"""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from mals.errors import CollectiveError, UserError

FOLDER = Path("/dev/shm")
LOCKS = 1 << 16  # bytes of the queues and locks of a worker, a page each
HELD = 2  # batches that the receiver may hold beside those on their way: the last one, and the one before
WAYS_ON = "lower data.workers (--workers){}, or give it more, in Docker with --shm-size={}"
MESSAGES = ("shared memory(shm)", "bus error")  # of PyTorch, where there is no room


@dataclass(frozen=True)
class Fault:
    """Why a worker has no batch to send."""

    sentence: str


class Sent(torch.utils.data.Dataset[Any]):
    """The items of a data set as a worker sends them: a `Fault` where one raises UserError, or where there is no room for it."""

    def __init__(self, items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> Any:
        try:
            item = self.items[at]
        except UserError as error:  # raised again by the receiver, without the worker's traceback
            return Fault(str(error))
        if get_worker_info() is not None:
            try:
                for tensor in _tensors(item):
                    tensor.share_memory_()  # here, since an error of the thread that sends would be printed, and nothing sent
            except RuntimeError as error:
                if not _is_full(error):
                    raise
                return Fault(no_room(sum(tensor.nbytes for tensor in _tensors(item)), "a batch needs"))
        return item


def received(loader: "DataLoader[Any]", batch_bytes: int, data: Iterable[Tensor] = ()) -> Iterator[Any]:
    """The batches of a loader of `Sent` items, each of about `batch_bytes`; `data` are the tensors that all workers share.

    Raises UserError, before the first batch or later, if the shared memory has no room for them.
    """
    workers, ahead = loader.num_workers, loader.prefetch_factor or 0
    if workers:
        require_room(workers, ahead, batch_bytes, sum(tensor.nbytes for tensor in data if not tensor.is_shared()))
    with explain_no_room():
        for item in loader:
            if isinstance(item, Fault):
                raise UserError(item.sentence)
            yield item


def require_room(workers: int, ahead: int, batch_bytes: int, data_bytes: int) -> None:
    """UserError, with the number of workers that fit, if the batches of all workers of this machine do not.

    Each process of a machine finds the same, and its first one reports it.
    """
    processes, free = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), free_bytes()

    def needed(count: int) -> int:
        return processes * (data_bytes + count * LOCKS + (count * ahead + HELD) * batch_bytes)

    if needed(workers) > free:
        fits = next((count for count in range(workers - 1, 0, -1) if needed(count) <= free), 0)
        kind = UserError if os.environ.get("LOCAL_RANK", "0") == "0" else CollectiveError
        raise kind(no_room(needed(workers), f"{workers * processes} processes that read images need", f" to {fits}"))


def no_room(needed: int, what: str, fits: str = "") -> str:
    """The sentence with the two ways on."""
    size = 1 << (needed * 5 // 4).bit_length()
    option = f"{size >> 30}g" if size >= 1 << 30 else f"{max(1, size >> 20)}m"
    room = f"the shared memory {FOLDER} has {free_bytes() / 1e6:,.1f} MB free, and {what} {needed / 1e6:,.1f} MB"
    return f"{room}: {WAYS_ON.format(fits, option)}"


@contextmanager
def explain_no_room() -> Iterator[None]:
    """Raise UserError where a process that reads images, or its queue, found no room."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        if _is_full(error):
            raise UserError(
                f"the shared memory {FOLDER} is full ({free_bytes() / 1e6:,.1f} MB are free): {WAYS_ON.format('', '1g')}"
            ) from None
        raise


def free_bytes() -> int:
    """Bytes that are free; more than any batch where there is no such folder, as on macOS."""
    return shutil.disk_usage(FOLDER).free if FOLDER.is_dir() else 1 << 62


def _is_full(error: RuntimeError | OSError) -> bool:
    """Whether an error means that the shared memory has no room; the lock of a queue is a file in it that has no name."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOSPC and error.filename is None
    return any(message in str(error).lower() for message in MESSAGES)


def _tensors(item: Any) -> list[Tensor]:
    """The tensors in what a worker sends, which are those that take shared memory."""
    if isinstance(item, Tensor):
        return [item]
    parts = item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple) else ()
    return [tensor for part in parts for tensor in _tensors(part)]
