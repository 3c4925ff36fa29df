"""How fast a training is: images a second, since the start and since the last line of the log, the time without data, and MFU.

MFU (model FLOPs utilisation) is the FLOPs of matrix products, attention and convolution, forward and backward, two for a multiply-add, by
the time and by the card's dense bf16 peak. They are counted once, at the first step.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

# FLOP/s of bf16, dense, by part of a name, the first that fits. From NVIDIA's data sheets of H100 (SXM, PCIe, NVL), H200 (SXM, NVL),
# GB200 NVL72, DGX B200, A100, L40S, L40 and L4: half of the number with sparsity where they give that; of GB200 NVL72 one of its 72 GPUs.
PEAKS = {
    "GB200": 2500e12,
    "B200": 2250e12,
    "H200 NVL": 835e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
}


def peak_of(device: torch.device) -> float | None:
    """FLOP/s of dense products in bf16 as the card's maker says; None for a CPU and for unknown cards."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((peak for part, peak in PEAKS.items() if part in name), None)


class Throughput:
    """The speed of the steps of one process, whose batches have `rows` rows of all ranks together."""

    def __init__(self, rows: int, peak: float | None) -> None:
        """`peak` are the FLOP/s of this rank's card; without it there is no MFU, and nothing is counted."""
        self.rows, self.peak = rows, peak
        self.began, self.steps = time.time(), 0
        self.flops: int | None = None  # of a step of this rank
        self.waited = 0.0  # seconds without data
        self.last, self.last_steps = self.began, 0

    @property
    def counts(self) -> bool:
        """Whether the next step's FLOPs are counted."""
        return self.peak is not None and self.flops is None

    @contextmanager
    def step(self) -> Iterator[None]:
        """A step; the first one counts its FLOPs where they are needed."""
        if self.counts:
            with FlopCounterMode(display=False) as counter:
                yield
            self.flops = counter.get_total_flops()
        else:
            yield
        self.steps += 1

    def pause(self, seconds: float) -> None:
        """Time that is not the training's, such as of an evaluation."""
        self.began += seconds
        self.last += seconds

    def line(self) -> dict[str, Any]:
        """The speed since the start, and as `images_per_s_now` and `mfu` that since the last call."""
        now = time.time()
        elapsed, lately, steps = max(1e-9, now - self.began), max(1e-9, now - self.last), self.steps - self.last_steps
        speed: dict[str, Any] = {
            "images_per_s": round(self.steps * self.rows / elapsed, 2),
            "images_per_s_now": round(steps * self.rows / lately, 2),
            "waited": round(self.waited / elapsed, 4),
        }
        if self.peak is not None and self.flops is not None:
            speed["mfu"] = round(steps * self.flops / lately / self.peak, 4)
        self.last, self.last_steps = now, self.steps
        return speed

    def left(self, steps: int) -> float:
        """Seconds that so many steps take at the mean speed since the start."""
        return (time.time() - self.began) / max(1, self.steps) * steps
