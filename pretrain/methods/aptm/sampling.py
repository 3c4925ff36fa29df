"""Random choices of APTM that follow from the seed and the step, the same for any number of ranks, and nothing is read back to the host."""

import torch
from torch import Tensor

from pretrain import ranks

PROBABILITY_FLOOR = 1e-5  # the authors' constant: no column is impossible


def draw(scores: Tensor, same: Tensor, random: Tensor) -> Tensor:
    """For each row of scores [B, N] a column with a probability by softmax, none of the same person where there are others.

    `random` [B] in [0, 1) picks the column.
    """
    likely = scores.double().softmax(1).nan_to_num(0)  # the loop reports losses that are no numbers
    likely = likely.add(PROBABILITY_FLOOR).masked_fill(same, 0)
    sums = torch.where(same.all(1, keepdim=True), 1.0, likely).cumsum(1)
    return (sums <= random[:, None] * sums[:, -1:]).sum(1).clamp(max=scores.shape[1] - 1)


def own_slice(own: Tensor) -> Tensor:
    """Rows of all ranks, of which only this one's have a gradient: 1 / ranks of the whole one, as the authors' gather gives."""
    everyone = ranks.gather_detached(own.detach())
    if len(everyone) == len(own):
        return own
    first = ranks.rank() * len(own)
    return torch.cat([everyone[:first], own, everyone[first + len(own) :]])
