"""BERT (Devlin et al., 2019) cut in two as APTM uses it: the first layers read the text alone, the others look at a picture as well.

Keys and values of a picture are projected once and serve every text that is set against it.
Shapes: B texts, R rows (texts, each set against one picture), I pictures, L tokens of a text, N of a picture, C its width, h heads.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention

from mals.errors import UserError

EPSILON = 1e-12  # of the layer norms (Devlin et al.)
STD = 0.02  # of the initial weights (Devlin et al.)
PAD = 0  # the padding of bert-base-uncased's vocabulary

KeysValues = list[tuple[Tensor, Tensor]]  # of each cross layer, [I, h, N, hidden / h] each


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

    def forward(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """[R, L, hidden], keys and values by row, mask [R, N] True where there is something to see -> [R, L, hidden]."""
        seen = None if mask is None else mask[:, None, None, :].bool()
        x = scaled_dot_product_attention(self.by_head(self.query(x)), key, value, seen, self.dropout if self.training else 0.0)
        return self.out(x.transpose(1, 2).flatten(2))

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

    def forward(self, x: Tensor, mask: Tensor, image: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """[R, L, hidden], mask [R, L], keys and values of each row's picture -> [R, L, hidden]."""
        x = self.attention_norm(x + self.dropout(self.attention(x, *self.attention.project(x), mask)))
        if image is not None:
            x = self.cross_norm(x + self.dropout(self.cross(x, *image)))
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
        self.apply(_start)

    @property
    def cross_layers(self) -> list[Layer]:
        """The layers that look at the picture."""
        return cast(list[Layer], list(self.layers[self.fusion :]))

    def text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids and mask [B, L], the mask True (or 1) for real tokens -> states [B, L, hidden]."""
        x = self.embeddings(ids)
        for layer in self.layers[: self.fusion]:
            x = layer(x, mask)
        return x

    def project(self, image_tokens: Tensor) -> KeysValues:
        """[I, N, C] -> keys and values [I, h, N, hidden / h] for each cross layer."""
        return [layer.cross.project(image_tokens) for layer in self.cross_layers]

    def fuse(self, text_states: Tensor, mask: Tensor, keys_values: KeysValues, images: Tensor | None = None) -> Tensor:
        """States [R, L, hidden], mask [R, L], projected pictures, and the picture [R] of each row (None: its own) -> [R, L, hidden]."""
        x = text_states
        for layer, (key, value) in zip(self.cross_layers, keys_values, strict=True):
            x = layer(x, mask, (key, value) if images is None else (key[images], value[images]))
        return x

    def words(self, states_at_targets: Tensor) -> Tensor:
        """States [M, hidden] at masked positions -> a score [M, vocab] for each word."""
        return self.head(states_at_targets, self.embeddings.words.weight)


def _start(module: nn.Module) -> None:
    """Normal weights, biases 0, padding 0."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=STD)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=STD)
        if module.padding_idx is not None:
            with torch.no_grad():
                module.weight[module.padding_idx].zero_()
