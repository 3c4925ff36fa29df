"""What a step says of itself, and whether its update is made. Its refusals in a training are in test_bad_training.py."""

import math

import pytest
import torch
from torch import nn

from mals.errors import CollectiveError
from pretrain.step_report import StepReport, limit_gradient, update_if


def report(step, *numbers):
    return StepReport.send(step, ("itc", "itm"), torch.tensor(numbers))


def test_a_report_has_the_losses_by_name_and_the_counts():
    losses, counts = report(3, 1.5, 2.5, 0.5, 4.0, 9.0).read()
    assert losses == {"itc": 1.5, "itm": 2.5} and counts == [0.5, 4.0]


@pytest.mark.parametrize(
    ("step", "numbers", "message"),
    [
        (5, (1.0, math.nan, 0.0, 2.0), r"the loss itm is not finite at step 5; nothing was updated: in another --out, lower"),
        (0, (math.inf, math.nan, 0.0, math.nan), r"the loss itc, itm is not finite at step 0; nothing was updated: look at data.std"),
        (1234, (1.0, 1.0, 0.0, math.inf), r"the gradient is not finite at step 1,234; nothing was updated"),
    ],
)
def test_what_is_not_finite_is_an_error_with_the_step(step, numbers, message):
    with pytest.raises(CollectiveError, match=message):
        report(step, *numbers).read()


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_number_of_the_gradient_that_is_not_finite_is_noticed(clip, value):
    layer = nn.Linear(3, 2)
    layer.weight.grad, layer.bias.grad = torch.full((2, 3), 3e38), torch.ones(2)
    assert clip is not None or limit_gradient(layer, clip).isfinite()  # large ones are no reason
    layer.weight.grad[1, 2] = value
    assert not limit_gradient(layer, clip).isfinite()


@pytest.mark.parametrize("fused", [True, False])
def test_an_update_is_made_if_it_is_finite_and_otherwise_leaves_weights_and_moments(fused):
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), fused=fused)
    states = []
    for finite in (True, False, True):
        for parameter in layer.parameters():
            parameter.grad = torch.ones_like(parameter) if finite else torch.full_like(parameter, math.nan)
        update_if(torch.tensor(finite), optimizer)
        moments = [value.clone() for state in optimizer.state.values() for value in state.values()]
        states.append([*moments, *(parameter.detach().clone() for parameter in layer.parameters())])
    first, skipped, second = states
    assert all(map(torch.equal, first, skipped)) and not any(map(torch.equal, skipped, second))
