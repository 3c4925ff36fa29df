"""Memory of a training step by its batch and micro-batch, from steps of a few rows on a CPU: `python -m benchmarks.memory`, JSON lines.

    --method aptm|irra|rde   the method (default aptm), at its authors' size
    --preset NAME            other sizes
    --dtype bf16|fp32        of products (default bf16)
    --batch N                rows to estimate for (default 600)
    --limit GB               the memory of the card (default 78)
    --rows N                 rows of the smaller of the two steps that are measured (default 4)

The bytes of all tensors are counted as they are allocated and freed, in a step of --rows rows and in one of twice as many:

    row_mb     what a row of the batch needs in a step without micro-batches
    kept_mb    what the forward pass keeps of a row with micro-batches
    fixed_gb   weights, gradients and both means of AdamW

The estimate is fixed + row x batch without micro-batches, and fixed + 2 x kept x batch + row x micro-batch with them: what is kept has a
gradient of the same size, and a micro-batch needs at most what a whole step of its rows does. Attention runs without dropout, which on a
CPU would keep its probabilities. The caches of a GPU's libraries and fragments come on top.
"""

import argparse
import importlib
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from pretrain.method import Batch, Method
from pretrain.precision import autocast
from pretrain.towers import micro_batches

CPU = torch.device("cpu")
WEIGHT_BYTES = 16  # a weight, its gradient and two means, in float32


def live_bytes(work: Callable[[], object]) -> tuple[int, int]:
    """The most bytes of tensors that some work has in memory beside those before it, and those that are left after it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = work()  # noqa: F841  # alive until the profiler ends
    results: Any = profiler.profiler
    events = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most, now


def method_and_batch(options: argparse.Namespace, rows: int, micro_batch: int | None) -> tuple[Method, Batch]:
    module = importlib.import_module(f"benchmarks.step_{options.method}")
    case = module.case(options.preset or module.PRESET, options.dtype, False, rows)
    micro_batches.use(case.method, options.method, micro_batch)
    for part in case.method.modules():
        if isinstance(getattr(part, "dropout", None), float):
            part.dropout = 0.0
    return case.method.train(), case.batch


def measured(options: argparse.Namespace, rows: int) -> tuple[int, int, int]:
    """Bytes of a whole step's peak without gradients of weights, bytes kept with micro-batches of one row, and the number of weights."""
    method, batch = method_and_batch(options, rows, None)
    weights = sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad)

    def forward() -> list[torch.Tensor]:
        with autocast(CPU, options.dtype):
            return list(method(batch, 0).values())

    def step() -> None:
        torch.stack(forward()).sum().backward()

    step()  # allocates the gradients, which stay
    whole, _ = live_bytes(step)
    nn.Module.zero_grad(method)
    for tower in method.modules():
        if isinstance(tower, micro_batches.MicroBatched):
            tower.micro_batch = 1
    _, kept = live_bytes(forward)
    return whole, kept, weights


def fitting(batch: int, free: float, row: float) -> int:
    """The rows of the largest equal micro-batches that fit; 0 where not even one row does."""
    most = min(batch, int(free // row))
    return -(-batch // -(-batch // most)) if most > 0 else 0


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=("aptm", "irra", "rde"), default="aptm")
    parser.add_argument("--preset")
    parser.add_argument("--dtype", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--batch", type=int, default=600)
    parser.add_argument("--limit", type=float, default=78.0)
    parser.add_argument("--rows", type=int, default=4)
    options = parser.parse_args(argv)
    (whole, kept, weights), (twice_whole, twice_kept, _) = (measured(options, rows) for rows in (options.rows, 2 * options.rows))
    row, kept_row, fixed = (twice_whole - whole) / options.rows, (twice_kept - kept) / options.rows, WEIGHT_BYTES * weights
    sizes = {"row_mb": round(row / 1e6, 1), "kept_mb": round(kept_row / 1e6, 1), "fixed_gb": round(fixed / 1e9, 2)}
    print(json.dumps({"method": options.method, "dtype": options.dtype, "weights": weights, **sizes}), flush=True)
    plain, spared = fixed + row * options.batch, fixed + 2 * kept_row * options.batch
    micro_batch = fitting(options.batch, 1e9 * options.limit - spared, row)
    gigabytes = {"whole_gb": round(plain / 1e9, 1), "micro_batch": micro_batch, "gb": round((spared + row * micro_batch) / 1e9, 1)}
    print(json.dumps({"batch": options.batch, "limit_gb": options.limit, **gigabytes}))


if __name__ == "__main__":
    main()
