"""What a card makes of the training step: `python -m benchmarks.gpu`, a JSON line after each part, so that a cut run still tells.

    --method aptm|irra|rde  the method (default aptm)
    --device cuda|cpu       the device (default cuda)
    --size full|toy         the method's own size, or a small one that a CPU runs in seconds (default full)
    --batch N               images of a step (default: 150 of aptm, 128 of the others, 4 at the size toy); `compiled_twice` takes 2 N
    --seconds N             no part begins after so many (default 280)
    --parts A,B             these parts alone, of those below
    --set a.b=c             a setting of the training; several times
    --backend NAME          of torch.compile (default inductor, at the size toy eager)
    --data DIR              a packed set for the part `loader` (default: drawn persons, 2,000 rows)

The parts, in their order:

ceilings        TFLOP/s of a plain bf16 product, GB/s of a copy, ten seconds
eager           steps in bf16, not compiled: 16 batches with captions of differing lengths, five to warm up, ten timed by events
blocking        reads of the device that a step waits for: by torch.cuda's warnings (a GPU), and by what the code asks for (any device)
kernels         three steps under torch.profiler: the share of the time in which the device is idle, and the 25 kernels that take longest
compiled        as eager, compiled; the time that compiling took apart
compiled_twice  the same with twice the batch
loader          steps with batches that a loader reads, 14 workers: images a second, and the share of the time waiting for data
losses          of one batch in bf16 against fp32, without dropout

`mfu` is the FLOPs of matrix products, attention and convolution of a step, forward and backward, divided by its time and by the card's
dense bf16 peak; `of_product` by the product that was measured. `peak_mb` is the memory of a part. A part that fails says why, and the next
goes on.
"""

import argparse
import importlib
import itertools
import json
import statistics
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.blocking_reads import BlockingReads, on_device
from benchmarks.step import METHODS
from benchmarks.step_case import Case
from pretrain import settings as training_settings
from pretrain.method import Batch
from pretrain.precision import autocast
from pretrain.schedule import make_optimizer
from pretrain.throughput import peak_of
from pretrain.train import Loop, compile_blocks, peak_memory

LONGEST = (24, 30, 38, 46, 54)  # tokens of the longest caption of a batch, in turn: five widths from 24 to 56
BATCHES, WARM, TIMED = 16, 5, 10
TOTAL, PER_EPOCH = 10_000, 100  # steps of the schedule, of an epoch
ROWS, WORKERS, DRAWN = 2000, 14, 40  # of the loader's set; images that are drawn, and repeated
PRODUCT, COPY = 8192, 1 << 30  # side of the product's matrices, bytes of the copy
TOY_PRODUCT, TOY_COPY, TOY_ROWS, TOY_BATCH = 256, 1 << 20, 12, 4
SMALL_CLIP = ("data.height=32", "data.width=16", "{0}.vision.layers=1", "{0}.vision.channels=64", "{0}.text.layers=1", "{0}.embed=64")
SMALL_APTM = (
    "data.height=40",
    "data.width=40",
    "aptm.vision={embed: 16, depths: [1, 1], heads: [1, 2], window: 5, start: null}",
    "aptm.text={hidden: 32, layers: 2, fusion: 1, heads: 2, inter: 64}",
)
TOY = {  # the preset, and what makes it smaller still
    "aptm": ("tiny", SMALL_APTM),
    "irra": ("tiny-irra", [setting.format("irra") for setting in SMALL_CLIP]),
    "rde": ("tiny-rde", [setting.format("rde") for setting in SMALL_CLIP]),
}
FULL_BATCH = {"aptm": 150}  # as the authors have it on each of four cards
FULL_BATCH_OF_OTHERS = 128
KERNELS = 25


