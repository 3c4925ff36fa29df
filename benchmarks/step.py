"""A training step of a method, ours and with the repeated work of the authors' code: `python -m benchmarks.step`, JSON lines.

    --method aptm|irra|rde the method (default aptm); the module `benchmarks.step_METHOD` has what is measured
    --device cpu|cuda      the device (default cpu, on all its cores; --threads N for fewer)
    --preset NAME          sizes, with random weights (default: the full size of the method's authors)
    --batch N              images (default 8), with captions of 20 to 30 tokens
    --dtype fp32|bf16      only this precision
    --way ours|published   only this implementation; the ratios need both
    --steps N              timed steps (default 5), after one for counting FLOPs and four for warming up
    --compile              compile the blocks of our implementation

A step is that of the trainer: forward, backward, update. `seconds` is the median of the timed steps, `update_seconds` the update alone,
`core_seconds` the CPU time of the step, which with one thread does not depend on other work of the machine.
Each measurement runs in a process of its own and has its peak memory (on a GPU that of the tensors). FLOPs are those of matrix products,
attention and convolution, forward and backward, two for a multiply-add. `of_products` is the step's speed divided by that of plain matrix
products, measured first; `mfu`, on a GPU, is divided by its dense bf16 peak. The last line has the ratios of our implementation to the
published one, which runs in fp32 only.
"""

import argparse
import importlib
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pretrain.schedule import make_optimizer
from pretrain.throughput import peak_of
from pretrain.train import Loop, compile_blocks, peak_memory

METHODS = ("aptm", "irra", "rde")
WAYS, DTYPES = ("ours", "published"), ("fp32", "bf16")
SIDE = 2048  # of the square matrices of a plain product
WARM = 4  # steps that are not timed
TOTAL, PER_EPOCH = 10_000, 100  # steps of the schedule, of an epoch


def products(device: torch.device) -> dict[str, float]:
    """GFLOP/s of plain matrix products in both precisions."""
    rates = {}
    for name, dtype in zip(DTYPES, (torch.float32, torch.bfloat16), strict=True):
        left, right = (torch.randn(SIDE, SIDE, device=device).to(dtype) for _ in range(2))
        taken = [timed(lambda left=left, right=right: left @ right, device) for _ in range(8)]  # type: ignore[misc]
        rates[f"{name}_gflops"] = round(2 * SIDE**3 / statistics.median(taken[2:]) / 1e9, 1)
    return rates


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of some work on the device."""
    return spent(work, device)[0]


def spent(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Seconds of wall time, and of CPU time of this process."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    began, used = time.perf_counter(), time.process_time()
    work()
    wait()
    return time.perf_counter() - began, time.process_time() - used


def measured(options: argparse.Namespace, way: str, dtype: str) -> dict[str, Any]:
    """Measure the steps of one implementation in this process."""
    device = started(options)
    module = importlib.import_module(f"benchmarks.step_{options.method}")
    case = module.case(options.preset or module.PRESET, dtype, options.compile and way == "ours", options.batch)
    config, method, batch = case.config, case.method.to(device), case.batch.to(device)
    if way == "ours":
        trained, optimizer = method, make_optimizer(config.optimizer, method, method.rules, TOTAL, PER_EPOCH)
    else:
        trained, optimizer = case.published, case.published_optimizer
    trained.train()
    with FlopCounterMode(display=False) as counter:  # before anything is compiled, which it does not see through
        loop = Loop(config, trained, optimizer, Path(), TOTAL, PER_EPOCH, device)
        loop.step(0, batch)
    if loop.compiles and way == "ours":
        compile_blocks(trained)
    spent_by_step = [spent(partial(loop.step, at, batch), device) for at in range(1, 1 + WARM + options.steps)]
    taken, cores = zip(*spent_by_step[WARM:], strict=True)
    update = statistics.median(timed(optimizer.step, device) for _ in range(3))
    seconds, flops = statistics.median(taken), counter.get_total_flops()
    return {
        "way": way,
        "dtype": dtype,
        "parameters": sum(parameter.numel() for parameter in method.parameters()),
        "tflop": round(flops / 1e12, 4),
        "seconds": round(seconds, 4),
        "fastest": round(min(taken), 4),
        "slowest": round(max(taken), 4),
        "core_seconds": round(statistics.median(cores), 4),
        "update_seconds": round(update, 4),
        "images_per_s": round(options.batch / seconds, 2),
        "gflops": round(flops / seconds / 1e9, 1),
        "peak_mb": round(peak_memory(device)),
    }


def started(options: argparse.Namespace) -> torch.device:
    """The device, and as many threads as requested."""
    if options.threads:
        torch.set_num_threads(options.threads)
    return torch.device(options.device)


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """The device and the speed of its matrix products."""
    device = started(options)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    facts = {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}
    peak = peak_of(device)
    return facts | products(device) | ({"bf16_peak_gflops": round(peak / 1e9)} if peak else {})


def alone(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """The result of a call in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The machine, each implementation in each precision, and the ratios."""
    speeds = alone(machine, options)
    yield {"benchmark": "step.machine", **speeds}
    facts = {
        "benchmark": "step",
        "method": options.method,
        "preset": options.preset,
        "batch": options.batch,
        "device": options.device,
        "compile": options.compile,
    }
    measurements: dict[tuple[str, str], dict[str, Any]] = {}
    for dtype, way in product([options.dtype] if options.dtype else DTYPES, [options.way] if options.way else WAYS):
        line = measurements[way, dtype] = alone(measured, options, way, dtype)
        line["of_products"] = round(line["gflops"] / speeds[f"{dtype}_gflops"], 3)
        if "bf16_peak_gflops" in speeds:
            line["mfu"] = round(line["gflops"] / speeds["bf16_peak_gflops"], 4)
        yield facts | line
    if ratios := dict(compared(measurements)):
        yield {"benchmark": "step.ratio", **ratios}


def compared(measurements: Mapping[tuple[str, str], Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    """Our FLOPs, seconds and memory in each precision divided by those of the published implementation in each."""
    for (way, dtype), ours in measurements.items():
        for (other, theirs), line in measurements.items():
            if way == "ours" and other == "published":
                for name in ("tflop", "seconds", "core_seconds", "peak_mb"):
                    yield f"{dtype}_to_published_{theirs}_{name}", round(ours[name] / line[name], 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=METHODS, default="aptm")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--preset")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--dtype", choices=DTYPES)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    for line in lines(parser.parse_args()):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
