"""BERT (Devlin et al., 2019) cut in two: the first layers read the text alone, the others see an image as well.

Keys and values of an image are projected once and used for every text that is paired with it, without copies where all texts of an image
stand together. If a caller selects states, padding is not
computed, and the last layer only computes the selected states. Groups of texts of different widths run through the layers together:
attention is within each group, everything else is one matrix product over the tokens of all groups.
Shapes: B texts, R rows (texts, each paired with one image), I images, L tokens of a text (its width), N tokens of an image,
C channels of an image token, h heads, T token positions of all groups that are computed, M that are selected.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, pad
from torch.utils.checkpoint import checkpoint

from mals.errors import UserError
from pretrain.host import places, to_device
from pretrain.towers import attention
from pretrain.towers.attention import attend, in_product_type, mask_bias
from pretrain.towers.micro_batches import MicroBatched, run_again

EPSILON = 1e-12  # of the layer norms (Devlin et al.)
ALIGNED = 64  # rows of the vocabulary's product on a GPU, a multiple of them, as its tensor cores take them
STD, WIDTH = 0.02, 768  # standard deviation of initial weights at this width (Devlin et al.); other widths keep the scale of the outputs
PAD = 0  # id of the padding token in the vocabulary of bert-base-uncased

Heads = tuple[Tensor, Tensor]  # keys and values, [R or I, h, N, hidden / h] each
KeysValues = list[Heads]  # for each cross layer


@dataclass(frozen=True)
class Texts:
    """Texts of one width, which of their states are needed, and the images that they are paired with."""

    values: Tensor  # token ids [R, L] for the text encoder, its states [R, L, hidden] for the cross encoder
    mask: Tensor  # [R, L], True (or 1) for real tokens
    selected: Tensor | None = None  # [R, L], of the host or not: True for states that are needed; None: all, padding included
    images: Tensor | None = None  # [R], the index of each text's image; None: text i is paired with image i
    host_mask: Tensor | None = None  # [R, L], the mask on the host, if it has it: then it need not wait for the device
    per_image: int = 1  # without `images`: texts of each image, which stand together in the order of the images

    def part(self, number: int, parts: int) -> "Texts":
        """One of `parts` parts of nearly as many texts each."""
        first, last = (len(self.mask) * at // parts for at in (number, number + 1))
        assert self.images is not None or self.per_image == 1
        values = {name: value[first:last] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return Texts(**values)  # type: ignore[arg-type]  # values and mask are tensors

    def paired(self) -> "Texts":
        """The same with the index of each text's image."""
        if self.images is not None:
            return self
        images = torch.arange(len(self.mask), device=self.mask.device)
        return replace(self, images=images if self.per_image == 1 else images // self.per_image, per_image=1)


@dataclass(frozen=True)
class Positions:
    """The token positions of texts that are computed: rows [T, hidden] for single tokens, texts [R, width, hidden] for attention."""

    texts: int
    width: int
    index: Tensor | None = None  # [T], indices into texts x width, ascending; None: all

    def __len__(self) -> int:
        return self.texts * self.width if self.index is None else len(self.index)

    @classmethod
    def of(cls, texts: Texts) -> "Positions":
        """The positions of real tokens and of selected states; all positions if `selected` is None."""
        if texts.selected is None:
            return cls(texts.mask.shape[0], texts.mask.shape[1])
        return cls(len(texts.mask), texts.mask.shape[1], places(_computed(texts, texts.selected), texts.mask.device))

    @classmethod
    def compact(cls, selected: Tensor, device: torch.device) -> "Positions":
        """The positions that are True in [R, L], moved to the left of each row without gaps, on a device."""
        width = max(1, int(selected.sum(1).max())) if len(selected) else 1
        first = torch.arange(len(selected), device=selected.device)[:, None] * width - 1
        return cls(len(selected), width, to_device((first + selected.cumsum(1))[selected], device))

    def rows(self, texts: Tensor) -> Tensor:
        """[R, width, C] -> [T, C]."""
        rows = texts.flatten(0, 1)
        return rows if self.index is None else rows.index_select(0, self.index)

    def spread(self, rows: Tensor) -> Tensor:
        """[T, C] -> [R, width, C], 0 at positions that are not computed."""
        if self.index is not None:
            rows = rows.new_zeros(self.texts * self.width, rows.shape[1]).index_copy(0, self.index, rows)
        return rows.view(self.texts, self.width, rows.shape[1])


def _computed(texts: Texts, selected: Tensor) -> Tensor:
    """Real tokens and selected states, [R, L], on the host where it has the mask."""
    real = texts.mask if texts.host_mask is None else texts.host_mask
    return real.bool() | selected.to(real.device)


@dataclass(frozen=True)
class Groups:
    """The token positions of groups of texts; rows [T, C] have the groups one after the other."""

    each: Sequence[Positions]

    def rows(self, texts: Sequence[Tensor]) -> Tensor:
        """[R, width, C] of each group -> [T, C]."""
        parts = [positions.rows(part) for positions, part in zip(self.each, texts, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def spread(self, rows: Tensor) -> list[Tensor]:
        """[T, C] -> [R, width, C] of each group, 0 at positions that are not computed."""
        parts = [rows] if len(self.each) == 1 else rows.split([len(positions) for positions in self.each])
        return [positions.spread(part) for positions, part in zip(self.each, parts, strict=True)]


Selected = tuple[Tensor, Groups] | None  # the indices [M] into T of the states that a layer must compute, and their positions


class Embeddings(nn.Module):
    """The sum of token, position and segment embeddings; every text has segment 0."""

    def __init__(self, vocab: int, hidden: int, positions: int, dropout: float) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab, hidden, PAD)
        self.positions = nn.Embedding(positions, hidden)
        self.kinds = nn.Embedding(2, hidden)
        self.norm = nn.LayerNorm(hidden, EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Sequence[Tensor], positions: Groups) -> Tensor:
        """[R, L] of each group -> [T, hidden]; raises UserError if a text is longer than the number of positions."""
        length = max(group.shape[1] for group in ids)
        if length > self.positions.num_embeddings:
            raise UserError(f"a text of {length} tokens is longer than the {self.positions.num_embeddings} positions of the text encoder")
        tokens = [torch.stack([group, torch.arange(group.shape[1], device=group.device).expand_as(group)], 2) for group in ids]
        word, position = positions.rows(tokens).unbind(1)
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
        """The keys and the values of [I, N, source], contiguous for matrix products and the selection of images."""
        return self.by_head(self.key(source)).contiguous(), self.by_head(self.value(source)).contiguous()

    def forward(self, x: Tensor, positions: Groups, sources: Sequence[Heads], biases: Sequence[Tensor | None]) -> Tensor:
        """Rows [T, hidden]; for each group keys and values and a bias of the scores [R, 1, 1, N] -> [T, hidden].

        Keys and values are of each text; without a bias, they may be of each image for as many texts a image, which stand together.
        """
        drop = self.dropout if self.training else 0.0
        groups = zip(positions.spread(self.query(x)), sources, biases, strict=True)
        attended = [attend(self.by_head(_of_sources(query, source[0])), *source, bias, drop) for query, source, bias in groups]
        return self.out(positions.rows([heads.transpose(1, 2).flatten(2) for heads in attended]))

    def by_head(self, x: Tensor) -> Tensor:
        """[R, L, hidden] -> [R, h, L, hidden / h]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Layer(nn.Module):
    """Self-attention, in a cross layer also attention to the image, then an MLP on each token; a layer norm after each residual sum."""

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
        self, x: Tensor, positions: Groups, biases: Sequence[Tensor], images: Sequence[Heads] = (), selected: Selected = None
    ) -> Tensor:
        """Rows [T, hidden] and, for each group, keys and values of its images -> [T, hidden], or [M, hidden] with `selected`."""
        attention = self.attention
        keys, values = positions.spread(attention.key(x)), positions.spread(attention.value(x))
        own = [(attention.by_head(key), attention.by_head(value)) for key, value in zip(keys, values, strict=True)]
        if selected is not None:
            x, positions = x.index_select(0, selected[0]), selected[1]
        x = self.attention_norm(x + self.dropout(attention(x, positions, own, biases)))
        if images:
            x = self.cross_norm(x + self.dropout(self.cross(x, positions, images, [None] * len(images))))
        return self.mlp_norm(x + self.dropout(self.down(gelu(self.up(x)))))


class WordHead(nn.Module):
    """Scores of all tokens at masked positions; the output matrix is the encoder's token embeddings."""

    def __init__(self, vocab: int, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden, EPSILON)
        self.bias = nn.Parameter(torch.zeros(vocab))

    def forward(self, states: Tensor, words: Tensor) -> Tensor:
        """[M, hidden] and embeddings [vocab, hidden] -> [M, vocab]."""
        return self.score(self.norm(gelu(self.dense(states))), words, ALIGNED if attention.on_gpu(states.device) else 1)

    def score(self, states: Tensor, words: Tensor, multiple: int) -> Tensor:
        """The product, of as many rows as are a multiple: those beyond the vocabulary are zeros, of whose scores none is returned."""
        vocabulary = words.shape[0]
        more = -vocabulary % multiple
        if not more:
            return linear(states, words, self.bias)
        return linear(states, pad(in_product_type(words), (0, 0, 0, more)), pad(self.bias, (0, more)))[:, :vocabulary]


class Bert(MicroBatched, nn.Module):
    """Text encoder (embeddings and the first `fusion` layers), cross encoder (the other layers) and masked-token head."""

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
        self.apply(partial(_initialise, std=STD * (WIDTH / hidden) ** 0.5))

    @property
    def cross_layers(self) -> list[Layer]:
        """The layers with attention to the image."""
        return cast(list[Layer], list(self.layers[self.fusion :]))

    def text(self, ids: Tensor, mask: Tensor, selected: Tensor | None = None) -> Tensor:
        """Token ids and mask [B, L], the mask True (or 1) for real tokens -> states [B, L, hidden].

        With `selected` [B, L], the states of padding that is not selected are 0 and cost nothing.
        """
        return self.text_groups([Texts(ids, mask, selected)])[0]

    def text_groups(self, texts: Sequence[Texts]) -> list[Tensor]:
        """The states [B, L, hidden] of each group of texts, as from `text`."""
        rows = max(group.mask.shape[0] for group in texts)  # not len(), which an ONNX export would make a constant
        return self._groups_in_parts(self._text_groups, texts, rows)

    def _text_groups(self, texts: Sequence[Texts]) -> list[Tensor]:
        positions, biases = Groups([Positions.of(group) for group in texts]), [mask_bias(group.mask) for group in texts]
        x = self.embeddings([group.values for group in texts], positions)
        for layer in self.layers[: self.fusion]:
            x = self._run(layer, x, positions, biases)
        return positions.spread(x)

    def project(self, image_tokens: Tensor) -> KeysValues:
        """[I, N, C] -> keys and values [I, h, N, hidden / h] for each cross layer."""
        return [layer.cross.project(image_tokens) for layer in self.cross_layers]

    def fuse(
        self, states: Tensor, mask: Tensor, keys_values: KeysValues, images: Tensor | None = None, selected: Tensor | None = None
    ) -> Tensor:
        """States [R, L, hidden], mask [R, L], projected images, and the index [R] of each row's image -> [R, L, hidden].

        Without `images`, row i is paired with image i. With `selected` [R, L], only the states [M, hidden] where it is True, row by row.
        """
        return self.fuse_groups([Texts(states, mask, selected, images)], keys_values)[0]

    def fuse_groups(self, texts: Sequence[Texts], keys_values: KeysValues) -> list[Tensor]:
        """The states of each group of texts, as from `fuse`; either all groups have `selected` or none."""
        images = len(keys_values[0][0])
        if self.count_parts(images) > 1:
            texts = [group.paired() for group in texts]
        return self._groups_in_parts(lambda part: self._fuse_groups(part, keys_values), texts, images)

    def _groups_in_parts(self, read: Callable[[Sequence[Texts]], list[Tensor]], texts: Sequence[Texts], rows: int) -> list[Tensor]:
        """What `read` returns of groups of texts, which belong to a batch of `rows` rows; each micro-batch has a part of every group."""
        parts, outputs = self.count_parts(rows), [list[Tensor]() for _ in texts]
        if parts < 2:
            return read(texts)
        for number in range(parts):
            pieces = {place: group.part(number, parts) for place, group in enumerate(texts) if len(group.mask)}
            pieces = {place: piece for place, piece in pieces.items() if len(piece.mask)}
            if number == 0:  # an empty group has its output too
                pieces |= {place: group for place, group in enumerate(texts) if not len(group.mask)}
            if pieces:
                inputs = list(pieces.values())
                states = run_again(lambda *_, inputs=inputs: read(inputs), *(piece.values for piece in inputs))
                for place, state in zip(pieces, states, strict=True):
                    outputs[place].append(state)
        return [torch.cat(each) for each in outputs]

    def _fuse_groups(self, texts: Sequence[Texts], keys_values: KeysValues) -> list[Tensor]:
        positions, biases, last = Groups([Positions.of(group) for group in texts]), [mask_bias(group.mask) for group in texts], None
        selected = [group.selected for group in texts if group.selected is not None]
        assert len(selected) in (0, len(texts))
        if selected:
            last = _selected(texts, selected, positions)
        x = positions.rows([group.values for group in texts])
        for layer, heads in zip(self.cross_layers, keys_values, strict=True):
            images = [_heads_of_images(heads, group) for group in texts]
            x = self._run(layer, x, positions, biases, images, last if layer is self.layers[-1] else None)
        return list(x.split([len(group) for group in last[1].each])) if last is not None else positions.spread(x)

    def _run(self, layer: nn.Module, *inputs: Any) -> Tensor:
        """Run a layer; with activation checkpointing, backward runs it again."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return cast(Tensor, checkpoint(layer, *inputs, use_reentrant=False))
        return cast(Tensor, layer(*inputs))

    def words(self, states_at_targets: Tensor) -> Tensor:
        """States [M, hidden] at masked positions -> scores [M, vocab] of all tokens."""
        return self.head(states_at_targets, self.embeddings.words.weight)


def _selected(texts: Sequence[Texts], selected: Sequence[Tensor], positions: Groups) -> tuple[Tensor, Groups]:
    """The indices of the selected states among the computed positions of all groups, and their own positions."""
    device, first, indices = texts[0].mask.device, 0, []
    for group, chosen, computed in zip(texts, selected, positions.each, strict=True):
        order = _computed(group, chosen).flatten().cumsum(0)  # from 1 on
        indices.append(first - 1 + order[chosen.to(order.device).flatten()])
        first += len(computed)
    return to_device(torch.cat(indices), device), Groups([Positions.compact(each, device) for each in selected])


def _of_sources(queries: Tensor, keys: Tensor) -> Tensor:
    """Queries [R, L, hidden] of texts as [S, R / S L, hidden] of their S keys: texts with the same keys are one."""
    return queries if queries.shape[0] == keys.shape[0] else queries.reshape(keys.shape[0], -1, queries.shape[2])


def _heads_of_images(heads: Heads, texts: Texts) -> Heads:
    """Keys and values [R, h, N, hidden / h] of the image of each text, or [I, h, N, hidden / h] where each has several texts."""
    keys, values = heads
    if texts.images is None:
        images = len(texts.mask) // texts.per_image
        return keys[:images], values[:images]
    return keys.index_select(0, texts.images), values.index_select(0, texts.images)


def _initialise(module: nn.Module, std: float) -> None:
    """Normal weights, zero biases, a zero embedding of the padding token."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=std)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=std)
        if module.padding_idx is not None:
            with torch.no_grad():
                module.weight[module.padding_idx].zero_()
