"""The course of the learning rate, and which parameter gets which."""

import json
import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import nn

from pretrain.config import Optimizer
from pretrain.method import NO_DECAY, ParameterRule
from pretrain.schedule import factor, groups, set_rate, warm_up_length

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[1] / "golden") / "metrics"


@pytest.mark.golden
@pytest.mark.parametrize("name", ["linear", "step"])
def test_a_schedule_equals_the_reference(name):
    vectors = json.loads((GOLDEN / "expected.json").read_text())["lr_schedule"][name]
    ours = {step: at(int(step), vectors["total_steps"], vectors["warmup"], name) for step in vectors["scale_at"]}
    assert ours == pytest.approx(vectors["scale_at"], abs=1e-4)


def at(step, total, warmup, schedule="linear", per_epoch=10, **settings):
    return factor(Optimizer(schedule=schedule, warmup=warmup, **settings), step, total, per_epoch)


@given(st.sampled_from(["linear", "step"]), st.integers(1, 300), st.floats(0, 0.99) | st.integers(1, 300))
def test_a_schedule_rises_to_one_and_falls_to_zero(schedule, total, warmup):
    warmup = min(warmup, total)
    course = [at(step, total, warmup, schedule) for step in range(total + 2)]
    top = course.index(max(course))
    assert all(0 <= factor <= 1 for factor in course) and course[total:] == [0, 0]
    assert course[: top + 1] == sorted(course[: top + 1]) and course[top:] == sorted(course[top:], reverse=True)


def test_a_warm_up_in_steps_is_one_as_a_share():
    assert [at(step, 200, 20) for step in range(200)] == [at(step, 200, 0.1) for step in range(200)]
    assert at(0, 10, 0) == 1 and at(0, 10, 1) == 0 and at(1, 10, 1) == 1


@pytest.mark.parametrize("warmup", [-1, 11])
def test_a_warm_up_longer_than_the_training_is_refused(warmup):
    with pytest.raises(ValueError, match="in 10 steps"):
        warm_up_length(10, warmup)


def test_a_warm_up_may_begin_above_zero():
    assert [at(step, 100, 4, warmup_from=0.2) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_by_epoch_the_rate_changes_between_epochs_alone():
    course = [at(step, 60, 2, "cosine", per_epoch=10, unit="epoch") for step in range(60)]
    assert all(course[step] == course[step // 10 * 10] for step in range(60))
    assert course[::10] == pytest.approx([0, 0.5, 1, 0.853553, 0.5, 0.146447], abs=1e-6)


METHODS = Path(os.environ.get("MALS_METHODS_GOLDEN") or Path(__file__).parents[2] / "shared/golden/methods")
EPOCHS = {
    "irra": {"schedule": "cosine", "unit": "epoch", "warmup": 5, "warmup_from": 0.1},
    "lgur": {"schedule": "multistep", "warmup": 0, "milestones": (19, 39, 49)},
    "ssan": {"schedule": "multistep", "warmup": 0, "milestones": (20, 40)},
}


@pytest.mark.skipif(not METHODS.is_dir(), reason="the vectors of the other methods are not here")
@pytest.mark.parametrize("name", EPOCHS)
def test_the_schedules_of_other_methods_equal_those_of_their_code(name):
    expected = json.loads((METHODS / name / "facts.json").read_text())["lr_factor_per_epoch"]
    assert [at(epoch * 7, 60 * 7, per_epoch=7, **EPOCHS[name]) for epoch in range(60)] == pytest.approx(expected, abs=1e-9)


def test_rate_and_decay_of_a_rule_hold_separately():
    rules = [
        ParameterRule("head", rate=5),
        ParameterRule("bias", rate=2, decay=0),
        ParameterRule("head", rate=4),
        ParameterRule("qkv", decay=3),
    ]
    by_name = {}
    tower = Tower()
    for group in groups(tower, rules, rate=1.0, decay=0.1):
        by_name |= {id(parameter): (group["peak"], group["weight_decay"]) for parameter in group["params"]}
    of = {name: by_name.get(id(parameter)) for name, parameter in tower.named_parameters()}
    assert of["head.weight"] == (4, 0.1) and of["head.bias"] == (4, 0) and of["norm.bias"] == (2, 0) and of["norm.weight"] == (1, 0.1)
    assert of["qkv.weight"] == (1, pytest.approx(0.3)) and of["qkv.bias"] == (2, pytest.approx(0.3))


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
    made = groups(
        tower, [ParameterRule("head|qkv", rate=3, decay=5), ParameterRule("head", rate=2, decay=1), NO_DECAY], rate=1e-4, decay=0.01
    )
    place = {id(parameter): (group["peak"], group["weight_decay"]) for group in made for parameter in group["params"]}
    settings_of = {name: place.get(id(parameter)) for name, parameter in tower.named_parameters()}
    undecayed = ["norm.weight", "norm1.weight", "LayerNorm.weight", "relative_position_bias_table"]
    undecayed += ["norm.bias", "norm1.bias", "LayerNorm.bias", "final.bias"]
    assert settings_of == {
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
    optimizer = torch.optim.AdamW(groups(tower, [ParameterRule("head", rate=2), NO_DECAY], rate=1e-4, decay=0.01))
    assert {group["lr"] for group in optimizer.param_groups} == {1e-4, 2e-4}
    for share in (0.5, 0.0, 0.25):
        set_rate(optimizer, share)
        assert {group["lr"] for group in optimizer.param_groups} == {1e-4 * share, 2e-4 * share}
