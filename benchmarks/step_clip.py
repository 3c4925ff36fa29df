"""A batch for methods on CLIP's towers, and their settings, for `benchmarks.step`."""

from typing import Any

import numpy as np
import torch
from torch.optim import Adam

from mals.settings import merge
from pretrain import settings as training_settings
from pretrain.config import Training
from pretrain.data.needs import DataNeeds
from pretrain.data.tokenizers import Tokenizer
from pretrain.method import Batch, Method, Text
from pretrain.schedule import groups

LENGTHS = (20, 30)  # words of the shortest and the longest caption
PERSONS = 11_003  # of CUHK-PEDES


def settings(preset: str, method: str, dtype: str, compiled: bool = False, **top_level: Any) -> Training:
    """A preset from scratch with CLIP's own tokenizer; `top_level` are further settings."""
    scratch = {"preset": preset, "dtype": dtype, "compile": compiled, "data": {"tokenizer": None}, method: {"start": None}}
    return training_settings.check(merge(scratch, top_level), "benchmark")


def adam(config: Training, method: Method) -> Adam:
    """The optimizer of the published way, which is not fused."""
    o = config.optimizer
    return Adam(groups(method, method.rules, rate=o.lr, decay=o.decay), lr=o.lr, betas=o.betas, eps=o.eps)


def batch_of(config: Training, needs: DataNeeds, tokenizer: Tokenizer, rows: int, seed: int = 0, longest: int = LENGTHS[1]) -> Batch:
    """Noise for images, captions of any words, at most `longest`, with padding to the longest width that is allowed, masked by the method's
    rule; a person each."""
    draw = np.random.default_rng(seed)
    width = tokenizer.max_tokens
    lengths = torch.from_numpy(draw.integers(LENGTHS[0], longest + 1, rows)).clamp(max=width - 2)
    mask = torch.arange(width) < lengths[:, None] + 2
    assert tokenizer.start is not None and tokenizer.end is not None
    ids = torch.from_numpy(draw.integers(1, tokenizer.size - 3, mask.shape)).where(mask, tokenizer.pad)
    ids[:, 0] = tokenizer.start
    ids[torch.arange(rows), lengths + 1] = tokenizer.end
    text = Text(ids, mask)
    masked, targets = None, None
    if (rule := needs.masking) is not None:
        masked, targets = rule.mask(text, draw.random((rows, rule.count(width))), tokenizer)
    images = torch.from_numpy(draw.standard_normal((rows, 3, config.data.height, config.data.width), np.float32))
    return Batch(torch.arange(rows), torch.arange(rows), images, text, masked, targets)
