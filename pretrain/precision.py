"""In which numbers a method computes, and that it computes the same ones again."""

from typing import Literal

import torch
from torch import Tensor

Dtype = Literal["fp32", "tf32", "bf16"]  # of products; losses are fp32


def autocast(device: torch.device, dtype: Dtype) -> torch.autocast:
    """Products in bf16 where that is asked for."""
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bf16")


def set_product_precision(device: torch.device, dtype: Dtype) -> None:
    """Let products of this whole process have the ten binary places of NVIDIA's tensor cores for tf32; on a CPU tf32 is fp32."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = dtype == "tf32"


def use_deterministic_algorithms(device: torch.device) -> None:
    """Let a CPU give the same bits for the same step with several threads too, which else add to shared places in any order."""
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # all of ours is written before it is read


def cosines(one: Tensor, two: Tensor) -> Tensor:
    """Rows of length 1, [N, D] and [M, D], against each other: [N, M], in float32 also among products in bf16, whose three digits tie."""
    with torch.autocast(one.device.type, enabled=False):
        return one.float() @ two.float().T
