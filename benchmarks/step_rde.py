"""The step of RDE for `benchmarks.step`: its sizes, a batch, and the repeated work of the authors' code."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from benchmarks.step_case import Case
from benchmarks.step_clip import LENGTHS, adam, batch_of, settings
from pretrain.data.tokenizers.base import MULTIPLE
from pretrain.method import Batch, Text
from pretrain.methods.rde import Rde
from pretrain.towers.clip import Block

PRESET = "rde-cuhk"  # the full size


def case(preset: str, dtype: str, compiled: bool, rows: int, **top_level: Any) -> Case:
    """What is measured: 152 M parameters at full size, images of 384x128, captions as wide as the longest of them; every row counts."""
    config = settings(preset, "rde", dtype, compiled, **top_level)
    tokenizer = Rde.tokenizer(config, ())
    torch.manual_seed(config.seed)
    method = Rde(config, tokenizer, None)
    method.confident = torch.ones(rows, dtype=torch.bool)

    def another(seed: int = 0, longest: int = LENGTHS[1]) -> Batch:
        batch = batch_of(config, method.needs, tokenizer, rows, seed, longest)
        return narrowed(batch, min(tokenizer.max_tokens, -(-int(batch.text.mask.sum(1).max()) // MULTIPLE) * MULTIPLE))

    return Case(config, method, another(), Published(method, tokenizer.max_tokens), adam(config, method), tokenizer, another)


def narrowed(batch: Batch, width: int) -> Batch:
    """The batch with captions of another width, padded or cut."""

    def resized(text: Text) -> Text:
        more = (0, width - text.ids.shape[1])
        return Text(pad(text.ids, more), pad(text.mask, more))

    return replace(batch, text=resized(batch.text), masked=None if batch.masked is None else resized(batch.masked))


class Published(nn.Module):
    """The two losses of RDE with the work done as often as in the authors' code (docs/papers/rde.md).

    Captions have 77 tokens, most of them padding, and every block of both towers returns its attention, of which the last one's is used.
    """

    def __init__(self, method: Rde, width: int) -> None:
        super().__init__()
        self.method, self.width = method, width

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """See pretrain.method.Method."""
        with attention_of_all_blocks(self.method):
            return self.method(narrowed(batch, self.width), step)


@contextmanager
def attention_of_all_blocks(method: nn.Module) -> Iterator[None]:
    """Every block computes and averages its attention."""
    with ExitStack() as stack:
        for block in method.modules():
            if isinstance(block, Block):
                handle = block.register_forward_pre_hook(lambda block, arguments: (*arguments[:2], True))
                stack.callback(handle.remove)
        yield
