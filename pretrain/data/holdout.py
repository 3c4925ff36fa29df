"""Persons of the training split that are kept from the training, where a data set has no val of its own."""

import numpy as np
import torch

from mals.errors import UserError
from pretrain.data.rows import ImageTextPairs

HELD = 0x4E1D  # sets the choice of persons apart from other random numbers


def parted(pairs: ImageTextPairs, share: float, seed: int) -> tuple[ImageTextPairs, ImageTextPairs]:
    """The rows that are trained on, and those of a share of the persons, the same for the same seed; UserError where none is left."""
    persons = pairs.persons.unique()
    count = round(share * len(persons))
    if not 0 < count < len(persons):
        raise UserError(f"a share of {share:g} of {len(persons):,} persons is {count:,}; some have to be trained on, and some held out")
    chosen = torch.from_numpy(np.random.default_rng((seed, HELD)).permutation(len(persons))[:count])
    held = torch.isin(pairs.persons, persons[chosen])
    return pairs.subset(~held), pairs.subset(held)