class Bench:
    """One method on one device, and what is known so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.toy = options, options.size == "toy"
        self.device = torch.device(options.device)
        if self.toy:
            torch.set_num_threads(1)  # more only wait for each other
        self.module = importlib.import_module(f"benchmarks.step_{options.method}")
        self.rows = options.batch or (TOY_BATCH if self.toy else FULL_BATCH.get(options.method, FULL_BATCH_OF_OTHERS))
        self.backend = options.backend or ("eager" if self.toy else "inductor")
        self.longest = LONGEST[:2] if self.toy else LONGEST
        self.warm, self.timed = (1, len(self.longest)) if self.toy else (WARM, TIMED)
        self.product: float | None = None  # FLOP/s

    def case(self, rows: int, dtype: str = "bf16") -> Case:
        """The method on the device, with the settings of the command."""
        preset, small = TOY[self.options.method] if self.toy else (self.module.PRESET, [])
        tree = training_settings.assign({"preset": preset, "data": {}, self.options.method: {}}, [*small, *self.options.set])
        case: Case = self.module.case(dtype=dtype, compiled=False, rows=rows, **tree)
        case.method.to(self.device).train()
        return replace(case, batch=case.batch.to(self.device))

    def batches(self, case: Case) -> list[Batch]:
        """Batches with captions of differing lengths; they share their images, and so the memory of these."""
        longest = [min(length, case.tokenizer.max_tokens - 2) for length in self.longest]
        drawn = [case.another(seed, longest[seed % len(longest)]).to(self.device) for seed in range(BATCHES)]
        return [replace(batch, images=case.batch.images) for batch in drawn]

    def loop(self, case: Case) -> Loop:
        """The trainer's loop, not compiled."""
        optimizer = make_optimizer(case.config.optimizer, case.method, case.method.rules, TOTAL, PER_EPOCH)
        return Loop(case.config, case.method, optimizer, Path(), TOTAL, PER_EPOCH, self.device)

    def forget(self) -> None:
        """Give memory back, and measure its peak anew."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def wait(self) -> None:
        """Until the device has done all work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def mark(self) -> Any:
        """A point in the device's work."""
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, first: Any, second: Any) -> float:
        """Seconds from one point to the other; the device has to have done both."""
        return float(second - first) if isinstance(first, float) else first.elapsed_time(second) / 1e3

    def seconds(self, work: Callable[[int], object], warm: int, timed: int) -> list[float]:
        """How long each of `timed` calls keeps the device, after some that are not timed."""
        for at in range(warm):
            work(at)
        self.wait()
        marks = [self.mark()]
        for at in range(warm, warm + timed):
            work(at)
            marks.append(self.mark())
        self.wait()
        return [self.between(*pair) for pair in itertools.pairwise(marks)]


