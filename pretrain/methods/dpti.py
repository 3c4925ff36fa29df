"""DPTI (arXiv:2208.11440): parts of a person that the image itself asks for, for occluded and partial re-identification.

*Dynamic Template Initialization for Part-Aware Person Re-ID* (University of Moratuwa, 2022). There is no public code, and we know no
numbers of it: this module follows the paper's equations, and every choice that they leave open is marked "ours" in the settings below
and in docs/papers/dpti.md, whose numbers of equations are used here.

templates   the map of the stage before the last, encoded (1, 2), is read by N learnt queries (3): the templates of this image (4)
parts       the templates read the map of the last stage, encoded alike (5): N parts; the mean of that map is the whole
weights     how much of the image a query finds, as a share of all queries: a part that is hidden counts less (6)

The descriptor is the whole and the weighted parts, one after the other (7); one classifier of persons and one triplet loss see all of it,
and the diversity loss keeps the parts apart (8). With `pooling: global` the method is its backbone alone, with the mean of the last map
and the same two losses: what DPTI is compared with. Images are compared by the cosine of their descriptors.

No loss depends on the number of ranks. Shapes: B rows, N parts, D channels (`width`), P places of a map, C channels of the backbone's maps.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from mals.config import Count
from mals.errors import UserError
from pretrain import losses, ranks
from pretrain.config import BelowOne, NotNegative, Section, Training
from pretrain.data.needs import DataNeeds
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers import NoWords, Tokenizer
from pretrain.method import Batch, Method
from pretrain.towers.attention import attend
from pretrain.towers.batch_norm import BatchNorm
from pretrain.towers.persons import person_classifier
from pretrain.towers.resnet import ResNet, load_resnet

NEGATIVES = 2  # persons that a batch must have


class DptiVision(Section):
    """The backbone, a ResNet; the defaults are ResNet-50, which is ours: the paper allows any convolutional network."""

    stem: Count = 64  # channels before the stages
    depths: Annotated[tuple[Count, ...], Field(min_length=4, max_length=4)] = (3, 4, 6, 3)  # blocks of each stage
    widths: Annotated[tuple[Count, ...], Field(min_length=4, max_length=4)] = (64, 128, 256, 512)  # channels inside each stage's blocks
    last_stride: Literal[1, 2] = 1  # of the last stage; ours: 1, both maps have 16 x 8 places of an image of 256 x 128
    start: str | None = None  # torchvision's weights: a hub id such as timm/resnet50.tv_in1k, a folder or a file; null: random weights


class DptiLosses(Section):
    """The factors of the losses, alpha, beta and gamma of the paper, which does not state them; ours: 1 each."""

    identity: NotNegative = 1.0  # classification of persons by the descriptor; ours
    triplet: NotNegative = 1.0  # the hardest triplets of the batch, by the descriptor; ours
    diversity: NotNegative = 1.0  # likeness of the parts; ours, 0.1 is worth a try


class DptiSettings(Section):
    """The method DPTI (docs/papers/dpti.md); the paper states none of these numbers."""

    vision: DptiVision = DptiVision()  # the backbone
    pooling: Literal["parts", "global"] = "parts"  # global: the backbone alone with the mean of its last map, for comparison
    adaptive: bool = True  # parts are weighted by how much of the image their queries find; false: all by 1, the paper's ablation
    parts: Count = 6  # N, the queries and parts of an image; ours
    width: Count = 256  # D, channels of a part; ours
    heads: Count = 8  # attention heads; ours
    expansion: Count = 2  # channels inside a feed-forward layer, as a multiple of width; ours
    margin: NotNegative = 0.3  # of the triplet loss, a Euclidean distance; ours
    unit_triplets: bool = True  # triplets of descriptors of length 1, as they are compared; false: of descriptors as they are; ours
    smoothing: BelowOne = 0.1  # of the classifier's targets; ours
    images_per_person: Annotated[int, Field(ge=2)] = 4  # K: rows of a person in a batch, which has batch / K persons; ours
    loss_weights: DptiLosses = DptiLosses()  # factors of the losses

    @model_validator(mode="after")
    def heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"dpti.width = {self.width} does not divide into dpti.heads = {self.heads}")
        return self


class Attention(nn.Module):
    """A layer that reads a map: attention without an output projection, and a feed-forward layer with the attention as its residual."""

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.feed = nn.Sequential(nn.Linear(width, expansion * width), nn.ReLU(), nn.Linear(expansion * width, width))

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Inputs [B, L, D] that read [B, P, D] -> [B, L, D]: FFN(g + x) + g with the attention g, equations 2 and 5."""
        parts = (layer(values).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer, values in self._inputs(x, memory))
        read = attend(*parts).transpose(1, 2).flatten(2)
        return self.feed(read + x) + read

    def _inputs(self, x: Tensor, memory: Tensor) -> Iterable[tuple[nn.Module, Tensor]]:
        return (self.query, x), (self.key, memory), (self.value, memory)


