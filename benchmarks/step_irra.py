"""The step of IRRA for `benchmarks.step`: its sizes, a batch, and the repeated work of the authors' code."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.step_case import Case
from benchmarks.step_clip import PERSONS, adam, batch_of, settings
from pretrain import losses
from pretrain.method import Batch
from pretrain.methods.irra import Irra

PRESET = "irra-cuhk"  # the full size


def case(preset: str, dtype: str, compiled: bool, rows: int, **top_level: Any) -> Case:
    """What is measured: 195 M parameters at full size, images of 384x128, captions of 77 tokens with padding."""
    config = settings(preset, "irra", dtype, compiled, **top_level)
    tokenizer = Irra.tokenizer(config, ())
    torch.manual_seed(config.seed)
    method = Irra(config, tokenizer, PERSONS)
    another = partial(batch_of, config, method.needs, tokenizer, rows)
    return Case(config, method, another(), Published(method), adam(config, method), tokenizer, another)


class Published(nn.Module):
    """The three losses of IRRA with the work done as often as in the authors' code (docs/papers/irra.md).

    Two passes over the same masked captions, one for SDM and ID and one for the masked words; the vocabulary's scores for all 77 tokens of
    a caption, padding too. Attention is ours.
    """

    def __init__(self, method: Irra) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """See pretrain.method.Method."""
        method, weights = self.method, self.method.own.loss_weights
        assert batch.masked is not None and batch.targets is not None
        image = method.base_model.encode_image(batch.images)
        text = method.base_model.encode_text(batch.masked.ids).pooled
        assert image.pooled is not None and text is not None
        again = method.base_model.encode_text(batch.masked.ids).tokens
        logits = method.mlm_head(method.cross_encode(again, image.tokens))
        terms = {
            "sdm": method.match_pairs(image.pooled, text, batch),
            "id": losses.identity(method.classifier(image.pooled), method.classifier(text), batch.persons),
            "mlm": losses.masked_words(logits, batch.targets),
        }
        return {name: getattr(weights, name) * loss for name, loss in terms.items()}