def ceilings(bench: Bench) -> dict[str, Any]:
    """The device, its plain product and its copy."""
    side, size = (TOY_PRODUCT, TOY_COPY) if bench.toy else (PRODUCT, COPY)
    left, right = (torch.randn(side, side, device=bench.device).bfloat16() for _ in range(2))
    source = torch.zeros(size, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    calls = 5 if bench.toy else 200
    product = statistics.median(bench.seconds(lambda at: left @ right, 5, calls))
    copy = statistics.median(bench.seconds(lambda at: target.copy_(source), 5, calls))
    bench.product = 2 * side**3 / product
    name = torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else "cpu"
    peak = peak_of(bench.device)
    facts = {"name": name, "torch": torch.__version__, "product_tflops": round(bench.product / 1e12, 3)}
    facts |= {"copy_gb_s": round(2 * size / copy / 1e9, 1)}  # read and written
    return facts | ({"peak_tflops": round(peak / 1e12)} if peak else {})


def flops_of(loop: Loop, batches: Sequence[Batch], widths: int) -> float:
    """FLOPs of a step, the mean over batches of each length; not of a compiled one, which the counter does not see through."""
    with FlopCounterMode(display=False) as counter:
        for at, batch in enumerate(batches[:widths]):
            loop.step(at, batch)
    return counter.get_total_flops() / widths


def steps(bench: Bench, rows: int, compiled: bool) -> dict[str, Any]:
    """Timed steps of the batches."""
    bench.forget()
    case = bench.case(rows)
    batches, loop = bench.batches(case), bench.loop(case)
    flops = flops_of(loop, batches, len(bench.longest))
    facts: dict[str, Any] = {"batch": rows, "tflop": round(flops / 1e12, 4)}
    if compiled:
        compile_blocks(case.method, bench.backend)
        began = time.perf_counter()
        for at, batch in enumerate(batches[: len(bench.longest)]):  # each length once
            loop.step(at, batch)
        bench.wait()
        facts |= {"backend": bench.backend, "compile_seconds": round(time.perf_counter() - began, 2)}
    taken = bench.seconds(lambda at: loop.step(at, batches[at % BATCHES]), bench.warm, bench.timed)
    mean = statistics.mean(taken)
    facts |= {"ms": round(1e3 * mean, 3), "fastest_ms": round(1e3 * min(taken), 3), "slowest_ms": round(1e3 * max(taken), 3)}
    facts |= {"images_per_s": round(rows / mean, 1), "peak_mb": round(peak_memory(bench.device))}
    if bench.product:
        facts["of_product"] = round(flops / mean / bench.product, 4)
    if peak := peak_of(bench.device):
        facts["mfu"] = round(flops / mean / peak, 4)
    return facts


def blocking(bench: Bench) -> dict[str, Any]:
    """The reads of a step that the host waits for, as the code asks for them, and on a GPU as torch.cuda warns of them."""
    case = bench.case(bench.rows)
    batches, loop = bench.batches(case), bench.loop(case)
    for at in range(2):
        loop.step(at, batches[at])
    facts: dict[str, Any] = {"reads": sorted((reads := blocking_reads(loop, case, batches[2], 2)).places), "count": len(reads)}
    if bench.device.type == "cuda":
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                loop.step(3, batches[3])
        finally:
            torch.cuda.set_sync_debug_mode("default")
        places = [f"{Path(each.filename).name}:{each.lineno}" for each in caught if "synchroniz" in str(each.message)]
        facts |= {"warnings": len(places), "warned": sorted(places)}
    return facts


def blocking_reads(loop: Loop, case: Case, batch: Batch, step: int) -> BlockingReads:
    """The reads of a step, and of the report of the step before."""
    before = loop.step(step, batch)
    batch, tensors = on_device(batch)
    reads = BlockingReads([*case.method.parameters(), *case.method.buffers(), *tensors, before.numbers])
    with reads.counted():
        report = loop.step(step + 1, batch)
        loop.settle(report, at_once=False)
        before.read()
    return reads


def kernels(bench: Bench) -> dict[str, Any]:
    """Three steps under the profiler."""
    case = bench.case(bench.rows)
    batches, loop = bench.batches(case), bench.loop(case)
    for at in range(bench.warm):
        loop.step(at, batches[at])
    bench.wait()
    on_card = bench.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_card else [])]
    with profile(activities=activities) as recorded:
        for at in range(3):
            loop.step(bench.warm + at, batches[at])
        bench.wait()
    kind = torch.autograd.DeviceType.CUDA if on_card else torch.autograd.DeviceType.CPU
    events = outermost([event for event in recorded.events() or [] if event.device_type == kind])
    by_name: dict[str, float] = {}
    for event in events:
        by_name[event.name] = by_name.get(event.name, 0.0) + event.time_range.elapsed_us()
    longest = sorted(by_name.items(), key=lambda item: -item[1])[:KERNELS]
    total = sum(by_name.values())
    top = [{"name": name[:80], "ms": round(us / 3e3, 3), "share": round(us / total, 4)} for name, us in longest]
    return {"idle": round(idle(events), 4), "ms": round(total / 3e3, 3), "kernels": top}


def outermost(events: Sequence[FunctionEvent]) -> list[FunctionEvent]:
    """Work that is part of no other work; annotations, such as torch's of a whole update, are names of what is inside, and no work."""

    def inside_work(event: FunctionEvent) -> bool:
        parent = event.cpu_parent
        return parent is not None and (not parent.is_user_annotation or inside_work(parent))

    return [event for event in events if not event.is_user_annotation and not inside_work(event)]


def idle(events: Sequence[FunctionEvent]) -> float:
    """The share of the time, from the first event to the end of the last, in which there is none."""
    spans = sorted((event.time_range.start, event.time_range.end) for event in events)
    if not spans:
        return 1.0
    busy, until = 0.0, spans[0][0]
    for start, end in spans:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return 1 - busy / max(1e-9, until - spans[0][0])