class SpatialEncoder(nn.Module):
    """A map with D channels, whose places have read each other: equations 1 and 2.

    The batch normalisation is ours. Without it the places of a map differ so little beside what they share that all templates, and all
    parts, begin alike, where the diversity loss has no gradient (docs/papers/dpti.md).
    """

    def __init__(self, channels: int, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), BatchNorm(width))
        self.attention = Attention(width, heads, expansion)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, P, D], row by row."""
        places = self.reduce(maps).flatten(2).transpose(1, 2)
        return self.attention(places, places)


@dataclass(frozen=True)
class Parts:
    """What the method sees in images."""

    whole: Tensor  # [B, D]
    parts: Tensor  # [B, N, D], before they are weighted
    weights: Tensor  # [B, N], which sum to N
    scores: Tensor  # [B, N, P], of the queries at the places of the map before the last, before the softmax

    def descriptor(self) -> Tensor:
        """[B, (N + 1) * D]: the whole and the weighted parts, equation 7."""
        return torch.cat([self.whole, (self.weights[..., None] * self.parts).flatten(1)], 1)


def adaptive_weights(scores: Tensor) -> Tensor:
    """The weights [B, N] of parts by their scores [B, N, P]: N times the softmax over the parts of the mean over places, equation 6.

    They sum to N, and are 1 where all scores are equal.
    """
    return scores.shape[1] * scores.mean(2).softmax(1)


class PartHead(nn.Module):
    """Templates, parts and their weights, of the last two maps of a backbone."""

    def __init__(self, own: DptiSettings, middle: int, last: int) -> None:
        super().__init__()
        sizes = (own.width, own.heads, own.expansion)
        self.adaptive = own.adaptive
        self.early, self.late = SpatialEncoder(middle, *sizes), SpatialEncoder(last, *sizes)
        self.queries = nn.Parameter(torch.randn(own.parts, own.width) / own.width**0.5)  # scores begin at the size of a channel; ours
        self.template = nn.Linear(own.width, own.width, bias=False)
        self.attention = Attention(*sizes)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)  # ours
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, middle: Tensor, last: Tensor) -> Parts:
        """The map before the last [B, C, h, w] and the last one -> see `Parts`."""
        places = self.early(middle)
        scores = self.queries @ places.transpose(1, 2)
        templates = self.template(scores.softmax(2) @ places)
        encoded = self.late(last)
        weights = adaptive_weights(scores) if self.adaptive else torch.ones_like(scores[:, :, 0])
        return Parts(encoded.mean(1), self.attention(templates, encoded), weights, scores)


class Dpti(Method):
    """The method of the settings `dpti`."""

    title = "DPTI (Dynamic Template Initialization, arXiv:2208.11440)"
    section = "dpti"
    Settings = DptiSettings
    training_only = r"classifier\."
    abilities = frozenset({"identify"})

    @classmethod
    def data_needs(cls, config: Training) -> DataNeeds:
        rows = cls.settings(config).images_per_person
        return DataNeeds(captions=False, images_per_person=2, renumber_persons=True, group=(rows, rows))

    @classmethod
    def tokenizer(cls, config: Training, texts: Iterable[str]) -> Tokenizer:
        """None: the method reads no captions."""
        return NoWords()

    @classmethod
    def build(cls, config: Training, tokenizer: Tokenizer, data: ImageTextPairs | None = None) -> Self:
        own: DptiSettings = cls.settings(config)
        if data is not None and config.batch < NEGATIVES * own.images_per_person:
            raise UserError(
                f"a batch of {config.batch} rows has one person with dpti.images_per_person = {own.images_per_person}, "
                "and triplets need another one; raise batch"
            )
        torch.manual_seed(config.seed)
        return cls(config, None if data is None else data.person_count)

    @classmethod
    def inherited_settings(cls, config: Training) -> dict[str, Any]:
        own: DptiSettings = cls.settings(config)
        sizes = own.model_dump(mode="json", include={"pooling", "adaptive", "parts", "width", "heads", "expansion"})
        return {"method": config.method, "dpti": {**sizes, "vision": {**own.vision.model_dump(mode="json"), "start": None}}}

    def __init__(self, config: Training, persons: int | None) -> None:
        super().__init__()
        own: DptiSettings = self.settings(config)
        self.own, self.needs = own, self.data_needs(config)
        self.backbone = ResNet(stem=own.vision.stem, depths=own.vision.depths, widths=own.vision.widths, last_stride=own.vision.last_stride)
        self.head = PartHead(own, self.backbone.mid_width, self.backbone.width) if own.pooling == "parts" else None
        width = self.backbone.width if self.head is None else (own.parts + 1) * own.width
        self.classifier = None if persons is None else person_classifier(width, persons)  # its initial weights are ours

    def load_initial_weights(self, config: Training, pairs: ImageTextPairs) -> None:
        """Weights of the whole instead of those of the backbone."""
        if config.start:
            super().load_initial_weights(config, pairs)
        elif self.own.vision.start:
            load_resnet(self.backbone, self.own.vision.start, "dpti.vision.start")

    def parts(self) -> dict[str, Sequence[nn.Module]]:
        return {"backbone (ResNet)": [self.backbone]} | ({"templates and parts": [self.head]} if self.head is not None else {})

    def initial_weights(self, config: Training) -> dict[str, tuple[str | None, bool]]:
        start = self.own.vision.start
        return {"The backbone": (start, start is not None)}

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """See pretrain.method.Method: identity, triplet and, with parts, diversity; a weight of 0 leaves one out."""
        assert self.classifier is not None
        middle, last = self.backbone.maps(batch.images)
        seen = None if self.head is None else self.head(middle, last)
        descriptor = last.mean((2, 3)) if seen is None else seen.descriptor()
        weights, terms = self.own.loss_weights, dict[str, Tensor]()
        if weights.identity:
            logits = self.classifier(descriptor).float()
            terms["identity"] = cross_entropy(logits, batch.persons, label_smoothing=self.own.smoothing)
        if weights.triplet:
            same = batch.persons[:, None] == ranks.gather_detached(batch.persons)
            own = normalize(descriptor.float(), dim=1) if self.own.unit_triplets else descriptor
            terms["triplet"] = losses.triplet_hard(own, ranks.gather(own), same, self.own.margin)
        if weights.diversity and seen is not None:
            terms["diversity"] = losses.part_diversity(seen.parts)
        return {name: getattr(weights, name) * term for name, term in terms.items()}

    def embed_image(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> descriptors [B, (N + 1) * D] of length 1, or [B, C] of the backbone alone."""
        middle, last = self.backbone.maps(images)
        descriptor = last.mean((2, 3)) if self.head is None else self.head(middle, last).descriptor()
        return normalize(descriptor.float(), dim=-1)

    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Where the N templates look in images [B, 3, H, W]: shares [B, N, h, w] that sum to 1, and the weights [B, N] of the parts.

        UserError where the method is its backbone alone.
        """
        if self.head is None:
            raise UserError("this method was trained with dpti.pooling = global: it has no templates")
        middle, last = self.backbone.maps(images)
        seen = self.head(middle, last)
        return seen.scores.float().softmax(2).unflatten(2, middle.shape[2:]), seen.weights.float()
