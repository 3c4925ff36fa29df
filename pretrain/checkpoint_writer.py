"""Checkpoints are written in the background: the state is copied, and a thread writes the copy while the training goes on.

At most one is being written; the next one waits for it. The copies stay in memory and are used again: as many bytes as the checkpoint has,
12 for each trained weight, 16 where means of weights are kept, in main memory of the main process; on a GPU in pinned memory. A checkpoint
appears whole, so that a kill while it is written leaves the one before.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any, Self

import torch
from torch import Tensor, nn

from pretrain import checkpoint
from pretrain.ranks import message_of

log = logging.getLogger(__name__)


class CheckpointWriter:
    """Writes the checkpoints of a training into `out`; a context manager, at whose end nothing is being written any more."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.copies: dict[tuple[str, str], Tensor] = {}  # by file and name
        self.thread: Thread | None = None
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait; raise the writer's error where there is no other, else log it beside that one."""
        if kind is None:
            return self.wait()
        if self.thread is not None:
            self.thread.join()
        if self.error is not None:
            log.error("the last checkpoint was not written: %s", message_of(self.error))
            self.error = None
        return None

    def save(
        self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, config: Mapping[str, Any], scaler: dict[str, Any]
    ) -> None:
        """Begin to write the state after `step` steps, as it is now; OSError where the disk was full for the one before."""
        self.wait()
        state = checkpoint.state(model, optimizer)
        files = {file: {name: self._copy((file, name), tensor) for name, tensor in state[file].items()} for file in state}
        copied = torch.cuda.Event() if any(tensor.is_cuda for tensors in state.values() for tensor in tensors.values()) else None
        if copied is not None:
            copied.record()
        self.thread = Thread(target=self._write, args=(copied, step, files, config, scaler), name="checkpoint")
        self.thread.start()

    @property
    def failed(self) -> bool:
        """Whether there is an error that is not raised yet."""
        return self.error is not None

    def keep(self, error: Exception) -> None:
        """Keep an error of what is written beside checkpoints, if there is no other: it is raised as those of checkpoints."""
        self.error = self.error or error

    def check(self) -> None:
        """Raise the error of a checkpoint that could not be written, if there is one, without waiting."""
        if self.failed:
            self.wait()

    def wait(self) -> None:
        """Wait until the last checkpoint is written; OSError where the disk is full."""
        if self.thread is not None:
            self.thread.join()
            self.thread = None
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def _copy(self, place: tuple[str, str], tensor: Tensor) -> Tensor:
        """A copy that the next step does not change; the device makes it before that step."""
        copy = self.copies.get(place)
        if copy is None or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
            copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            self.copies[place] = copy
        return copy.copy_(tensor.detach(), non_blocking=True)

    def _write(
        self,
        copied: "torch.cuda.Event | None",
        step: int,
        files: Mapping[str, Mapping[str, Tensor]],
        config: Mapping[str, Any],
        scaler: Mapping[str, Any],
    ) -> None:
        try:
            if copied is not None:
                copied.synchronize()
            checkpoint.save(self.out, step, files, config, scaler)
        except BaseException as error:  # of whatever kind: the training raises it, and one that ends a thread is heard of nowhere
            self.error = error
