"""In which numbers a method computes."""

from typing import Literal

import torch

Dtype = Literal["fp32", "bf16"]  # of products; losses are fp32


def numbers(device: torch.device, dtype: Dtype) -> torch.autocast:
    """Products in `dtype`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bf16")
