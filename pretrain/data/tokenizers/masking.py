"""Which tokens of a caption are masked, and what stands in their places: rules as objects, functions of given random numbers.

Shapes: B captions, L tokens of the longest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrain.data.batch import Text

if TYPE_CHECKING:
    from pretrain.data.tokenizers.base import Tokenizer

Masked = tuple[Text, Tensor]  # the captions with masked tokens, and [B, L] int64: the ids of these tokens, -100 elsewhere
IGNORED = -100  # the target of a token that is not masked, as cross entropy ignores it
LEAST = np.finfo(np.float64).tiny  # a share of 0 divides nothing
AS_MASK, AS_RANDOM = 0.8, 0.1  # of the masked tokens: replaced by the mask token, by a random one; the rest stays (Devlin et al., 2019)


class MaskingRule(Protocol):
    """Masks captions. A rule must be picklable."""

    def count(self, max_tokens: int) -> int:
        """How many random numbers `mask` takes for a caption."""
        ...

    def mask(self, text: Text, random: NDArray[np.float64], tokenizer: Tokenizer) -> Masked:
        """Mask captions; `random` [B, count(tokenizer.max_tokens)] are in [0, 1)."""
        ...


@dataclass(frozen=True)
class WholeWordMasking:
    """Masks whole words, alone or with the words after them, and never the start token: the rule of X-VLM (Zeng et al., 2022).

    `count_padding` takes padding for tokens, as the published code does: the captions must be padded to `max_tokens` then.
    """

    share: float = 0.25  # of a caption's tokens
    most: int = 10  # tokens of a caption
    ngram_share: float = 0.2  # of the masked words are masked together with the tokens after them
    ngrams: tuple[int, int] = (2, 3)  # fewest and most tokens that are then masked together
    count_padding: bool = False

    def count(self, max_tokens: int) -> int:
        return 5 * max_tokens  # a token's n-gram, its turn, its chance to stay if too many are masked, its replacement, the random token

    def mask(self, text: Text, random: NDArray[np.float64], tokenizer: Tokenizer) -> Masked:
        ids, wide = text.ids.numpy(), text.ids.shape[1]
        numbers = random.reshape(len(ids), 5, tokenizer.max_tokens)[..., :wide]
        lengths = [wide] * len(ids) if self.count_padding else (text.mask.sum(1) - int(tokenizer.end is not None)).tolist()
        hidden = self._hidden(tokenizer.continues[ids], lengths, numbers[:, :3])
        replacement, others = numbers[:, 3], (numbers[:, 4] * tokenizer.size).astype(np.int64)
        shown = np.where(replacement < AS_MASK, tokenizer.mask_id, np.where(replacement < AS_MASK + AS_RANDOM, others, ids))
        return _masked(text, hidden, shown)

    def _hidden(self, continues: NDArray[np.bool_], lengths: Sequence[int], random: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which tokens are masked [B, L], of captions of some lengths; `random` is [B, 3, L]."""
        share, turn, rest = random.swapaxes(0, 1)
        fewest, most = self.ngrams
        together = np.where(share < self.ngram_share, fewest + (share / self.ngram_share * (most - fewest + 1)).astype(np.int64), 1)
        hidden = np.zeros(continues.shape, bool)
        for row, length in enumerate(lengths):
            if length < 2:
                continue
            needed = min(self.most, max(1, round(length * self.share)))
            order = turn[row, 1:length].argsort() + 1
            at = _words_at(order.tolist(), together[row].tolist(), continues[row].tolist(), length, needed)
            hidden[row, at if len(at) <= needed else np.array(at)[rest[row, at].argsort()[:needed]]] = True
        return hidden


def _words_at(order: Sequence[int], together: Sequence[int], continues: Sequence[bool], length: int, needed: int) -> list[int]:
    """The positions of whole words, taken in an order until they are at least as many as needed."""
    positions: dict[int, None] = {}
    for at in order:
        if len(positions) >= needed:
            break
        if at not in positions:
            first, last = at, min(at + together[at], length)
            while continues[first] and first > 1:
                first -= 1
            while last < length and continues[last]:
                last += 1
            positions |= dict.fromkeys(range(first, last))
    return list(positions)


