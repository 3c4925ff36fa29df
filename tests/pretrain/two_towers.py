"""A method of somebody's own, in one file: pictures by a few convolutions, captions by their words, contrasted."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from pretrain import losses, ranks
from pretrain.method import Batch, Method, Text


class TwoTowers(Method):
    """What it needs of the data is a picture and a caption, what it can do is to embed."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.GELU(), nn.Conv2d(8, 16, 2, 2), nn.GELU(), nn.Flatten(), nn.LazyLinear(width))
        self.words, self.say = nn.Embedding(vocabulary, 32), nn.Linear(32, width)
        self.scale = nn.Parameter(torch.tensor(10.0))

    @classmethod
    def build(cls, config: Any, tokenizer: Any) -> Self:
        torch.manual_seed(config.seed)
        method = cls(tokenizer.size, config.own.get("width", 16))
        method.see(torch.zeros(1, 3, config.data.height, config.data.width))
        return method

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        image, text = self.embed_image(batch.images), self.embed_text(batch.text)
        same = batch.persons[:, None] == ranks.gather_detached(batch.persons)
        return {"itc": losses.itc(image, text, ranks.gather(image), ranks.gather(text), same, 1 / self.scale)}

    def embed_image(self, images: Tensor) -> Tensor:
        return normalize(self.see(images).float(), dim=-1)

    def embed_text(self, text: Text) -> Tensor:
        known = self.words(text.ids) * text.mask[..., None]
        return normalize(self.say(known.sum(1) / text.mask.sum(1, keepdim=True)).float(), dim=-1)
