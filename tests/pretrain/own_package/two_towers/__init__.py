"""A training method as a stranger would write it, in a package of its own: images by a few convolutions, captions by their words.

It has settings of its own, a tokenizer, optimizer rules, a classifier of identities for the training alone, and an evaluation protocol.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from mals.config import Section
from pretrain import losses, ranks
from pretrain.config import Training
from pretrain.data.needs import DataNeeds
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers import Tokenizer
from pretrain.data.tokenizers.masking import TokenMasking
from pretrain.method import NO_DECAY, Batch, Method, ParameterRule, Text
from two_towers.words import HashedWords


class TowerSettings(Section):
    """The section `two_towers`."""

    width: int = 16  # of an embedding
    vocabulary: int = 64  # ids of words
    identity: float = 0.1  # weight of the loss of identities


class TwoTowers(Method):
    """A contrast of images and captions, and a classifier of identities that only the training needs."""

    title = "Two towers"
    section = "two_towers"
    Settings = TowerSettings
    max_tokens = 20
    training_only = r"identities\."
    needs = DataNeeds(masking=TokenMasking(0.3), images_per_person=2, renumber_persons=True, group=(1, 2))
    rules = (NO_DECAY, ParameterRule(r"^scale$", rate=10.0, decay=0.0))
    abilities = frozenset({"embed", "identify"})

    def __init__(self, own: TowerSettings, vocabulary: int, persons: int | None) -> None:
        super().__init__()
        self.see = nn.Sequential(
            nn.Conv2d(3, 8, 8, 8), nn.GELU(), nn.Conv2d(8, 16, 2, 2), nn.GELU(), nn.Flatten(), nn.LazyLinear(own.width)
        )
        self.words, self.say = nn.Embedding(vocabulary, 32), nn.Linear(32, own.width)
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.weight = own.identity
        self.identities = None if persons is None else nn.Linear(own.width, persons)

    @classmethod
    def tokenizer(cls, config: Training, texts: Iterable[str]) -> Tokenizer:
        return HashedWords(cls.settings(config).vocabulary, config.data.max_tokens or cls.max_tokens)

    @classmethod
    def build(cls, config: Training, tokenizer: Tokenizer, data: ImageTextPairs | None = None) -> Self:
        torch.manual_seed(config.seed)
        method = cls(cls.settings(config), tokenizer.size, None if data is None else int(data.persons.max()) + 1)
        method.see(torch.zeros(1, 3, config.data.height, config.data.width))
        return method

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        assert batch.masked is not None and self.identities is not None
        image, text = self.embed_image(batch.images), self.embed_text(batch.masked)
        same = batch.persons[:, None] == ranks.gather_detached(batch.persons)
        contrast = losses.itc(image, text, ranks.gather(image), ranks.gather(text), same, 1 / self.scale)
        identity = cross_entropy(self.identities(image), batch.persons)
        return {"itc": contrast, "identity": self.weight * identity}

    def evaluate_more(self, trained: Any, gallery: Any) -> Mapping[str, Mapping[str, Any]]:
        """Embeddings are as wide as the settings say: a protocol of this method's own."""
        return {"two towers": {"numbers of an embedding": trained.width(), "images": len(gallery)}}

    def embed_image(self, images: Tensor) -> Tensor:
        return normalize(self.see(images).float(), dim=-1)

    def embed_text(self, text: Text) -> Tensor:
        known = self.words(text.ids) * text.mask[..., None]
        return normalize(self.say(known.sum(1) / text.mask.sum(1, keepdim=True)).float(), dim=-1)