@dataclass(frozen=True)
class TokenMasking:
    """Masks each token with the same probability, and the first one where none was drawn: the rule of IRRA (Jiang and Ye, CVPR 2023)."""

    share: float = 0.15

    def count(self, max_tokens: int) -> int:
        return 2 * max_tokens  # whether and how a token is masked, and the random token

    def mask(self, text: Text, random: NDArray[np.float64], tokenizer: Tokenizer) -> Masked:
        return self.mask_with(text, random, tokenizer, np.full(text.ids.shape, self.share))

    def mask_with(self, text: Text, random: NDArray[np.float64], tokenizer: Tokenizer, shares: NDArray[np.float64]) -> Masked:
        """As `mask`, with a probability for each token, [B, L]: for rules that mask nouns more often, for instance."""
        ids = text.ids.numpy()
        numbers = random.reshape(len(ids), 2, tokenizer.max_tokens)[..., : ids.shape[1]]
        ordinary = np.setdiff1d(np.arange(tokenizer.size), tokenizer.special)
        known = np.isin(ids, tokenizer.special, invert=True)
        hidden, way = known & (numbers[:, 0] < shares), numbers[:, 0] / np.maximum(shares, LEAST)
        none = known.any(1) & ~hidden.any(1)  # a caption without any ordinary token stays as it is
        first = known[none].argmax(1)
        hidden[none, first], way[none, first] = True, 0.0
        others = ordinary[(numbers[:, 1] * len(ordinary)).astype(np.int64)]
        shown = np.where(way < AS_MASK, tokenizer.mask_id, np.where(way < AS_MASK + AS_RANDOM, others, ids))
        return _masked(text, hidden, shown)


@dataclass(frozen=True)
class RemovalMasking:
    """Masks, exchanges or removes each token with the same probability; later tokens move up: the rule of RDE (Qin et al., CVPR 2024).

    Nothing is to be predicted from such captions: all targets are -100.
    """

    share: float = 0.2
    as_mask: float = 0.6  # of the chosen tokens: replaced by the mask token
    as_random: float = 0.2  # by a random one; the rest is removed

    def count(self, max_tokens: int) -> int:
        return 2 * max_tokens  # whether and how a token is changed, and the random token

    def mask(self, text: Text, random: NDArray[np.float64], tokenizer: Tokenizer) -> Masked:
        ids, known = text.ids.numpy(), text.mask.numpy()
        numbers = random.reshape(len(ids), 2, tokenizer.max_tokens)[..., : ids.shape[1]]
        ordinary = np.setdiff1d(np.arange(tokenizer.size), tokenizer.special)
        way = np.where(np.isin(ids, tokenizer.special), 1.0, numbers[:, 0] / self.share)  # from 1 on: the token stays
        others = ordinary[(numbers[:, 1] * len(ordinary)).astype(np.int64)]
        shown = np.where(way < self.as_mask, tokenizer.mask_id, np.where(way < self.as_mask + self.as_random, others, ids))
        removed = (way >= self.as_mask + self.as_random) & (way < 1)
        order = (removed | ~known).argsort(axis=1, kind="stable")  # what stays, in its order, comes first
        stays = np.arange(ids.shape[1]) < (known & ~removed).sum(1, keepdims=True)
        masked = np.where(stays, np.take_along_axis(shown, order, 1), tokenizer.pad)
        return Text(torch.from_numpy(masked), torch.from_numpy(stays)), torch.full_like(text.ids, IGNORED)


def _masked(text: Text, hidden: NDArray[np.bool_], shown: NDArray[np.int64]) -> Masked:
    ids = text.ids.numpy()
    masked, targets = np.where(hidden, shown, ids), np.where(hidden, ids, IGNORED)
    return Text(torch.from_numpy(masked), text.mask), torch.from_numpy(targets)
