"""APTM's towers and heads, and the questions that its losses put to the cross encoder.

Shapes: B rows, L tokens of a caption, R rows of the cross encoder, C channels, D width of the embeddings, V entries of the vocabulary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from pretrain import losses, ranks
from pretrain.config import Training
from pretrain.host import to_device
from pretrain.method import Method
from pretrain.methods.aptm.config import AptmSettings
from pretrain.towers.bert import Bert, Texts
from pretrain.towers.heads import Float32Linear
from pretrain.towers.swin import Swin

CONTRAST, MATCH = ("itc", "itc_eda", "iac", "sentences"), ("itm", "itm_eda", "iam")  # losses of cosines, and of the matching head
TOKENS = ("mlm", "mam")  # losses of masked tokens
CROSSED = (*MATCH, *TOKENS)  # losses behind the cross encoder


@dataclass(frozen=True)
class Question:
    """Texts that the cross encoder reads with images, and the loss of what it makes of them."""

    texts: Texts
    loss: Callable[[Tensor], Tensor]  # of the selected states [M, C], or of their scores for tokens [M, V]


class Towers(Method):
    """Swin, a BERT in two halves and three heads in float32; the parameters have the names that `published_weights` knows."""

    def __init__(self, config: Training, vocabulary: int) -> None:
        super().__init__()
        self.own: AptmSettings = self.settings(config)
        self.seed = config.seed
        vision, text, data = self.own.vision, self.own.text, config.data
        self.positions = text.positions
        self.swin = Swin(
            height=data.height,
            width=data.width,
            embed_dim=vision.embed,
            depths=vision.depths,
            heads=vision.heads,
            window=vision.window,
            drop_path=vision.drop_path,
            checkpointing=config.checkpointing,
        )
        self.bert = Bert(
            vocab=vocabulary,
            hidden=text.hidden,
            layers=text.layers,
            fusion=text.fusion,
            heads=text.heads,
            inter=text.inter,
            positions=text.positions,
            image_width=self.swin.width,
            dropout=text.dropout,
            checkpointing=config.checkpointing,
        )
        self.vision_proj = Float32Linear(self.swin.width, self.own.proj)
        self.text_proj = Float32Linear(text.hidden, self.own.proj)
        self.temp = nn.Parameter(torch.tensor(self.own.temperature))
        twice = 2 * text.hidden
        self.itm_head = nn.Sequential(Float32Linear(text.hidden, twice), nn.LayerNorm(twice), nn.GELU(), Float32Linear(twice, 2))

    def weighs(self, *names: str) -> bool:
        """Whether one of these losses is trained."""
        return any(getattr(self.own.loss_weights, name) for name in names)

    def freeze_untrained(self) -> None:
        """Train only what a loss reaches: DistributedDataParallel waits for the gradient of every trainable parameter."""
        parts: dict[tuple[str, ...], list[nn.Module | nn.Parameter]] = {
            CONTRAST: [self.vision_proj, self.text_proj],
            ("itc", "itc_eda", "iac"): [self.temp],
            MATCH: [self.itm_head],
            TOKENS: [self.bert.head],
            CROSSED: [*self.bert.cross_layers],
        }
        for names, members in parts.items():
            if not self.weighs(*names):
                for part in members:
                    part.requires_grad_(False)

    def image_features(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, D] of length 1 from the tokens of images."""
        return normalize(self.vision_proj(tokens[:, 0]), dim=-1)

    def text_features(self, states: Tensor) -> Tensor:
        """Embeddings [B, D] of length 1 from the states of texts."""
        return normalize(self.text_proj(states[:, 0]), dim=-1)

    def ask_tokens(self, texts: Texts, targets: Tensor | None, means: ranks.Means, weights: Tensor | None = None) -> Question:
        """The tokens behind the masks of texts, targets [R, L] on the host; `weights` [R] are of the texts."""
        assert targets is not None
        device, hidden = texts.values.device, targets != losses.IGNORED
        ids, rows = to_device(targets[hidden], device), hidden.nonzero()[:, 0]
        count = means.of(to_device(hidden.sum().float(), device))
        of_tokens = None if weights is None else weights.index_select(0, to_device(rows, device))
        return Question(texts, lambda scores: losses.masked_words(scores, ids, count(), of_tokens))

    def answer(self, questions: Mapping[str, Question], tokens: Tensor) -> dict[str, Tensor]:
        """The losses of all questions, in one pass of the cross encoder and one over the vocabulary."""
        if not questions:
            return {}
        states = self.bert.fuse_groups([question.texts for question in questions.values()], self.bert.project(tokens))
        answers: dict[str, Any] = dict(zip(questions, states, strict=True))
        if words := [name for name in TOKENS if name in questions]:
            scores = self.bert.words(torch.cat([answers[name] for name in words]))
            answers |= zip(words, scores.split([len(answers[name]) for name in words]), strict=True)
        return {name: question.loss(answers[name]) for name, question in questions.items()}


def first_tokens(mask: Tensor) -> Tensor:
    """True at the first token of each text, for texts of a mask [R, L]."""
    return torch.zeros_like(mask, dtype=torch.bool).index_fill_(1, torch.zeros(1, dtype=torch.int64, device=mask.device), True)
