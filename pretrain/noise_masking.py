"""Captions are masked by how well each token fits the image, as it was seen in the epoch before: NAM and GA-DMS (docs/noise.md).

A training scores the tokens of each batch, and keeps the scores by the row's number, equal on all ranks; they decide about the masks when
the row comes again. They are part of checkpoints, so that a resumed training masks the same tokens.

Shapes: B rows of a batch, R rows of the training, S captions of a row, L tokens of a caption, T of the longest that is allowed, V entries
of the vocabulary.
"""

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from mals.config import Count, Share
from pretrain import ranks
from pretrain.config import Positive, Section
from pretrain.data.batch import Batch, Text
from pretrain.data.tokenizers.base import Tokenizer
from pretrain.data.tokenizers.masking import AS_MASK, AS_RANDOM, IGNORED, LEAST, Masked

START = 0.85  # score of each token of a caption that was not scored yet, in both papers' code
DRAWS = {"none": 0, "nam": 2, "gadms": 4}  # random numbers of a token: whether and how it is masked, and the random token, for each masking
FACTORS = 0x5C04E  # seed of the factors of `TokenScores.key`


class Gate(Section):
    """A probability that grows with a number x: highest / (1 + exp(-steepness (x - middle)))."""

    highest: Share = 0.3  # the probability that it approaches
    middle: float = 0.1  # x at half of it
    steepness: Positive = 20.0  # how fast it grows there


class NoiseMasking(Section):
    """Masking of captions by the scores of their tokens (docs/noise.md)."""

    rule: Literal["none", "nam", "gadms"] = "none"  # nam: by doubt in a token; gadms: two maskings; in place of the method's own masking
    share: Share = 0.15  # of nam: mean probability of a caption's tokens, as long as none would be below 0 or above 1
    captions: Count = 1  # of a row whose scores are kept: as many as a row has where they are drawn by epoch
    skipped: Annotated[int, Field(ge=0)] = 2  # of nam: last blocks of both towers that the scores leave out
    noise: Gate = Gate(highest=0.2, middle=0.9)  # of gadms, for x = 1 - score: tokens that the matching losses do not see
    informative: Gate = Gate()  # of gadms, for x = score: tokens that the masked-word loss predicts
    plain: Annotated[int, Field(ge=0)] = 4  # of gadms: first blocks of the text tower that the scores leave out
    divide_by_importance: bool = False  # of gadms: true, as published: attention is divided by the sum of gradients, not of attention
    first_word: bool = False  # of gadms: true, as published: where no token is noise, the first one is masked


