"""What the trainings of the embedded models share: random numbers, the steps of an optimizer, an average of the weights."""

import copy
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

LossFunction = Callable[[int], Any]  # step -> loss, a scalar tensor


def seed_random_numbers(seed: int, resume: bool) -> np.random.Generator:
    """Seed torch and return a NumPy generator; a resumed training sees other batches than the training before it."""
    import torch

    torch.manual_seed(seed + resume)
    return np.random.default_rng(seed + resume)


class WeightAverage:
    """An exponential moving average of a model's weights, in `model`; it gives better images than the last weights."""

    def __init__(self, model: Any, decay: float):
        self.model, self.decay, self.steps = copy.deepcopy(model).eval().requires_grad_(False), decay, 0

    def update(self, model: Any) -> None:
        """Add the weights after a step."""
        import torch

        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))  # shorter at the start, so that the initial weights fade
        with torch.no_grad():
            for average, current in zip(self.model.parameters(), model.parameters(), strict=True):
                average.lerp_(current, 1 - decay)
            for average, current in zip(self.model.buffers(), model.buffers(), strict=True):
                average.copy_(current)


def optimize(
    name: str,
    parameters: Iterator[Any],
    compute_loss: LossFunction,
    minutes: float,
    learning_rate: float,
    after_step: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Minimise `compute_loss` by AdamW for so many minutes; `after_step` is called with the number of each step.

    The learning rate rises for 2 % of the time and falls along a cosine to a hundredth. Prints a line of JSON every 30 s. Returns the
    steps, the seconds and the mean loss of the last 200 steps.
    """
    import torch

    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.99))
    started, step, losses = time.time(), 0, []
    printed = started
    while (progress := (time.time() - started) / (minutes * 60)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, progress / 0.02 + 1e-3) * (0.01 + 0.99 * (1 + np.cos(np.pi * progress)) / 2)
        loss = compute_loss(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if after_step:
            after_step(step)
        step += 1
        if time.time() - printed > 30:
            printed = time.time()
            line = {"model": name, "step": step, "progress": round(progress, 3), "loss": round(float(np.mean(losses[-100:])), 5)}
            print(json.dumps(line), flush=True)
    return {"steps": step, "seconds": round(time.time() - started), "loss": round(float(np.mean(losses[-200:])), 5)}


def train_and_save(name: str, model: Any, compute_loss: LossFunction, minutes: float, processor: Any, folder: Path) -> dict[str, Any]:
    """Train a model whose loss needs no other weights, and save the average of its weights in float16, and its image processor."""
    import torch

    average = WeightAverage(model, 0.999)
    results = optimize(name, model.parameters(), compute_loss, minutes, 1e-3, lambda step: average.update(model))
    average.model.to(torch.float16).save_pretrained(folder)
    processor.save_pretrained(folder)
    return results


@contextmanager
def bfloat16() -> Iterator[None]:
    """Compute products in bfloat16, several times as fast as float32 on processors with AMX.

    Attention is computed step by step: there its backward pass is faster than that of the fused kernel (0.73 s against 0.97 s a step of
    the generator, on one core).
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        yield
