"""The classifier of persons: its initial weights, and the loss that follows from them."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from pretrain.towers.persons import person_classifier


def test_the_first_loss_is_the_logarithm_of_the_number_of_persons() -> None:
    torch.manual_seed(0)
    layer = person_classifier(512, 3_102)
    assert float(layer.weight.detach().std()) == pytest.approx(0.001, rel=0.01) and not layer.bias.any()
    loss = cross_entropy(layer(torch.randn(16, 512)), torch.arange(16))
    assert loss.item() == pytest.approx(math.log(3_102), abs=0.02)
