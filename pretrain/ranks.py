"""Training with several processes (ranks): torchrun starts them, DistributedDataParallel averages their gradients.

Without a process group every function treats this process as the only rank. A loss between rows compares own rows with the gathered rows
of all ranks: its mean over the ranks and the gradient equal those of one process.

Shapes: B rows of a rank, W ranks (the world size).
"""

import gc
import importlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.parallel import DistributedDataParallel

from mals.errors import CollectiveError, UserError, system_error_sentence
from mals.processes import end_with_parent

PARENT = "MALS_PARENT"  # environment variable: id of the process that started this one
LOST_PEER_MESSAGES = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")  # of gloo
SHUTDOWN_SECONDS = 600  # for the ranks to write a checkpoint after a signal to stop


def launched() -> bool:
    """Whether torchrun started this process."""
    return "LOCAL_RANK" in os.environ


def start(device: str = "auto") -> torch.device:
    """Join the process group if torchrun started this process; returns its device, for "auto" a GPU if there is one, otherwise the CPU."""
    local, processes = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    own_device = torch.device(kind, local) if kind == "cuda" else torch.device(kind)
    if launched():
        end_with_parent(_parent())
    if kind == "cuda":
        if local >= torch.cuda.device_count():
            raise UserError(f"process {local} of this machine has no GPU of its own: there are {torch.cuda.device_count()}")
        torch.cuda.set_device(own_device)
    if processes > 1 and not dist.is_initialized():
        importlib.import_module("torch._dynamo")  # `wrap` needs it; imported later, it would never release the process group
        dist.init_process_group("nccl" if kind == "cuda" else "gloo", device_id=own_device if kind == "cuda" else None)
    return own_device


def _parent() -> int:
    """The process whose end must end this one, which would otherwise go on training; launchers other than `launch` do not set PARENT."""
    return int(os.environ.get(PARENT, os.getppid()))


@contextmanager
def raise_on_all_ranks() -> Iterator[None]:
    """Raise CollectiveError on all ranks if one raised an error inside, with the message of the first such rank.

    A rank whose error is no mistake of a user, and none of the system such as a full disk, raises that one.
    Nothing inside may wait for other ranks; at the end all ranks have finished it.
    """
    own: Exception | None = None
    try:
        yield
    except Exception as error:
        if world_size() == 1:
            raise
        own = error
    if world_size() > 1:
        messages: list[str | None] = [None] * world_size()
        dist.all_gather_object(messages, None if own is None else message_of(own))
        if own is not None and not isinstance(own, UserError | OSError):
            raise own
        first = next((text for text in messages if text is not None), None)
        if first is not None:
            raise CollectiveError(first)


def message_of(error: BaseException) -> str:
    """An error in one sentence."""
    if isinstance(error, UserError):
        return str(error)
    sentence = system_error_sentence(error) if isinstance(error, OSError) else None
    return sentence or f"{type(error).__name__}: {error}"


@contextmanager
def explain_lost_peer() -> Iterator[None]:
    """Raise CollectiveError if this rank waits for a rank that has ended, which has printed its own error."""
    try:
        yield
    except RuntimeError as error:
        if world_size() > 1 and any(message in str(error) for message in LOST_PEER_MESSAGES):
            raise CollectiveError("another process has ended before this one; give the same command again") from None
        raise


def stop() -> None:
    """Wait for all ranks and leave the process group; not after a failure, when torchrun ends the other ranks.

    Delete wrapped modules first: each holds the group, whose threads would outlive the interpreter and sometimes abort it.
    """
    if dist.is_initialized():
        dist.barrier()
        gc.collect()  # wrapped modules are in reference cycles
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the main process, which writes files and logs; also valid after `stop`."""
    return (rank() if dist.is_initialized() else int(os.environ.get("RANK", 0))) == 0


def barrier() -> None:
    """Wait until every rank gets here."""
    if dist.is_initialized():
        dist.barrier()


class _Gather(torch.autograd.Function):
    """Rows of all ranks; backward sums the gradients of all ranks on the rank that owns the row."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return gather_detached(own)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        own = grad.new_empty(len(grad) // world_size(), *grad.shape[1:])
        dist.reduce_scatter_tensor(own, grad.contiguous())
        return own


def gather(own: Tensor) -> Tensor:
    """[B, ...] -> [W * B, ...], the rows of all ranks in rank order, with gradient; B must be equal on all ranks."""
    return _Gather.apply(own) if world_size() > 1 else own


@torch.no_grad()
def gather_detached(own: Tensor) -> Tensor:
    """[B, ...] -> [W * B, ...], as `gather` without gradient."""
    if world_size() == 1:
        return own.detach()
    rows = own.new_empty(world_size() * len(own), *own.shape[1:])
    dist.all_gather_into_tensor(rows, own.contiguous())
    return rows


