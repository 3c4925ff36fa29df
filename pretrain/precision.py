"""In which numbers a method computes, and by which attention."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

Dtype = Literal["fp32", "bf16"]  # of products; losses are fp32


def numbers(device: torch.device, dtype: Dtype) -> torch.autocast:
    """Products in `dtype`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bf16")


@contextmanager
def training(device: torch.device, dtype: Dtype) -> Iterator[None]:
    """Products in `dtype`; on a CPU attention as plain products in bf16, since its fused backward takes three times as long there."""
    plain = device.type == "cpu" and dtype == "bf16"
    with numbers(device, dtype), sdpa_kernel(SDPBackend.MATH) if plain else nullcontext():
        yield
