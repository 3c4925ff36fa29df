"""Heads that compute in float32 also among products in bf16 or fp16: they are small, and embeddings and logits need their digits."""

import torch
from torch import Tensor, nn


class Float32Linear(nn.Linear):
    """A linear layer whose input, product and output are float32, under autocast too."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., D]."""
        kind = x.device.type
        if not torch.is_autocast_enabled(kind):
            return super().forward(x)
        with torch.autocast(kind, enabled=False):
            return super().forward(x.float())