def from_loader(bench: Bench) -> dict[str, Any]:
    """Steps whose batches a loader reads, decodes and augments, as the trainer takes them."""
    from benchmarks.gpu_set import open_set
    from pretrain.data.augment import ImageTransform
    from pretrain.data.loader import Loader

    case, rows = bench.case(bench.rows), TOY_ROWS if bench.toy else ROWS
    workers, data = 1 if bench.toy else WORKERS, case.config.data
    loop, begun = bench.loop(case), 2 * workers + 2
    with tempfile.TemporaryDirectory(prefix="mals-bench-") as scratch:
        folder = Path(bench.options.data) if bench.options.data else None
        pairs = open_set(folder, Path(scratch), rows, min(rows, DRAWN), data.height, case.method.needs)
        if hasattr(case.method, "confident"):  # of RDE: every row counts
            case.method.confident = torch.ones(len(pairs), dtype=torch.bool, device=bench.device)
        batches = iter(
            Loader(
                pairs,
                case.tokenizer,
                case.method.needs,
                batch=bench.rows,
                seed=1,
                stop=begun + bench.timed,
                transform=ImageTransform.for_training(data),
                workers=workers,
                device=bench.device,
            )
        )
        for at in range(begun):  # what the workers have prepared before the first request, and the start of the workers
            loop.step(at, next(batches))
        bench.wait()
        began, waited = time.perf_counter(), 0.0
        for at in range(begun, begun + bench.timed):
            before = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - before
            loop.step(at, batch)
        bench.wait()
        taken = time.perf_counter() - began
    facts = {"batch": bench.rows, "workers": workers, "images_per_s": round(bench.timed * bench.rows / taken, 1)}
    return facts | {"waited": round(waited / taken, 4)}


def losses(bench: Bench) -> dict[str, Any]:
    """Each loss in both precisions, with the same weights and the same random numbers."""
    case = bench.case(bench.rows)
    case.method.eval()
    values: dict[str, dict[str, float]] = {}
    for dtype in ("fp32", "bf16"):
        torch.manual_seed(0)
        with torch.no_grad(), autocast(bench.device, dtype):
            values[dtype] = {name: float(loss) for name, loss in case.method(case.batch, 1).items()}
    apart = {name: round(abs(values["bf16"][name] - loss) / max(1e-9, abs(loss)), 6) for name, loss in values["fp32"].items()}
    return {"fp32": {name: round(value, 6) for name, value in values["fp32"].items()}, "bf16_apart": apart, "worst": max(apart.values())}


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "ceilings": ceilings,
    "eager": lambda bench: steps(bench, bench.rows, compiled=False),
    "blocking": blocking,
    "kernels": kernels,
    "compiled": lambda bench: steps(bench, bench.rows, compiled=True),
    "compiled_twice": lambda bench: steps(bench, 2 * bench.rows, compiled=True),
    "loader": from_loader,
    "losses": losses,
}


def lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The results of the parts, as long as there is time."""
    began, bench = time.perf_counter(), Bench(options)
    requested = options.parts.split(",") if options.parts else list(PARTS)
    for at, name in enumerate(requested):
        elapsed = time.perf_counter() - began
        if elapsed > options.seconds:
            yield {"benchmark": "gpu", "part": "stopped", "seconds": round(elapsed, 1), "left": requested[at:]}
            return
        facts = {"benchmark": "gpu", "part": name, "method": options.method, "size": options.size, "device": options.device}
        try:
            result = PARTS[name](bench)
        except Exception as error:  # whatever a card, its driver or a missing package do: the other parts still tell something
            result = {"error": f"{type(error).__name__}: {error}"[:500], "at": traceback.format_exc().splitlines()[-4:-1]}
        yield facts | result | {"part_seconds": round(time.perf_counter() - began - elapsed, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=METHODS, default="aptm")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size", choices=("full", "toy"), default="full")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--seconds", type=float, default=280.0)
    parser.add_argument("--parts")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--backend")
    parser.add_argument("--data")
    options = parser.parse_args()
    unknown = [name for name in (options.parts or "").split(",") if name and name not in PARTS]
    if unknown:
        parser.error(f"no part is called {', '.join(unknown)}: there are {', '.join(PARTS)}")
    for line in lines(options):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
