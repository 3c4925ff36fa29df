"""The course of the learning rate, and which parameter gets which."""

import json
import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import nn

from pretrain.method import ParameterRule
from pretrain.schedule import SCHEDULES, groups, linear, set_rate, stairs

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[1] / "golden") / "metrics"


@pytest.mark.golden
@pytest.mark.parametrize("name", ["linear", "step"])
def test_a_schedule_equals_the_reference(name):
    given = json.loads((GOLDEN / "expected.json").read_text())["lr_schedule"][name]
    ours = {step: SCHEDULES[name](int(step), given["total_steps"], given["warmup"]) for step in given["scale_at"]}
    assert ours == pytest.approx(given["scale_at"], abs=1e-4)


@given(st.sampled_from([linear, stairs]), st.integers(1, 300), st.floats(0, 0.99) | st.integers(1, 300))
def test_a_schedule_rises_to_one_and_falls_to_zero(schedule, total, warmup):
    warmup = min(warmup, total)
    course = [schedule(step, total, warmup) for step in range(total + 2)]
    top = course.index(max(course))
    assert all(0 <= factor <= 1 for factor in course) and course[total:] == [0, 0]
    assert course[: top + 1] == sorted(course[: top + 1]) and course[top:] == sorted(course[top:], reverse=True)


def test_a_warm_up_in_steps_is_one_as_a_share():
    assert [linear(step, 200, 20) for step in range(200)] == [linear(step, 200, 0.1) for step in range(200)]
    assert linear(0, 10, 0) == 1 and linear(0, 10, 1) == 0 and linear(1, 10, 1) == 1


@pytest.mark.parametrize("warmup", [-1, 11])
def test_a_warm_up_longer_than_the_training_is_refused(warmup):
    with pytest.raises(ValueError, match="in 10 steps"):
        linear(0, 10, warmup)


class Tower(nn.Module):
    """Parameters under the names that the rules are about."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.norm1, self.LayerNorm, self.final = (nn.LayerNorm(2) for _ in range(4))
        self.qkv, self.head, self.frozen = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(3))
        self.tied = nn.Linear(2, 2, bias=False)
        self.tied.weight = self.head.weight


def test_every_trainable_parameter_is_in_one_group_by_the_last_rule_that_matches():
    tower = Tower()
    made = groups(tower, [ParameterRule("head|qkv", rate=3, decay=5), ParameterRule("head", rate=2)], rate=1e-4, decay=0.01)
    place = {id(parameter): (group["peak"], group["weight_decay"]) for group in made for parameter in group["params"]}
    told = {name: place.get(id(parameter)) for name, parameter in tower.named_parameters()}
    undecayed = ["norm.weight", "norm1.weight", "LayerNorm.weight", "relative_position_bias_table"]
    undecayed += ["norm.bias", "norm1.bias", "LayerNorm.bias", "final.bias"]
    assert told == {
        **dict.fromkeys(undecayed, (1e-4, 0.0)),
        "final.weight": (1e-4, 0.01),
        "qkv.weight": (pytest.approx(3e-4), pytest.approx(0.05)),
        "qkv.bias": (pytest.approx(3e-4), 0.0),
        "head.weight": (2e-4, 0.01),
        "head.bias": (2e-4, 0.0),
        "frozen.weight": None,
        "frozen.bias": None,
    }
    assert sum(len(group["params"]) for group in made) == 13


def test_the_rate_of_a_group_follows_the_schedule_from_its_peak():
    tower = Tower()
    optimizer = torch.optim.AdamW(groups(tower, [ParameterRule("head", rate=2)], rate=1e-4, decay=0.01))
    assert {group["lr"] for group in optimizer.param_groups} == {1e-4, 2e-4}
    for factor in (0.5, 0.0, 0.25):
        set_rate(optimizer, factor)
        assert {group["lr"] for group in optimizer.param_groups} == {1e-4 * factor, 2e-4 * factor}
