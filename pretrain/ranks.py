"""Training on many processes: torchrun starts them, DistributedDataParallel averages their gradients, and this is all that is between.

Every function here does the natural thing in one process that nobody launched, without a process group.
A loss that looks across rows is own rows x gathered columns: its mean over the ranks, and the gradient, are those of one process.
"""

import gc
import importlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.parallel import DistributedDataParallel

from mals.errors import CollectiveError, UserError
from mals.processes import end_with_parent

PARENT = "MALS_PARENT"  # the number of the process that started this one
GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")  # of gloo
PATIENCE = 600  # seconds that ranks have to write a checkpoint when they are asked to end


def launched() -> bool:
    """Whether torchrun started this process."""
    return "LOCAL_RANK" in os.environ


def start(device: str = "auto") -> torch.device:
    """Join the processes that torchrun started, if it did; this process's device: "cpu", "cuda", or "auto", a GPU where there is one."""
    local, processes = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    here = torch.device(kind, local) if kind == "cuda" else torch.device(kind)
    if launched():
        end_with_parent(_parent())
    if kind == "cuda":
        if local >= torch.cuda.device_count():
            raise UserError(f"process {local} of this machine has no GPU of its own: there are {torch.cuda.device_count()}")
        torch.cuda.set_device(here)
    if processes > 1 and not dist.is_initialized():
        importlib.import_module("torch._dynamo")  # which `wrap` needs, and which, imported later, would hold the group for good
        dist.init_process_group("nccl" if kind == "cuda" else "gloo", device_id=here if kind == "cuda" else None)
    return here


def _parent() -> int:
    """The process whose end must end this one, or it would train on and hold its folder; other launchers than ours do not name it."""
    return int(os.environ.get(PARENT, os.getppid()))


@contextmanager
def raise_on_all_ranks() -> Iterator[None]:
    """What one rank cannot do none goes on from: CollectiveError on all, with the sentence of the first that failed.

    Nothing inside may wait for other ranks; all of them have done it when this ends.
    """
    fault = None
    try:
        yield
    except UserError as error:
        if world_size() == 1:
            raise
        fault = str(error)
    if world_size() > 1:
        told: list[str | None] = [None] * world_size()
        dist.all_gather_object(told, fault)
        first = next((one for one in told if one is not None), None)
        if first is not None:
            raise CollectiveError(first)


@contextmanager
def explain_lost_peer() -> Iterator[None]:
    """CollectiveError where this rank waits for one that has ended, which says itself why."""
    try:
        yield
    except RuntimeError as error:
        if world_size() > 1 and any(told in str(error) for told in GONE):
            raise CollectiveError("another process has ended before this one; give the same command again") from None
        raise


def stop() -> None:
    """Wait for the others and part from them; after a failure leave it out, torchrun ends the others then.

    Let go of wrapped modules first: each holds the group, whose threads would outlive the interpreter and now and then abort it.
    """
    if dist.is_initialized():
        dist.barrier()
        gc.collect()  # wrapped modules are parts of cycles
        dist.destroy_process_group()


def rank() -> int:
    """This process's number."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that writes files and speaks; it still is after `stop`."""
    return (rank() if dist.is_initialized() else int(os.environ.get("RANK", 0))) == 0


def barrier() -> None:
    """Wait until every rank is here."""
    if dist.is_initialized():
        dist.barrier()


class _Gather(torch.autograd.Function):
    """Rows of all ranks; backward sums every rank's gradient into the rank that owns the row."""

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
    """[B, ...] -> [W * B, ...], the rows of all ranks in their order, with gradient; B is the same on every rank."""
    return _Gather.apply(own) if world_size() > 1 else own


@torch.no_grad()
def gather_detached(own: Tensor) -> Tensor:
    """[B, ...] -> [W * B, ...] as `gather`, without gradient."""
    if world_size() == 1:
        return own.detach()
    rows = own.new_empty(world_size() * len(own), *own.shape[1:])
    dist.all_gather_into_tensor(rows, own.contiguous())
    return rows


class _Sum(torch.autograd.Function):
    """The sum over the ranks; backward sums the gradients of all ranks, each of which has used the sum."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return sum_over_ranks(own)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return sum_over_ranks(grad)


def sum_with_gradient(own: Tensor) -> Tensor:
    """The sum over the ranks of a tensor of one shape, with gradient."""
    return _Sum.apply(own) if world_size() > 1 else own


@torch.no_grad()
def sum_over_ranks(own: Tensor) -> Tensor:
    """The sum over the ranks of a tensor of one shape, without gradient."""
    if world_size() == 1:
        return own.detach()
    found = own.clone()
    dist.all_reduce(found)
    return found


def mean_over_ranks(own: Tensor) -> Tensor:
    """The mean over the ranks of a tensor of one shape, without gradient."""
    return sum_over_ranks(own) / world_size() if world_size() > 1 else own.detach()


def wrap(module: nn.Module) -> nn.Module:
    """The module whose gradients are averaged over the ranks; every parameter must take part in every step.

    Keep it until backward is done: the gradients are averaged by its hooks.
    """
    if world_size() == 1:
        return module
    found = DistributedDataParallel(
        module, static_graph=False, find_unused_parameters=False, gradient_as_bucket_view=True, broadcast_buffers=False
    )
    if dist.get_backend() == "gloo":
        found.register_comm_hook(None, _mean_in_order)
    return found


def _mean_in_order(state: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """The mean of the gradients of all ranks, added in the order of these.

    Gloo adds each part of a bucket in an order of its own, and buckets change after the first step: a training that goes on would not
    have the bits of one that was never stopped.
    """
    own = bucket.buffer()
    first, *others = gather_detached(own).view(world_size(), -1)
    for other in others:
        first += other
    found: torch.futures.Future[Tensor] = torch.futures.Future()
    found.set_result(first / world_size())
    return found


def launch(gpus: int, argv: Sequence[str] | None = None) -> int:
    """Run a command, this process's own by default, once per GPU under torchrun; the exit code of the process that failed first.

    The command is a script and its arguments, or `-m`, a module and its arguments. A signal to end reaches every process.
    """
    if gpus < 1:
        raise ValueError(f"--gpus {gpus}: at least one")
    torchrun = [sys.executable, "-m", "pretrain.ranks", "--standalone", "--nproc_per_node", str(gpus)]
    around = os.environ | {PARENT: str(os.getpid())}
    with subprocess.Popen([*torchrun, *(sys.argv if argv is None else argv)], env=around) as process:
        # A terminal sends Ctrl-C to torchrun too, so that here it only has to be outlived; SIGTERM comes to this process alone.
        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
        }
        try:
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def torchrun(argv: Sequence[str]) -> int:
    """torchrun with the arguments of its command, in this process: what its processes say is enough, without its own report."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable(logging.ERROR)
    end_with_parent(_parent())
    os.environ[PARENT] = str(os.getpid())
    patience = ["--shutdown-timeout", str(PATIENCE)] if "--shutdown-timeout" in run.get_args_parser().format_help() else []
    try:
        run.main([*patience, *argv])
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
