"""Identities of the training split that are held out of the training, for data sets without a val split."""

import numpy as np
import torch

from mals.errors import UserError
from pretrain.data.rows import ImageTextPairs

HOLD_OUT = 0x4E1D  # separates this random choice from other random numbers of the same seed


def split_identities(dataset: ImageTextPairs, share: float, seed: int) -> tuple[ImageTextPairs, ImageTextPairs]:
    """The rows to train on, and the rows of a share (0..1) of the identities, the same for the same seed.

    Raises UserError if no identity is left for either part.
    """
    identities = dataset.persons.unique()
    count = round(share * len(identities))
    if not 0 < count < len(identities):
        raise UserError(
            f"a share of {share:g} of {len(identities):,} identities is {count:,}; some have to be trained on, and some held out"
        )
    chosen = torch.from_numpy(np.random.default_rng((seed, HOLD_OUT)).permutation(len(identities))[:count])
    held_out = torch.isin(dataset.persons, identities[chosen])
    return dataset.subset(~held_out), dataset.subset(held_out)