class TokenScores(nn.Module):
    """The scores of the captions of a training by the numbers of their rows, and the masks that follow from them."""

    scores: Tensor  # [R, S, T] float16, in [0, 1] or a cosine
    keys: Tensor  # [R, S] int64: the captions that were scored; 0: none yet
    special: Tensor  # [V] bool: start, end, padding and mask token
    ordinary: Tensor  # the other ids
    canonical: Tensor  # [V] int64: the id itself, for "right" that of "left": captions of mirrored images exchange these
    factors: Tensor  # [T] int64

    def __init__(self, own: NoiseMasking, rows: int, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.own, self.mask_id, longest = own, tokenizer.mask_id, tokenizer.max_tokens
        self.register_buffer("scores", torch.zeros(rows, own.captions, longest, dtype=torch.float16))
        self.register_buffer("keys", torch.zeros(rows, own.captions, dtype=torch.int64))
        special, canonical = torch.zeros(tokenizer.size, dtype=torch.bool), torch.arange(tokenizer.size)
        special[tokenizer.special] = True
        left, right = tokenizer.pieces(["left", "right"])
        if len(left) == len(right) == 1:
            canonical[right] = canonical[left]
        factors = np.random.SeedSequence(FACTORS).generate_state(longest, np.uint64).astype(np.int64) | 1
        constants = {
            "special": special,
            "ordinary": (~special).nonzero()[:, 0],
            "canonical": canonical,
            "factors": torch.from_numpy(factors),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def key(self, text: Text) -> Tensor:
        """A number [B] of each caption, which differs for different captions."""
        return ((self.canonical[text.ids] + 1) * text.mask * self.factors[: text.ids.shape[1]]).sum(1)

    def read(self, batch: Batch) -> Tensor:
        """The scores [B, L] float64 of the captions, START where those of the row's caption are not kept."""
        is_same = self.keys[batch.rows] == self.key(batch.text)[:, None]
        scores = self.scores[batch.rows, is_same.int().argmax(1), : batch.text.ids.shape[1]].double()
        return torch.where(is_same.any(1, keepdim=True), scores, START)

    @torch.no_grad()
    def keep(self, batch: Batch, scores: Tensor) -> None:
        """Keep the scores [B, L] of all ranks; those of gadms are scaled to 0 ... 1 over the batch of all ranks."""
        wide = scores.new_zeros(len(scores), self.scores.shape[2], dtype=torch.float32)
        wide[:, : scores.shape[1]] = scores.where(batch.text.mask, 0)  # how much padding there is depends on the rank
        rows, keys, everyone = (ranks.gather_detached(each) for each in (batch.rows, self.key(batch.text), wide))
        if self.own.rule == "gadms":
            lowest, highest = everyone.aminmax()
            everyone = (everyone - lowest) / (highest - lowest).clamp(min=torch.finfo(torch.float32).tiny)
        first = (rows[:, None] == rows).int().argmax(1)  # of a row that is in the batch twice
        is_same, is_empty = self.keys[rows] == keys[:, None], self.keys[rows] == 0
        new = torch.where(is_empty.any(1), is_empty.int().argmax(1), keys % self.own.captions)
        place = torch.where(is_same.any(1), is_same.int().argmax(1), new)[first]
        self.scores[rows, place] = everyone[first].to(self.scores.dtype)
        self.keys[rows, place] = keys[first]

    def mask(self, batch: Batch, predicts: bool) -> Batch:
        """The batch as the losses see it: `masked` and `targets` of nam; of gadms `text` without noise, and, for losses that have words
        to predict, `masked` and `targets` of informative tokens."""
        assert batch.token_draws is not None
        scores, own = self.read(batch), self.own
        if own.rule == "nam":
            masked, targets = self.hide(batch.text, nam_shares(scores, ~self.special[batch.text.ids], own.share), batch.token_draws)
            return replace(batch, host=None, masked=masked, targets=targets)
        denoised, _ = self.hide(batch.text, gate(1 - scores, own.noise), batch.token_draws[:, :2], own.first_word)
        if not predicts:
            return replace(batch, host=None, text=denoised)
        masked, targets = self.hide(batch.text, gate(scores, own.informative), batch.token_draws[:, 2:])
        return replace(batch, host=None, text=denoised, masked=masked, targets=targets)

    def hide(self, text: Text, shares: Tensor, draws: Tensor, at_least_one: bool = True) -> Masked:
        """Mask each ordinary token with its probability [B, L], by random numbers [B, 2, T], as `TokenMasking` does.

        `at_least_one` masks the first one where none was drawn.
        """
        ids, wide = text.ids, text.ids.shape[1]
        is_ordinary, (first, second) = ~self.special[ids], draws[..., :wide].unbind(1)
        hidden, way = is_ordinary & (first < shares), first / shares.clamp(min=float(LEAST))
        if at_least_one:
            none = is_ordinary.any(1) & ~hidden.any(1)
            forced = none[:, None] & (torch.arange(wide, device=ids.device) == is_ordinary.int().argmax(1)[:, None])
            hidden, way = hidden | forced, way.masked_fill(forced, 0)
        others = self.ordinary[(second * len(self.ordinary)).long()]
        shown = torch.where(way < AS_MASK, self.mask_id, torch.where(way < AS_MASK + AS_RANDOM, others, ids))
        return Text(torch.where(hidden, shown, ids), text.mask), torch.where(hidden, ids, IGNORED)


def nam_shares(scores: Tensor, is_word: Tensor, share: float) -> Tensor:
    """NAM's masking probabilities [B, L] by scores [B, L] of tokens, of which `is_word` [B, L] count (Tan et al., CVPR 2024).

    The doubt in a token, 1 - score, less the mean doubt in the caption, plus `share`, cut to 0 ... 1.
    """
    doubt = 1 - scores
    mean = (doubt * is_word).sum(1, keepdim=True) / is_word.sum(1, keepdim=True).clamp(min=1)
    return (doubt - mean + share).clamp(0, 1)


def gate(values: Tensor, own: Gate) -> Tensor:
    """GA-DMS's masking probabilities by scores, or by 1 - scores (Zheng et al., EMNLP 2025)."""
    return own.highest * torch.sigmoid(own.steepness * (values - own.middle))


def nam_scores(text: Tensor, image: Tensor) -> Tensor:
    """How well each token fits its image: the highest cosine with one of its patches, [B, L] from [B, L, D] and [B, 1 + N, D].

    The first token of an image, the global one, does not count.
    """
    text, patches = (normalize(tokens.float(), dim=-1) for tokens in (text, image[:, 1:]))
    return (text @ patches.transpose(1, 2)).amax(2)
