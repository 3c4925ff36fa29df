"""What the trainings of the embedded models share: a step's learning rate, an average of the weights, a line of progress."""

import copy
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


class Average:
    """An exponential average of a model's weights, which draws smoother than the last ones do."""

    def __init__(self, model: Any, decay: float):
        self.model, self.decay, self.steps = copy.deepcopy(model).eval().requires_grad_(False), decay, 0

    def take(self, model: Any) -> None:
        import torch

        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))  # the first steps are forgotten sooner
        with torch.no_grad():
            for mine, new in zip(self.model.parameters(), model.parameters(), strict=True):
                mine.lerp_(new, 1 - decay)
            for mine, new in zip(self.model.buffers(), model.buffers(), strict=True):
                mine.copy_(new)


def optimize(
    name: str,
    parameters: Iterator[Any],
    loss_of: Callable[[int, float], Any],
    minutes: float,
    rate: float,
    after: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """AdamW steps for so many minutes: `loss_of(step, share of the time gone)` is minimised, `after(step)` follows each.

    The learning rate climbs for 2 % of the time and falls along a cosine to a hundredth. Returns steps, seconds and the last losses' mean.
    """
    import torch

    held = [one for one in parameters if one.requires_grad]
    optimizer = torch.optim.AdamW(held, lr=rate, weight_decay=0.01, betas=(0.9, 0.99))
    began, step, losses = time.time(), 0, []
    shown = began
    while (gone := (time.time() - began) / (minutes * 60)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, gone / 0.02 + 1e-3) * (0.01 + 0.99 * (1 + np.cos(np.pi * gone)) / 2)
        loss = loss_of(step, gone)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(held, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if after:
            after(step)
        step += 1
        if time.time() - shown > 30:
            shown = time.time()
            print(
                json.dumps({"model": name, "step": step, "gone": round(gone, 3), "loss": round(float(np.mean(losses[-100:])), 5)}),
                flush=True,
            )
    return {"steps": step, "seconds": round(time.time() - began), "loss": round(float(np.mean(losses[-200:])), 5)}


@contextmanager
def half() -> Iterator[None]:
    """bfloat16 products, several times as fast as float32 on processors with AMX; attention step by step, whose backward pass is
    faster there than that of the fused kernel (0.73 against 0.97 s a step of the generator, one core)."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        yield


def record(folder: Path, facts: dict[str, Any]) -> None:
    """`training.json` beside the weights: how they were made and what they score."""
    known = json.loads((folder / "training.json").read_text(encoding="utf-8")) if (folder / "training.json").is_file() else {}
    (folder / "training.json").write_text(json.dumps(known | facts, indent=2) + "\n", encoding="utf-8")


def widened(boxes: np.ndarray, aspect: float, padding: float) -> tuple[np.ndarray, np.ndarray]:
    """Centre and size [B, 2] of boxes [B, 4] xyxy, made `aspect` (width / height) by growing, and `padding` times larger."""
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum(boxes[:, 2:] - boxes[:, :2], 1)
    wide = np.maximum(size[:, 0], size[:, 1] * aspect)
    return centre, np.stack([wide, wide / aspect], 1) * padding
