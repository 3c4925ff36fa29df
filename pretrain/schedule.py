"""Learning rates: their course as pure functions of the step, and which parameter gets which.

A schedule gives a factor of the peak rate, 0 at the first step; a step is counted from 0 and `total` is how many there are.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn, optim

from pretrain.method import ParameterRule

Schedule = Callable[[int, int, float], float]

UNDECAYED = r"bias|LayerNorm\.weight|norm[12]?\.weight"  # of APTM: biases, tables of relative positions, the norms of BERT and Swin
CUTS = ((7, 0.2), (4, 0.5))  # of APTM's fine-tuning: the factor from so many warm-ups on


def linear(step: int, total: int, warmup: float) -> float:
    """Up to 1 over the warm-up, a number of steps or, below 1, a share of them; then down to 0 at `total`."""
    rise = _rise(total, warmup)
    if step < rise:
        return step / rise
    return max(0.0, (total - step) / max(1, total - rise))


def stairs(step: int, total: int, warmup: float) -> float:
    """`linear`, times 0.5 from four warm-ups on and 0.2 from seven on."""
    rise = _rise(total, warmup)
    return linear(step, total, warmup) * next((factor for length, factor in CUTS if step >= length * rise), 1.0)


def _rise(total: int, warmup: float) -> int:
    """Steps of warm-up."""
    if warmup < 0 or warmup > total:
        raise ValueError(f"a warm-up of {warmup} in {total} steps; it is a number of steps, or a share below 1")
    return int(total * warmup) if warmup < 1 else int(warmup)


SCHEDULES: dict[str, Schedule] = {"linear": linear, "step": stairs}


def groups(
    module: nn.Module, rules: Iterable[ParameterRule], *, rate: float, decay: float, undecayed: str = UNDECAYED
) -> list[dict[str, Any]]:
    """Groups for AdamW of a module's trainable parameters: by the last rule that matches a name, no decay where `undecayed` matches.

    Each group's `peak` is its rate at the factor 1, see `set_rate`; their order is that of the parameters.
    A parameter that modules share goes by its first name.
    """
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    last_first = list(rules)[::-1]
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            rule = next((rule for rule in last_first if re.search(rule.pattern, name)), ParameterRule(""))
            shrink = 0.0 if re.search(undecayed, name) else decay * rule.decay
            found.setdefault((rate * rule.rate, shrink), []).append(parameter)
    return [{"params": some, "lr": peak, "peak": peak, "weight_decay": shrink} for (peak, shrink), some in found.items()]


def set_rate(optimizer: optim.Optimizer, factor: float) -> None:
    """Every group's rate is its peak times the schedule's factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
