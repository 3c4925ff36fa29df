"""Weights are finite, or the tensor is named."""

import pytest
import torch

from mals.errors import UserError
from mals.finite import require_finite


def test_masks_integers_and_empty_tensors_are_no_reason_to_refuse() -> None:
    state = {
        "attn_mask": torch.full((4, 4), -torch.inf).triu(1),
        "position_ids": torch.arange(4),
        "nothing": torch.empty(0),
        "eight": torch.ones(3).to(torch.float8_e4m3fn),
        "half": torch.ones(3).half(),
    }
    require_finite(state, "file")
    no_masks = [[0, -torch.inf, 1], [torch.inf, 0], [0, -torch.inf], [-torch.inf]]  # a bias may be all 0 but for the wrong number
    for bad in (*map(torch.tensor, no_masks), torch.tensor([0, torch.nan]).bfloat16()):
        with pytest.raises(UserError, match=r"file: 1 of the \d numbers of bad"):
            require_finite(state | {"bad": bad}, "file")
