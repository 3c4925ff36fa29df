"""BERT (Devlin et al., 2019), frozen or trained, and a Bi-LSTM over its states: the text encoder of LGUR.

Shapes: B texts, L tokens of the longest, C channels of the result.
"""

import re
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Self

import torch
from torch import Tensor, nn

from pretrain.method import Encoded
from pretrain.towers.bert import Bert
from pretrain.towers.bilstm import BiLstm
from pretrain.towers.micro_batches import MicroBatched

NAMES = {  # of a BERT of transformers -> those of `pretrain.towers.bert`; # stands for the number of a layer
    "embeddings.word_embeddings": "embeddings.words",
    "embeddings.position_embeddings": "embeddings.positions",
    "embeddings.token_type_embeddings": "embeddings.kinds",
    "embeddings.LayerNorm": "embeddings.norm",
    "encoder.layer.#.attention.self.query": "layers.#.attention.query",
    "encoder.layer.#.attention.self.key": "layers.#.attention.key",
    "encoder.layer.#.attention.self.value": "layers.#.attention.value",
    "encoder.layer.#.attention.output.dense": "layers.#.attention.out",
    "encoder.layer.#.attention.output.LayerNorm": "layers.#.attention_norm",
    "encoder.layer.#.intermediate.dense": "layers.#.up",
    "encoder.layer.#.output.dense": "layers.#.down",
    "encoder.layer.#.output.LayerNorm": "layers.#.mlp_norm",
}
LEAVES = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}  # Google's names of a norm are the last two


class BertLstm(MicroBatched, nn.Module):
    """Texts [B, L] -> [B, L, C]; a frozen BERT is always in evaluation mode, without dropout, and has no gradient.

    A BERT without layers is an embedding of tokens and positions.
    """

    def __init__(
        self,
        vocab: int,
        width: int,
        *,
        hidden: int = 768,
        layers: int = 12,
        heads: int = 12,
        inter: int = 3072,
        positions: int = 512,
        dropout: float = 0.1,
        frozen: bool = True,
        checkpointing: bool = False,
    ) -> None:
        """`vocab` are the entries of the vocabulary, `width` is C; the rest are sizes of the BERT, see `pretrain.towers.bert.Bert`."""
        super().__init__()
        self.frozen = frozen
        self.bert = Bert(
            vocab=vocab,
            hidden=hidden,
            layers=layers,
            fusion=layers,
            heads=heads,
            inter=inter,
            positions=positions,
            dropout=dropout,
            checkpointing=checkpointing,
        )
        del self.bert.head  # no token is predicted
        self.bert.requires_grad_(not frozen)
        self.lstm = BiLstm(hidden, width)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen:
            self.bert.eval()
        return self

    def forward(self, ids: Tensor, mask: Tensor) -> Encoded:
        """Ids and mask [B, L], the mask True (or 1) for real tokens -> tokens [B, L, C], 0 at padding."""
        return self.in_parts(self._encode, ids, mask)

    def _encode(self, ids: Tensor, mask: Tensor) -> Encoded:
        padding = None if torch.onnx.is_in_onnx_export() else torch.zeros_like(mask, dtype=torch.bool)  # its states are not needed
        with torch.no_grad() if self.frozen else nullcontext():
            states = self.bert.text(ids, mask, padding)
        return Encoded(self.lstm(states, mask), mask=mask.bool())


def bert_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A BERT of transformers, with or without the prefix "bert.", under the names of `pretrain.towers.bert`; other tensors are left out."""
    renamed = {}
    for name, value in state.items():
        module, _, leaf = name.removeprefix("bert.").rpartition(".")
        number = re.search(r"(?<=\.layer\.)\d+", module)
        form = module if number is None else f"{module[: number.start()]}#{module[number.end() :]}"
        if form in NAMES and leaf in LEAVES:
            renamed[f"{NAMES[form].replace('#', number[0] if number else '#')}.{LEAVES[leaf]}"] = value
    return renamed
