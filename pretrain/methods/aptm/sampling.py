"""Random choices of APTM that follow from the seed and the step, the same for any number of ranks, and nothing is read back to the host."""

import numpy as np
import torch
from torch import Tensor

from pretrain import ranks

PROBABILITY_FLOOR = 1e-5  # the authors' constant: no column is impossible


def generator(device: torch.device, *numbers: int) -> torch.Generator:
    """A generator whose random numbers are a function of `numbers`."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) & ((1 << 63) - 1)
    return torch.Generator(device).manual_seed(seed)


def own_rows(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Numbers in [0, 1) for each row of this rank, [B, columns], which follow from the row's place in the global batch."""
    own = slice(ranks.rank() * rows, (ranks.rank() + 1) * rows)
    everyone = ranks.world_size() * rows
    return torch.rand(everyone, columns, generator=generator, device=generator.device, dtype=torch.float64)[own]


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
