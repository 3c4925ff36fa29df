"""In which numbers a method computes, and that it computes the same ones again."""

from typing import Literal

import torch
from torch import Tensor

from mals.errors import UserError

Dtype = Literal["fp32", "tf32", "bf16", "fp16"]  # of products; losses are fp32
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, dtype: Dtype) -> torch.autocast:
    """Products in bf16 or fp16 where that is asked for."""
    return torch.autocast(device.type, HALVES.get(dtype, torch.bfloat16), enabled=dtype in HALVES)


def loss_scaler(device: torch.device, dtype: Dtype) -> torch.amp.GradScaler:
    """For fp16 a factor of the loss that keeps small gradients above fp16's smallest number; an update that overflows is left out, with
    half the factor afterwards. For others it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=dtype == "fp16")


def refuse_missing(device: torch.device, dtype: Dtype) -> None:
    """UserError for bf16 on a GPU that has none, and would compute it many times slower."""
    if device.type == "cuda" and dtype == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name(device)
        raise UserError(f"{name} has no bf16: set dtype=fp16, which scales the loss, or dtype=fp32")


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


def finite(outputs: Tensor) -> Tensor:
    """What a method has computed; UserError where it is not finite, which has no rank."""
    if not outputs.isfinite().all():
        bad = int((~outputs.isfinite()).flatten(1).any(1).sum())
        raise UserError(
            f"the method gives {bad:,} of {len(outputs):,} images or sentences no finite numbers, so they cannot be ranked, though its "
            "weights are finite; --set dtype=fp32 computes with the largest range"
        )
    return outputs
