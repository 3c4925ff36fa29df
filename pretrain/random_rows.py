"""Random numbers of a step's rows, which follow from a seed, the step and the row's place in the global batch: the same for any number of
ranks, and nothing is read back to the host.

Shapes: B rows of this rank.
"""

import numpy as np
import torch
from torch import Tensor

from pretrain import ranks


def generator(device: torch.device, *numbers: int) -> torch.Generator:
    """A generator whose random numbers are a function of `numbers`."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) & ((1 << 63) - 1)
    return torch.Generator(device).manual_seed(seed)


def own_rows(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Numbers in [0, 1) for each row of this rank, [B, columns] float64, which follow from the row's place in the global batch."""
    own = slice(ranks.rank() * rows, (ranks.rank() + 1) * rows)
    everyone = ranks.world_size() * rows
    return torch.rand(everyone, columns, generator=generator, device=generator.device, dtype=torch.float64)[own]
