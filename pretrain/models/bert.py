"""BERT (Devlin et al., 2019) cut in two as APTM uses it: the first layers read the text alone, the others look at a picture as well.

Keys and values of a picture are projected once and serve every text that is set against it. Where a caller says which states it wants,
padding is not computed, and the last layer only for these.
Shapes: B texts, R rows (texts, each set against one picture), I pictures, L tokens of a text, N of a picture, C its width, h heads,
T places of rows by tokens that are computed, M that are wanted.
"""

from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from mals.errors import UserError
from pretrain.models.attention import attend, unseen

EPSILON = 1e-12  # of the layer norms (Devlin et al.)
STD, WIDTH = 0.02, 768  # of the initial weights of a BERT of that width (Devlin et al.); others keep the size of what they give
PAD = 0  # the padding of bert-base-uncased's vocabulary

KeysValues = list[tuple[Tensor, Tensor]]  # of each cross layer, [I, h, N, hidden / h] each
Wanted = tuple[Tensor, "Places"] | None  # the numbers [M] among T of what a layer is asked for, and their places


@dataclass(frozen=True)
class Places:
    """Places of texts: what is done to each token alone is done to rows [T, hidden] of these, attention to texts [R, width, hidden]."""

    texts: int
    width: int
    at: Tensor | None = None  # [T] their numbers among texts x width, ascending; None: all

    @classmethod
    def of(cls, chosen: Tensor) -> "Places":
        """Those that are True in [R, L]."""
        return cls(len(chosen), chosen.shape[1], chosen.flatten().nonzero().squeeze(1))

    @classmethod
    def close(cls, chosen: Tensor) -> "Places":
        """Those that are True in [R, L], moved together to the left."""
        width = max(1, int(chosen.sum(1).max())) if len(chosen) else 1
        first = torch.arange(len(chosen), device=chosen.device)[:, None] * width - 1
        return cls(len(chosen), width, (first + chosen.cumsum(1))[chosen])

    def rows(self, texts: Tensor) -> Tensor:
        """[R, width, C] -> [T, C]."""
        found = texts.flatten(0, 1)
        return found if self.at is None else found.index_select(0, self.at)

    def spread(self, rows: Tensor) -> Tensor:
        """[T, C] -> [R, width, C], 0 elsewhere."""
        if self.at is not None:
            rows = rows.new_zeros(self.texts * self.width, rows.shape[1]).index_copy(0, self.at, rows)
        return rows.view(self.texts, self.width, rows.shape[1])


class Embeddings(nn.Module):
    """Tokens, their positions and the (one) kind of sentence as vectors."""

    def __init__(self, vocab: int, hidden: int, positions: int, dropout: float) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab, hidden, PAD)
        self.positions = nn.Embedding(positions, hidden)
        self.kinds = nn.Embedding(2, hidden)
        self.norm = nn.LayerNorm(hidden, EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor) -> Tensor:
        """[B, L] -> [B, L, hidden]."""
        length = ids.shape[1]
        if length > self.positions.num_embeddings:
            raise UserError(f"a text of {length} tokens is longer than the {self.positions.num_embeddings} positions of the text encoder")
        x = self.words(ids) + self.positions.weight[:length] + self.kinds.weight[0]
        return self.dropout(self.norm(x))


