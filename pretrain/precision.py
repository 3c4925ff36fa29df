"""In which numbers a method computes."""

from typing import Literal

import torch
from torch import Tensor

Dtype = Literal["fp32", "bf16"]  # of products; losses are fp32


def numbers(device: torch.device, dtype: Dtype) -> torch.autocast:
    """Products in `dtype`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bf16")


def cosines(one: Tensor, two: Tensor) -> Tensor:
    """Rows of length 1, [N, D] and [M, D], against each other: [N, M], in float32 also among products in bf16, whose three digits tie."""
    with torch.autocast(one.device.type, enabled=False):
        return one.float() @ two.float().T
