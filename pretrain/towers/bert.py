"""BERT (Devlin et al., 2019) cut in two: the first layers read the text alone, the others see an image as well.

Keys and values of an image are projected once and serve every text that is set against it. Where a caller selects states,
padding is not computed, and the last layer only for these. Texts of several widths go through the layers together: attention is within
each group of one width, all else is one product over the tokens of all.
Shapes: B texts, R rows (texts, each set against one image), I images, L tokens of a text, N of an image, C its width, h heads,
T places of rows by tokens that are computed, of all groups, M that are selected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear
from torch.utils.checkpoint import checkpoint

from mals.errors import UserError
from pretrain.towers.attention import attend, unseen

EPSILON = 1e-12  # of the layer norms (Devlin et al.)
STD, WIDTH = 0.02, 768  # of the initial weights of a BERT of that width (Devlin et al.); others keep the size of what they give
PAD = 0  # the padding of bert-base-uncased's vocabulary

Heads = tuple[Tensor, Tensor]  # keys and values, [R or I, h, N, hidden / h] each
KeysValues = list[Heads]  # of each cross layer


@dataclass(frozen=True)
class Texts:
    """Texts of one width, and what is asked about them."""

    values: Tensor  # ids [R, L] for the text encoder, its states [R, L, hidden] for the cross encoder
    mask: Tensor  # [R, L], True (or 1) for real tokens
    selected: Tensor | None = None  # [R, L], True for states that are computed; None: all, padding too
    images: Tensor | None = None  # [R], the number of each text's image; None: the first R, one each


@dataclass(frozen=True)
class Places:
    """Places of texts: what is done to each token alone is done to rows [T, hidden] of these, attention to texts [R, width, hidden]."""

    texts: int
    width: int
    at: Tensor | None = None  # [T] their numbers among texts x width, ascending; None: all

    def __len__(self) -> int:
        return self.texts * self.width if self.at is None else len(self.at)

    @classmethod
    def of(cls, texts: Texts) -> "Places":
        """Real tokens and what is selected; all where nothing is said to be."""
        if texts.selected is None:
            return cls(texts.mask.shape[0], texts.mask.shape[1])
        return cls(len(texts.mask), texts.mask.shape[1], (texts.mask.bool() | texts.selected).flatten().nonzero().squeeze(1))

    @classmethod
    def close(cls, chosen: Tensor) -> "Places":
        """Those that are True in [R, L], moved together to the left."""
        width = max(1, int(chosen.sum(1).max())) if len(chosen) else 1
        first = torch.arange(len(chosen), device=chosen.device)[:, None] * width - 1
        return cls(len(chosen), width, (first + chosen.cumsum(1))[chosen])

    def rows(self, texts: Tensor) -> Tensor:
        """[R, width, C] -> [T, C]."""
        rows = texts.flatten(0, 1)
        return rows if self.at is None else rows.index_select(0, self.at)

    def spread(self, rows: Tensor) -> Tensor:
        """[T, C] -> [R, width, C], 0 elsewhere."""
        if self.at is not None:
            rows = rows.new_zeros(self.texts * self.width, rows.shape[1]).index_copy(0, self.at, rows)
        return rows.view(self.texts, self.width, rows.shape[1])


@dataclass(frozen=True)
class Groups:
    """The places of groups of texts, whose rows [T, C] come one group after the other."""

    each: Sequence[Places]

    def rows(self, texts: Sequence[Tensor]) -> Tensor:
        """[R, width, C] of each group -> [T, C]."""
        parts = [places.rows(part) for places, part in zip(self.each, texts, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def spread(self, rows: Tensor) -> list[Tensor]:
        """[T, C] -> [R, width, C] of each group, 0 elsewhere."""
        parts = [rows] if len(self.each) == 1 else rows.split([len(places) for places in self.each])
        return [places.spread(part) for places, part in zip(self.each, parts, strict=True)]


Selected = tuple[Tensor, Groups] | None  # the numbers [M] among T of what a layer is asked for, and their places


class Embeddings(nn.Module):
    """Tokens, their positions and the (one) kind of sentence as vectors."""

    def __init__(self, vocab: int, hidden: int, positions: int, dropout: float) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab, hidden, PAD)
        self.positions = nn.Embedding(positions, hidden)
        self.kinds = nn.Embedding(2, hidden)
        self.norm = nn.LayerNorm(hidden, EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Sequence[Tensor], places: Groups) -> Tensor:
        """[R, L] of each group -> [T, hidden]; UserError where a text is longer than there are positions."""
        length = max(group.shape[1] for group in ids)
        if length > self.positions.num_embeddings:
            raise UserError(f"a text of {length} tokens is longer than the {self.positions.num_embeddings} positions of the text encoder")
        tokens = [torch.stack([group, torch.arange(group.shape[1], device=group.device).expand_as(group)], 2) for group in ids]
        word, position = places.rows(tokens).unbind(1)
        return self.dropout(self.norm(self.words(word) + self.positions(position) + self.kinds.weight[0]))


class Attention(nn.Module):
    """Multi-head attention of [R, L, hidden] to keys and values of a source of any width."""

    def __init__(self, hidden: int, heads: int, source: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(source, hidden)
        self.value = nn.Linear(source, hidden)
        self.out = nn.Linear(hidden, hidden)

    def project(self, source: Tensor) -> Heads:
        """The keys and the values of [I, N, source], laid out as products and the choice of images read them."""
        return self.by_head(self.key(source)).contiguous(), self.by_head(self.value(source)).contiguous()

    def forward(self, x: Tensor, places: Groups, sources: Sequence[Heads], biases: Sequence[Tensor | None]) -> Tensor:
        """Rows [T, hidden]; of each group keys and values by text, and what is added to scores [R, 1, 1, N] -> [T, hidden]."""
        drop = self.dropout if self.training else 0.0
        groups = zip(places.spread(self.query(x)), sources, biases, strict=True)
        attended = [attend(self.by_head(query), *source, bias, drop) for query, source, bias in groups]
        return self.out(places.rows([heads.transpose(1, 2).flatten(2) for heads in attended]))

    def by_head(self, x: Tensor) -> Tensor:
        """[R, L, hidden] -> [R, h, L, hidden / h]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Layer(nn.Module):
    """Attention to the text, in a cross layer also to the image, then two layers on each token; a layer norm after each sum."""

    def __init__(self, hidden: int, heads: int, inter: int, image_width: int | None, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(hidden, heads, hidden, dropout)
        self.attention_norm = nn.LayerNorm(hidden, EPSILON)
        if image_width is not None:
            self.cross = Attention(hidden, heads, image_width, dropout)
            self.cross_norm = nn.LayerNorm(hidden, EPSILON)
        self.up = nn.Linear(hidden, inter)
        self.down = nn.Linear(inter, hidden)
        self.mlp_norm = nn.LayerNorm(hidden, EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, places: Groups, biases: Sequence[Tensor], images: Sequence[Heads] = (), selected: Selected = None
    ) -> Tensor:
        """Rows [T, hidden], of each group keys and values of its images -> [T, hidden], or [M, hidden] where only some are selected."""
        of = self.attention
        keys, values = places.spread(of.key(x)), places.spread(of.value(x))
        own = [(of.by_head(key), of.by_head(value)) for key, value in zip(keys, values, strict=True)]
        if selected is not None:
            x, places = x.index_select(0, selected[0]), selected[1]
        x = self.attention_norm(x + self.dropout(of(x, places, own, biases)))
        if images:
            x = self.cross_norm(x + self.dropout(self.cross(x, places, images, [None] * len(images))))
        return self.mlp_norm(x + self.dropout(self.down(gelu(self.up(x)))))


class WordHead(nn.Module):
    """What was at a masked position, as a score for each word; the words' embeddings are lent by the encoder."""

    def __init__(self, vocab: int, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden, EPSILON)
        self.bias = nn.Parameter(torch.zeros(vocab))

    def forward(self, states: Tensor, words: Tensor) -> Tensor:
        """[M, hidden] and embeddings [vocab, hidden] -> [M, vocab]."""
        return linear(self.norm(gelu(self.dense(states))), words, self.bias)


class Bert(nn.Module):
    """Text encoder (embeddings and the first `fusion` layers), cross encoder (the other layers) and masked-word head."""

    def __init__(
        self,
        *,
        vocab: int = 30522,
        hidden: int = 768,
        layers: int = 12,
        fusion: int = 6,
        heads: int = 12,
        inter: int = 3072,
        positions: int = 512,
        image_width: int = 1024,
        dropout: float = 0.1,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise UserError(f"a hidden width of {hidden} does not divide into {heads} heads")
        self.fusion, self.checkpointing = fusion, checkpointing
        self.embeddings = Embeddings(vocab, hidden, positions, dropout)
        self.layers = nn.ModuleList(Layer(hidden, heads, inter, image_width if i >= fusion else None, dropout) for i in range(layers))
        self.head = WordHead(vocab, hidden)
        self.apply(partial(_start, std=STD * (WIDTH / hidden) ** 0.5))

    @property
    def cross_layers(self) -> list[Layer]:
        """The layers that look at the image."""
        return cast(list[Layer], list(self.layers[self.fusion :]))

    def text(self, ids: Tensor, mask: Tensor, selected: Tensor | None = None) -> Tensor:
        """Ids and mask [B, L], the mask True (or 1) for real tokens -> states [B, L, hidden].

        With `selected` [B, L] padding where that is not True is 0, at no cost.
        """
        return self.read([Texts(ids, mask, selected)])[0]

    def read(self, texts: Sequence[Texts]) -> list[Tensor]:
        """The states [B, L, hidden] of each group of texts, as `text` has them of one."""
        places, biases = Groups([Places.of(group) for group in texts]), [unseen(group.mask) for group in texts]
        x = self.embeddings([group.values for group in texts], places)
        for layer in self.layers[: self.fusion]:
            x = self._through(layer, x, places, biases)
        return places.spread(x)

    def project(self, image_tokens: Tensor) -> KeysValues:
        """[I, N, C] -> keys and values [I, h, N, hidden / h] for each cross layer."""
        return [layer.cross.project(image_tokens) for layer in self.cross_layers]

    def fuse(
        self, states: Tensor, mask: Tensor, keys_values: KeysValues, images: Tensor | None = None, selected: Tensor | None = None
    ) -> Tensor:
        """States [R, L, hidden], mask [R, L], projected images, and the image [R] of each row (None: its own) -> [R, L, hidden].

        With `selected` [R, L] the states [M, hidden] where that is True, row by row.
        """
        return self.look([Texts(states, mask, selected, images)], keys_values)[0]

    def look(self, texts: Sequence[Texts], keys_values: KeysValues) -> list[Tensor]:
        """What `fuse` has of one group of texts, of each; either all of them say which states are selected, or none."""
        places, biases, last = Groups([Places.of(group) for group in texts]), [unseen(group.mask) for group in texts], None
        selected = [group.selected for group in texts if group.selected is not None]
        assert len(selected) in (0, len(texts))
        if selected:
            closed = Groups([Places.close(one) for one in selected])
            last = places.rows([one[..., None] for one in selected]).squeeze(1).nonzero().squeeze(1), closed
        x = places.rows([group.values for group in texts])
        for layer, of_all in zip(self.cross_layers, keys_values, strict=True):
            images = [_chosen(of_all, group) for group in texts]
            x = self._through(layer, x, places, biases, images, last if layer is self.layers[-1] else None)
        return list(x.split([len(one) for one in last[1].each])) if last is not None else places.spread(x)

    def _through(self, layer: nn.Module, *inputs: Any) -> Tensor:
        """What a layer gives; where activations are not kept, backward computes it again."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return cast(Tensor, checkpoint(layer, *inputs, use_reentrant=False))
        return cast(Tensor, layer(*inputs))

    def words(self, states_at_targets: Tensor) -> Tensor:
        """States [M, hidden] at masked positions -> a score [M, vocab] for each word."""
        return self.head(states_at_targets, self.embeddings.words.weight)


def _chosen(of_all: Heads, texts: Texts) -> Heads:
    """Keys and values [R, h, N, hidden / h] of the images of texts."""
    keys, values = of_all
    if texts.images is None:
        return keys[: len(texts.mask)], values[: len(texts.mask)]
    return keys.index_select(0, texts.images), values.index_select(0, texts.images)


def _start(module: nn.Module, std: float) -> None:
    """Normal weights, biases 0, padding 0."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=std)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=std)
        if module.padding_idx is not None:
            with torch.no_grad():
                module.weight[module.padding_idx].zero_()