class Attention(nn.Module):
    """Multi-head attention of [R, L, hidden] to keys and values of a source of any width."""

    def __init__(self, hidden: int, heads: int, source: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(source, hidden)
        self.value = nn.Linear(source, hidden)
        self.out = nn.Linear(hidden, hidden)

    def project(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and the values of [I, N, source]: [I, h, N, hidden / h] each."""
        return self.by_head(self.key(source)), self.by_head(self.value(source))

    def forward(self, x: Tensor, places: Places, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """Rows [T, hidden], keys and values by text, what is added to scores [R, 1, 1, N] -> [T, hidden]."""
        query = self.by_head(places.spread(self.query(x)))
        found = attend(query, key, value, bias, self.dropout if self.training else 0.0)
        return self.out(places.rows(found.transpose(1, 2).flatten(2)))

    def by_head(self, x: Tensor) -> Tensor:
        """[R, L, hidden] -> [R, h, L, hidden / h]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Layer(nn.Module):
    """Attention to the text, in a cross layer also to the picture, then two layers on each token; a layer norm after each sum."""

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

    def forward(self, x: Tensor, places: Places, bias: Tensor, image: tuple[Tensor, Tensor] | None = None, wanted: Wanted = None) -> Tensor:
        """Rows [T, hidden], keys and values of each text's picture -> [T, hidden], or [M, hidden] where only some are wanted."""
        of = self.attention
        key, value = of.by_head(places.spread(of.key(x))), of.by_head(places.spread(of.value(x)))
        if wanted is not None:
            x, places = x.index_select(0, wanted[0]), wanted[1]
        x = self.attention_norm(x + self.dropout(of(x, places, key, value, bias)))
        if image is not None:
            x = self.cross_norm(x + self.dropout(self.cross(x, places, *image)))
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
        vocab: int = 30522,
        hidden: int = 768,
        layers: int = 12,
        fusion: int = 6,
        heads: int = 12,
        inter: int = 3072,
        positions: int = 512,
        image_width: int = 1024,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise UserError(f"a hidden width of {hidden} does not divide into {heads} heads")
        self.fusion = fusion
        self.embeddings = Embeddings(vocab, hidden, positions, dropout)
        self.layers = nn.ModuleList(Layer(hidden, heads, inter, image_width if i >= fusion else None, dropout) for i in range(layers))
        self.head = WordHead(vocab, hidden)
        self.apply(partial(_start, std=STD * (WIDTH / hidden) ** 0.5))

    @property
    def cross_layers(self) -> list[Layer]:
        """The layers that look at the picture."""
        return cast(list[Layer], list(self.layers[self.fusion :]))

    def text(self, ids: Tensor, mask: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Ids and mask [B, L], the mask True (or 1) for real tokens -> states [B, L, hidden].

        With `wanted` [B, L] padding where that is not True is 0, at no cost.
        """
        places = Places(ids.shape[0], ids.shape[1]) if wanted is None else Places.of(mask.bool() | wanted)
        x, bias = places.rows(self.embeddings(ids)), unseen(mask)
        for layer in self.layers[: self.fusion]:
            x = layer(x, places, bias)
        return places.spread(x)

    def project(self, image_tokens: Tensor) -> KeysValues:
        """[I, N, C] -> keys and values [I, h, N, hidden / h] for each cross layer."""
        return [layer.cross.project(image_tokens) for layer in self.cross_layers]

    def fuse(
        self, states: Tensor, mask: Tensor, keys_values: KeysValues, images: Tensor | None = None, wanted: Tensor | None = None
    ) -> Tensor:
        """States [R, L, hidden], mask [R, L], projected pictures, and the picture [R] of each row (None: its own) -> [R, L, hidden].

        With `wanted` [R, L] the states [M, hidden] where that is True, row by row.
        """
        places, last = Places(len(mask), mask.shape[1]), None
        if wanted is not None:
            computed = mask.bool() | wanted
            places, last = Places.of(computed), (wanted[computed].nonzero().squeeze(1), Places.close(wanted))
        x, bias = places.rows(states), unseen(mask)
        for layer, of_all in zip(self.cross_layers, keys_values, strict=True):
            image = of_all if images is None else (of_all[0].index_select(0, images), of_all[1].index_select(0, images))
            x = layer(x, places, bias, image, last if layer is self.layers[-1] else None)
        return x if wanted is not None else places.spread(x)

    def words(self, states_at_targets: Tensor) -> Tensor:
        """States [M, hidden] at masked positions -> a score [M, vocab] for each word."""
        return self.head(states_at_targets, self.embeddings.words.weight)


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
