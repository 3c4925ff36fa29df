"""Losses as pure functions: tensors in, a scalar in float32 out, whatever the precision around them.

Shapes: B own rows, N rows of all ranks, D width, A attributes, P prompts, R pairs, M masked places, V vocabulary.
Prompt 2a + v says that attribute a has the value v. Nothing here reads a value back to the host.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100  # a target that does not count

Arguments = ParamSpec("Arguments")


def _in_float32(loss: Callable[Arguments, Tensor]) -> Callable[Arguments, Tensor]:
    """The loss computed in float32, outside of autocast."""

    @functools.wraps(loss)
    def exact(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Tensor:
        def widen(value: object) -> object:
            return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value

        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        with torch.autocast(tensors[0].device.type, enabled=False):
            return loss(*map(widen, args), **{name: widen(value) for name, value in kwargs.items()})  # type: ignore[arg-type]

    return exact


@_in_float32
def itc(image: Tensor, text: Tensor, images: Tensor, texts: Tensor, same: Tensor, temperature: Tensor | float) -> Tensor:
    """Contrast of own images and texts [B, D] with the texts and images of all ranks [N, D]; `same` [B, N] marks pairs of one person.

    Features are of length 1. All of a row's pairs of one person, of which it has at least itself, share the target equally.
    The mean over ranks of this, with `images` and `texts` from `ranks.gather`, is the loss of one process over all rows.
    """
    target = same / same.sum(1, keepdim=True)
    to_text = F.cross_entropy(image @ texts.T / temperature, target)
    to_image = F.cross_entropy(text @ images.T / temperature, target)
    return (to_text + to_image) / 2


@_in_float32
def matching(logits: Tensor, labels: Tensor, count: Tensor | None = None) -> Tensor:
    """Whether pairs belong together: logits [R, 2], labels [R] with 1 for those that do, -100 for pairs that do not count.

    The mean over the pairs; `count` is their number as a mean over ranks, as in `masked_words`.
    """
    total = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    return _per(total, (labels != IGNORED).sum() if count is None else count)


@_in_float32
def masked_words(logits: Tensor, targets: Tensor, count: Tensor | None = None) -> Tensor:
    """Masked tokens: logits [..., V], targets [...] with -100 for tokens that are not masked; 0 if none is.

    The mean over the targets; with `count`, their number as a mean over ranks, ranks with more targets weigh more, as in one process.
    """
    total = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction="sum")
    return _per(total, (targets != IGNORED).sum() if count is None else count)


@_in_float32
def attribute_contrast(
    image: Tensor,
    prompts: Tensor,
    labels: Tensor,
    temperature: Tensor | float,
    smoothing: float = 0.0,
    counts: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """IAC: images [B, D] between the two prompts of each attribute, of prompts [2A, D]; labels [B, A] in {-1, 0, 1}.

    Features are of length 1. An attribute's loss is a mean over the images whose label is known (label not -1), 0 without any;
    the result is the mean of these over all A. With `counts` [A], how many labels are known as a mean over ranks, the gradient is that
    of one process; without, each rank has its own mean, as published. `weights` [B, A] are those of the labels, all 1 by default.
    """
    logits = (image @ prompts.T / temperature).unflatten(1, (-1, 2))
    return _over_known(logits, labels, smoothing, counts, weights)


@_in_float32
def attribute_matching(
    logits: Tensor, labels: Tensor, smoothing: float = 0.0, counts: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    """IAM: whether prompts describe images, logits [B, P, 2], labels [B, P] in {-1, 0, 1} of `prompt_labels`; means as in IAC."""
    return _over_known(logits, labels, smoothing, counts, weights)


@_in_float32
def classified(logits: Tensor, labels: Tensor, count: Tensor | None = None) -> Tensor:
    """Whether an attribute has its second value: logits [B, A], labels [B, A] in {-1, 0, 1}; the mean over those known, 0 if none is.

    With `count`, how many are known as a mean over ranks, the gradient is that of one process.
    """
    known = labels >= 0
    each = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0).to(logits.dtype), reduction="none")
    return _per(each.masked_fill(~known, 0).sum(), known.sum() if count is None else count)


def prompt_labels(labels: Tensor) -> Tensor:
    """[B, A] -> [B, 2A]: 1 where a prompt describes the image, 0 where it does not, -1 where that is unknown."""
    both = torch.stack([1 - labels, labels], dim=2)
    return both.masked_fill((labels < 0)[..., None], -1).flatten(1)


def _over_known(logits: Tensor, labels: Tensor, smoothing: float, counts: Tensor | None, weights: Tensor | None) -> Tensor:
    """Cross entropy of logits [B, K, 2], for each of the K over its labels that are not -1, then over all K."""
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-1, reduction="none", label_smoothing=smoothing)
    each = each.view_as(labels) if weights is None else each.view_as(labels) * weights
    known = (labels >= 0).sum(0) if counts is None else counts
    return _per(each.sum(0), known).mean()


def _per(total: Tensor, count: Tensor) -> Tensor:
    """total / count, 0 where there is nothing to count."""
    return total / torch.where(count > 0, count, 1)