class _Sum(torch.autograd.Function):
    """The sum over the ranks; backward sums the gradients of all ranks, since each uses the sum."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return sum_over_ranks(own)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return sum_over_ranks(grad)


def sum_with_gradient(own: Tensor) -> Tensor:
    """The sum over the ranks of a tensor of equal shape, with gradient."""
    return _Sum.apply(own) if world_size() > 1 else own


@torch.no_grad()
def sum_over_ranks(own: Tensor) -> Tensor:
    """The sum over the ranks of a tensor of equal shape, without gradient."""
    if world_size() == 1:
        return own.detach()
    total = own.clone()
    dist.all_reduce(total)
    return total


def mean_over_ranks(own: Tensor) -> Tensor:
    """The mean over the ranks of a tensor of equal shape, without gradient."""
    return sum_over_ranks(own) / world_size() if world_size() > 1 else own.detach()


class Means:
    """Means over the ranks of several tensors, without gradient, by one reduction, which the first one that is needed makes."""

    def __init__(self) -> None:
        self._own: list[Tensor] = []
        self._means: list[Tensor] | None = None

    def of(self, own: Tensor) -> Callable[[], Tensor]:
        """The mean of a float32 tensor of equal shape on all ranks, once all that a step needs were named in the same order."""
        assert self._means is None, "the reduction is made"
        place = len(self._own)
        self._own.append(own.detach())
        return lambda: self._all()[place]

    def _all(self) -> list[Tensor]:
        if self._means is None and world_size() == 1:
            self._means = self._own
        if self._means is None:
            together = mean_over_ranks(torch.cat([own.flatten() for own in self._own]))
            parts = together.split([own.numel() for own in self._own])
            self._means = [part.view(own.shape) for part, own in zip(parts, self._own, strict=True)]
        return self._means


def wrap(module: nn.Module) -> nn.Module:
    """Wrap a module so that gradients are averaged over the ranks; every step must use every parameter.

    Keep the wrapped module until backward is done, since its hooks average the gradients.
    """
    if world_size() == 1:
        return module
    wrapped = DistributedDataParallel(
        module, static_graph=False, find_unused_parameters=False, gradient_as_bucket_view=True, broadcast_buffers=False
    )
    if dist.get_backend() == "gloo":
        wrapped.register_comm_hook(None, _mean_in_order)
    return wrapped


def _mean_in_order(state: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """The mean of the gradients of all ranks, added in rank order.

    Gloo adds each part of a bucket in a different order, and buckets change after the first step: a resumed training would not have the
    same bits as one that was never stopped.
    """
    own = bucket.buffer()
    first, *others = gather_detached(own).view(world_size(), -1)
    for other in others:
        first += other
    mean: torch.futures.Future[Tensor] = torch.futures.Future()
    mean.set_result(first / world_size())
    return mean


def launch(gpus: int, argv: Sequence[str] | None = None) -> int:
    """Run a command, by default that of this process, once per GPU under torchrun; returns the exit code of the process that failed first.

    The command is a script and its arguments, or `-m`, a module and its arguments. SIGINT and SIGTERM reach every process.
    """
    if gpus < 1:
        raise ValueError(f"--gpus {gpus}: at least one")
    command = [sys.executable, "-m", "pretrain.ranks", "--standalone", "--nproc_per_node", str(gpus)]
    environment = os.environ | {PARENT: str(os.getpid())}
    with subprocess.Popen([*command, *(sys.argv if argv is None else argv)], env=environment) as process:
        # A terminal sends Ctrl-C to torchrun too, so SIGINT is ignored here; SIGTERM reaches this process alone and is passed on.
        previous = {
            signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
        }
        try:
            code = process.wait()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def torchrun(argv: Sequence[str]) -> int:
    """Run torchrun in this process with the arguments of its command, without its own error report: the ranks print their errors."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable(logging.ERROR)
    end_with_parent(_parent())
    os.environ[PARENT] = str(os.getpid())
    timeout = ["--shutdown-timeout", str(SHUTDOWN_SECONDS)] if "--shutdown-timeout" in run.get_args_parser().format_help() else []
    try:
        run.main([*timeout, *argv])
    except SignalException as stopped:
        return 128 + int(stopped.sigval)
    except ChildFailedError as failed:
        number, first = failed.get_first_failure()
        if first.exitcode < 0:
            print(f"process {number} was ended by {signal.Signals(-first.exitcode).name}", file=sys.stderr)
        return first.exitcode if first.exitcode >= 0 else 128 - first.exitcode
    return 0


if __name__ == "__main__":
    sys.exit(torchrun(sys.argv[1:]))
