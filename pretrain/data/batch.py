"""What the data loader gives to a training method.

Shapes: B rows of the batch, S sentences, L tokens of the longest caption, A attributes.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Text:
    """Token ids of texts, padded to the same length."""

    ids: Tensor  # [B, L] int64
    mask: Tensor  # [B, L] bool, True for real tokens, False for padding


@dataclass(frozen=True)
class Batch:
    """The rows of one step; a field is None where the method's `DataNeeds` do not ask for it."""

    rows: Tensor  # [B] int64: the row's number in the data
    persons: Tensor  # [B] int64: identities; rows of one identity are positives of each other
    images: Tensor  # [B, 3, H, W] float32, normalised
    text: Text  # the captions; [B, 0] where none are needed
    masked: Text | None = None  # the same captions with some tokens masked
    targets: Tensor | None = None  # [B, L] int64: the ids of the masked tokens, -100 elsewhere
    second_text: Text | None = None  # a second caption of the row
    labels: Tensor | None = None  # [B, A] int64: attribute labels 0 or 1, -1 if unknown
    token_draws: Tensor | None = None  # [B, K, T] float64 in [0, 1): random numbers of T tokens, the longest caption that is allowed
    weights: Tensor | None = None  # [B] float32: how much the row counts in the losses; their mean over all rows is 1
    negative: Text | None = None  # a wrong caption of the row, its own where `negated` is False; as wide as the caption
    negated: Tensor | None = None  # [B] bool: the row has a wrong caption
    partner_images: Tensor | None = None  # [B, 3, H, W]: of the rows' hard partners, the own image where `partnered` is False
    partner_text: Text | None = None  # their captions, the own where `partnered` is False
    partnered: Tensor | None = None  # [B] bool: the row has a hard partner
    sentences: Text | None = None  # [S, L]: short sentences about the labels of the rows, as many of each row
    claims: Tensor | None = None  # [S, A] int64: what the sentences claim, 0 or 1, -1 if nothing
    epoch: int = 0  # counted from 0
    host: "Batch | None" = None  # the batch without its images as it was before it was moved; None where it is unknown, see `on_host`

    def to(self, device: Any) -> "Batch":
        """The same batch on another device; `host` is this one, without images, if it has none.

        A GPU's copy is ordered, and not waited for; a copy on the host is there when this returns.
        """
        ordered = torch.device(device).type == "cuda"
        host = self.host or replace(self, images=self.images[:0], partner_images=None)
        moved: dict[str, Any] = {"host": host}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                moved[name] = value.to(device, non_blocking=ordered)
            elif isinstance(value, Text):
                moved[name] = Text(value.ids.to(device, non_blocking=ordered), value.mask.to(device, non_blocking=ordered))
        return replace(self, **moved)

    def tensors(self) -> list[Tensor]:
        """The tensors of the batch, without those of `host`."""
        values = [value for name, value in vars(self).items() if name != "host"]
        texts = [part for value in values if isinstance(value, Text) for part in (value.ids, value.mask)]
        return [*(value for value in values if isinstance(value, Tensor)), *texts]

    def on_host(self) -> "Batch":
        """The batch without its images on the host, which need not be waited for where the loader made it."""
        return self.host if self.host is not None else replace(self, images=self.images[:0], partner_images=None).to("cpu")
