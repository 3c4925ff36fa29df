"""Learning rates: schedules as pure functions, and which parameters have which rate and weight decay.

A schedule gives the factor of the highest rate at a time, counted from 0, of `total` in all; the unit is a step or an epoch.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn, optim

from mals.errors import UserError
from pretrain.config import Optimizer
from pretrain.method import ParameterRule

CUTS = ((7, 0.2), (4, 0.5))  # of "step": (warm-ups, factor from there on); as in Yang et al., ACM MM 2023 (docs/papers/mals.md)


def warm_up_length(total: int, warmup: float) -> int:
    """Steps or epochs of warm-up: `warmup`, or below 1 that share of `total`."""
    if warmup < 0 or warmup > total:
        raise ValueError(f"a warm-up of {warmup} in {total} steps; it is a number of steps, or a share below 1")
    return int(total * warmup) if warmup < 1 else int(warmup)


def linear(time: int, total: int, rise: int) -> float:
    """From 1 at the end of the warm-up to 0 at `total`."""
    return max(0.0, (total - time) / max(1, total - rise))


def stairs(time: int, total: int, rise: int) -> float:
    """`linear`, times 0.5 from four warm-ups on and 0.2 from seven on."""
    return linear(time, total, rise) * next((factor for length, factor in CUTS if time >= length * rise), 1.0)


def cosine(time: int, total: int, rise: int) -> float:
    """Half a cosine from 1 at the end of the warm-up to 0 at `total` (Loshchilov and Hutter, 2017)."""
    return (1 + math.cos(math.pi * (time - rise) / max(1, total - rise))) / 2


def constant(time: int, total: int, rise: int) -> float:
    """Always 1."""
    return 1.0


SCHEDULES: dict[str, Callable[[int, int, int], float]] = {"linear": linear, "step": stairs, "cosine": cosine, "constant": constant}


def factor(settings: Optimizer, step: int, total: int, per_epoch: int) -> float:
    """The factor of the highest rate at a step of `total`, of which an epoch has `per_epoch`.

    During the warm-up it grows linearly from `warmup_from`, then the schedule holds. With the unit "epoch" it changes between epochs only.
    """
    by_epoch = settings.unit == "epoch"
    time, length = (step // per_epoch, math.ceil(total / per_epoch)) if by_epoch else (step, total)
    rise = warm_up_length(length, settings.warmup)
    if time < rise:
        return settings.warmup_from + (1 - settings.warmup_from) * time / rise
    if settings.schedule == "multistep":
        return settings.gamma ** sum(step // per_epoch >= milestone for milestone in settings.milestones)
    return SCHEDULES[settings.schedule](time, length, rise)


def make_optimizer(settings: Optimizer, module: nn.Module, rules: Iterable[ParameterRule], total: int, per_epoch: int) -> optim.Optimizer:
    """The optimizer of a module's parameters; UserError where the warm-up is longer than the training of `total` steps."""
    length = math.ceil(total / per_epoch) if settings.unit == "epoch" else total
    if settings.warmup > length:
        unit = "epochs" if settings.unit == "epoch" else "steps"
        raise UserError(f"optimizer.warmup is {settings.warmup:g} {unit}, and the training has {length:,}; a share below 1 fits any number")
    parameters = groups(module, rules, rate=settings.lr, decay=settings.decay)
    kind = {"adamw": optim.AdamW, "adam": optim.Adam}[settings.kind]
    return kind(parameters, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True)


def groups(module: nn.Module, rules: Iterable[ParameterRule], *, rate: float, decay: float) -> list[dict[str, Any]]:
    """Groups for AdamW of a module's trainable parameters, those with the same rate and weight decay together.

    Of the rules that match a name the last one with a rate decides the rate, the last one with a decay the decay. Each group's `peak` is
    its rate at the factor 1, see `set_rate`; the groups are in the order of the parameters. A parameter that modules share has the name of
    its first module.
    """
    by_values: dict[tuple[float, float], list[nn.Parameter]] = {}
    rules = list(rules)
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            matching = [rule for rule in rules if re.search(rule.pattern, name)]
            rates = [rule.rate for rule in matching if rule.rate is not None]
            decays = [rule.decay for rule in matching if rule.decay is not None]
            values = rate * (rates[-1] if rates else 1.0), decay * (decays[-1] if decays else 1.0)
            by_values.setdefault(values, []).append(parameter)
    return [{"params": members, "lr": peak, "peak": peak, "weight_decay": shrink} for (peak, shrink), members in by_values.items()]


def set_rate(optimizer: optim.Optimizer, factor: float) -> None:
    """Every group's rate is its peak times the schedule's factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
