"""The mean of the weights over the last steps of a training, which generalises better than the last ones (Izmailov et al., 2018).

It lies in the optimizer's state beside AdamW's own, and so in every checkpoint.
"""

import torch
from torch import Tensor
from torch.optim.swa_utils import get_swa_multi_avg_fn

MEAN = "mean"


def first(share: float, steps: int) -> int:
    """The step from which on the weights count, for the last `share` of all, at least the last step; `steps` for a share of 0."""
    return steps - max(1, round(share * steps)) if share else steps


@torch.no_grad()
def add(optimizer: torch.optim.Optimizer, before: int) -> None:
    """Take the weights as they are into the mean of `before` others."""
    weights = _trained(optimizer)
    if before == 0:
        for one in weights:
            optimizer.state[one][MEAN] = one.detach().clone()
    else:
        get_swa_multi_avg_fn()([optimizer.state[one][MEAN] for one in weights], [one.detach() for one in weights], before)


@torch.no_grad()
def put(optimizer: torch.optim.Optimizer) -> None:
    """Give the weights their mean."""
    for one in _trained(optimizer):
        one.copy_(optimizer.state[one][MEAN])


def _trained(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Weights that have been updated: those that no loss needs have no state."""
    return [one for group in optimizer.param_groups for one in group["params"] if optimizer.state.get(one)]
