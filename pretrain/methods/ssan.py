"""SSAN (Ding, Ding, Shao and Tao, 2021): global, part and relation features of images and captions, aligned level by level.

*Semantically Self-Aligned Network for Text-to-Image Part-aware Person Re-identification*, arXiv:2107.12666; docs/papers/ssan.md has the
equations, the constants and where this module and the authors' code differ. The levels are

global     the maximum of the image's map, and of the states of the caption's words, behind one projection of both
local      six stripes of the map, and for each stripe the words that the word attention (WAM) gives it, behind a projection a part (PFL)
non_local  each part with what the others that are like it add (the multi-view non-local network, MV-NLN)

Each level has a loss of identities, whose classifiers only the training needs, and the compound ranking loss: a caption of the image ranks
before captions of other persons, and so, by a margin that adapts, does a caption of another image of the same person. The embedding is the
levels one after the other, each as long as the others: the dot product of two is the mean of the three cosines (published: the sum).

Ranking losses are sums over the batch of all ranks, so they grow with it. No loss depends on the number of ranks. Sizes of a batch: one row
a rank is enough; the relations are normalised over the batch, so that all ranks together need two.
Shapes: B rows, L tokens, K parts, C channels of the map and of a word's state, D channels of a level, N rows of all ranks.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad

from mals.config import Count, Share
from mals.errors import UserError
from pretrain import losses, ranks
from pretrain.config import BelowOne, NotNegative, Positive, Section, Training
from pretrain.data import tokenizers
from pretrain.data.errors import MissingData
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers import Tokenizer, WordList
from pretrain.method import Batch, DataNeeds, Method, ParameterRule, Text
from pretrain.precision import cosines
from pretrain.random_rows import generator
from pretrain.towers.batch_norm import BatchNorm, own_name
from pretrain.towers.bilstm import BiLstm
from pretrain.towers.persons import person_classifier
from pretrain.towers.resnet import ModifiedResNet, ResNet, load_plip, load_resnet

LEVELS = ("global", "local", "non_local")
SLOPE = 0.25  # of the leaky ReLUs
EPSILON = 1e-8  # added to lengths that divide, as published
NOT_ITSELF = -1e6  # added to a part's score for itself
DIRECTIONS = 4  # random numbers of an anchor: its image and its caption among captions, the same among second captions
CHOICES = 0x55A4  # sets the random numbers of negatives apart from others

FourStages = Annotated[tuple[Count, ...], Field(min_length=4, max_length=4)]
Levels = dict[str, Tensor]  # a level -> [B, K, D], K = 1 for the global one


class SsanVision(Section):
    """The image encoder; the defaults are ResNet-50."""

    backbone: Literal["resnet50", "plip"] = "resnet50"  # plip: CLIP's ResNet-50, which PLIP pretrains on people
    stem: Count = 64  # channels before the stages
    depths: FourStages = (3, 4, 6, 3)  # blocks of each stage
    widths: FourStages = (64, 128, 256, 512)  # channels inside the blocks of each stage
    last_stride: Literal[1, 2] = 2  # of the last stage; 1: its map has twice as many rows and columns
    start: str | None = None  # torchvision's weights, or PLIP's: a hub id such as timm/resnet50.tv_in1k, a folder or a file; null: random

    @model_validator(mode="after")
    def plip_has_these_sizes(self) -> "SsanVision":
        if self.backbone == "plip" and (self.last_stride == 1 or self.widths != tuple(self.stem << stage for stage in range(4))):
            raise ValueError(
                "ssan.vision.backbone = plip has ssan.vision.last_stride = 2, and ssan.vision.widths that double from ssan.vision.stem"
            )
        return self


class SsanSettings(Section):
    """The method SSAN (docs/papers/ssan.md)."""

    vision: SsanVision = SsanVision()  # the image encoder
    table: Count | None = None  # rows of the two tables of words, padding among them; null: as many as the word list needs
    word_width: Count = 512  # channels of a word in the tables
    word_dropout: BelowOne = 0.3  # probability that a channel of a word is left out
    width: Annotated[int, Field(ge=2)] = 1024  # channels of the global feature, and of each part
    relation_width: Count = 512  # channels of each part behind the relations
    parts: Count = 6  # horizontal stripes of an image
    word_attention: bool = True  # WAM; false: every part has all words in full
    non_local: bool = True  # MV-NLN; false: the levels global and local alone
    margin: Positive = 0.2  # of the ranking
    weak_weight: NotNegative = 0.1  # of the ranking of second captions, beside that of captions
    adaptive_from: Annotated[int, Field(ge=0)] = 5  # epochs with half the margin for second captions; then theirs adapts
    least_margin: NotNegative = 0.16  # a second caption with a smaller adapted margin is left out
    local_weight: NotNegative = 0.5  # of the losses of parts, and of those behind the relations
    vision_rate: Share = 0.1  # times optimizer.lr: the image encoder

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that are trained and compared."""
        return LEVELS if self.non_local else LEVELS[:2]


class PartLinear(nn.ModuleList):
    """A projection without bias for each part: [B, K, C] -> [B, K, D]."""

    def __init__(self, parts: int, width: int, out: int) -> None:
        super().__init__(_linear(width, out) for _ in range(parts))

    def forward(self, parts: Tensor) -> Tensor:
        return torch.stack([layer(part) for layer, part in zip(self, parts.unbind(1), strict=True)], 1)


class Relations(nn.Module):
    """The multi-view non-local network: every part looks at the others, in images and in captions by the same weights."""

    apart: Tensor

    def __init__(self, parts: int, width: int, out: int) -> None:
        super().__init__()
        inner = width // 2
        self.keys, self.queries = PartLinear(parts, width, inner), PartLinear(parts, width, inner)
        self.up, self.out = PartLinear(parts, inner, width), PartLinear(parts, width, out)
        self.norms = nn.ModuleList(BatchNorm(width) for _ in range(parts))
        self.register_buffer("apart", NOT_ITSELF * torch.eye(parts), persistent=False)

    def forward(self, parts: Tensor) -> Tensor:
        """[B, K, D] -> [B, K, out]; each call in training updates the running statistics."""
        keys, queries = (unit(leaky_relu(layer(parts), SLOPE)) for layer in (self.keys, self.queries))
        weights = (queries @ keys.transpose(1, 2) + self.apart).softmax(2)  # [B, a part, the parts that it looks at]
        seen = self.up(weights @ keys)
        normed = torch.stack([norm(part) for norm, part in zip(self.norms, seen.unbind(1), strict=True)], 1)
        return self.out(parts + leaky_relu(normed, SLOPE))


class Ssan(Method):
    """The method of the settings `ssan`."""

    title = "SSAN (Ding et al., 2021)"
    section = "ssan"
    Settings: ClassVar[type[Section]] = SsanSettings
    max_tokens = 100
    default_tokenizer = "train"
    weighs_rows = True
    training_only = r"identities\."

    @classmethod
    def data_needs(cls, config: Training) -> DataNeeds:
        return DataNeeds(second_caption="other_image", renumber_persons=True)

    @classmethod
    def explain(cls, config: Training, error: MissingData) -> str:
        return "which SSAN compares with images"

    @classmethod
    def tokenizer(cls, config: Training, texts: Iterable[str]) -> Tokenizer:
        """The word list that data.tokenizer names, or, for "train", the words that occur twice in the captions."""
        name, longest = config.data.tokenizer or cls.default_tokenizer, config.data.max_tokens or cls.max_tokens
        if name == "train":
            table: int | None = cls.settings(config).table
            return WordList.train(texts, longest, most=min(config.data.vocabulary, table or config.data.vocabulary) - 1)
        words = tokenizers.load(Path(name).expanduser(), longest)
        if not isinstance(words, WordList):
            raise UserError(f"data.tokenizer = {name} is a {words.kind_name()}, and SSAN reads a word list")
        return words

    @classmethod
    def inherited_settings(cls, config: Training) -> dict[str, Any]:
        own: SsanSettings = cls.settings(config)
        sizes = {"table", "word_width", "width", "relation_width", "parts", "word_attention", "non_local"}
        vision = {**own.vision.model_dump(mode="json"), "start": None}
        inherited = {**own.model_dump(mode="json", include=sizes), "vision": vision}
        return {"method": config.method, cls.section: inherited, "data": {"max_tokens": config.data.max_tokens}}

    @classmethod
    def read_weights(cls, source: str) -> dict[str, Tensor]:
        """Our own weights, or those of the authors' network (docs/papers/ssan.md, section Checkpoints)."""
        state = super().read_weights(source)
        return renamed(state) if any(name.startswith("network.") for name in state) else state

    def __init__(self, config: Training, tokenizer: Tokenizer, persons: int | None) -> None:
        """`persons` is the number of identities of a training, None where a trained method is loaded."""
        super().__init__()
        own: SsanSettings = self.settings(config)
        self.own, self.seed, self.longest = own, config.seed, tokenizer.max_tokens
        self.needs = self.data_needs(config)
        self.rules = (ParameterRule(r"^image\.", rate=own.vision_rate),)
        self.image = _image_encoder(own, config.data.height, config.data.width)
        words, channels = _table(own, tokenizer.size), self.image.width
        self.words_global, self.words_local = (nn.Embedding(words, own.word_width, padding_idx=0) for _ in range(2))
        self.dropout = nn.Dropout(own.word_dropout)
        self.reader = BiLstm(own.word_width, channels)
        self.word_attention = nn.Linear(channels, own.parts, bias=False) if own.word_attention else None
        self.global_head = _linear(channels, own.width)
        self.part_heads = PartLinear(own.parts, channels, own.width)
        self.relations = Relations(own.parts, own.width, own.relation_width) if own.non_local else None
        self.identities = None if persons is None else _classifiers(own, persons)

    def load_initial_weights(self, config: Training, pairs: ImageTextPairs) -> None:
        """Weights of the whole instead of those of the image encoder."""
        start, setting = self.own.vision.start, "ssan.vision.start"
        if config.start or not start:
            super().load_initial_weights(config, pairs)
        elif isinstance(self.image, ModifiedResNet):
            load_plip(self.image, start, setting)
        else:
            load_resnet(self.image, start, setting)

    def parts(self) -> dict[str, Sequence[nn.Module]]:
        relations = {} if self.relations is None else {"relations of parts (MV-NLN)": [self.relations]}
        text = [self.words_global, self.words_local, self.reader]
        return {"image encoder (ResNet)": [self.image], "text encoder (words, Bi-LSTM)": text, **relations}

    def initial_weights(self, config: Training) -> dict[str, tuple[str | None, bool]]:
        start = self.own.vision.start
        return {"The image encoder": (start, start is not None), "The text encoder": (None, False)}

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """For each level the loss of identities and the compound ranking; see pretrain.method.Method."""
        assert batch.second_text is not None and self.identities is not None
        image = self.image_levels(self.image(batch.images))
        whole, parts = self.pooled_words(_together(batch.text, batch.second_text))
        rows = len(batch.persons)
        text, second = self._levels(whole[:rows], parts[:rows]), self._levels(whole[rows:], parts[rows:])
        terms: dict[str, Tensor] = {}
        for number, level in enumerate(self.own.levels):
            weight = 1.0 if level == "global" else self.own.local_weight
            terms[f"id_{level}"] = weight * self.identity(level, image, text, batch)
            strong, weak = self.ranking((image[level], text[level], second[level]), batch, step, number)
            terms[f"rank_{level}"] = weight * (strong + self.own.weak_weight * weak)
        return terms

    def identity(self, level: str, image: Levels, text: Levels, batch: Batch) -> Tensor:
        """Cross entropy of the persons: the mean over the parts of a level, the sum of image and text."""
        assert self.identities is not None
        heads: Any = self.identities[level]
        pairs = zip(heads, image[level].unbind(1), text[level].unbind(1), strict=True)
        each = [losses.identity(head(seen), head(read), batch.persons, total=True, weights=batch.weights) for head, seen, read in pairs]
        return torch.stack(each).mean()

    def ranking(self, features: tuple[Tensor, Tensor, Tensor], batch: Batch, step: int, level: int) -> tuple[Tensor, Tensor]:
        """The compound ranking of a level: its strong part, of captions, and its weak part, of second captions.

        `features` [B, K, D] are those of images, captions and second captions.
        """
        images, texts, seconds = (ranks.gather(unit(each.flatten(1))) for each in features)
        persons, own = ranks.gather_detached(batch.persons), self.own
        strong, weak = cosines(images, texts), cosines(images, seconds)
        random = self.random(step, len(persons), images.device)[level]
        adaptive = batch.epoch >= own.adaptive_from
        margin = adapted_margin(strong.diagonal(), weak.diagonal(), own.margin) if adaptive else torch.full_like(strong[0], own.margin / 2)
        least = own.least_margin if adaptive else None
        weights = None if batch.weights is None else ranks.gather_detached(batch.weights)
        return (
            losses.rank_semihard(strong, persons, own.margin, random[:2], weights=weights),
            losses.rank_semihard(weak, persons, margin, random[2:], min_margin=least, weights=weights),
        )

    def random(self, step: int, rows: int, device: torch.device) -> Tensor:
        """Numbers in [0, 1) that decide which semi-hard negatives are taken: [levels, DIRECTIONS, N], the same on every rank."""
        numbers = generator(device, self.seed, step, CHOICES)
        return torch.rand(len(LEVELS), DIRECTIONS, rows, generator=numbers, device=device)

    def image_levels(self, maps: Tensor) -> Levels:
        """The features of images whose maps are [B, C, h, w]."""
        return self._levels(maps.flatten(2).max(2).values, stripes(maps, self.own.parts))

    def text_levels(self, text: Text) -> Levels:
        """The features of texts."""
        return self._levels(*self.pooled_words(text))

    def pooled_words(self, text: Text) -> tuple[Tensor, Tensor]:
        """What the global level and the parts have of the words: [B, C] and [B, K, C]."""
        rows, mask = text.ids.shape[0], text.mask.bool()
        words = torch.cat([self.dropout(table(text.ids)) for table in (self.words_global, self.words_local)])
        states = self.reader(words, torch.cat([mask, mask]))
        return self.loudest(states[:rows], mask), self.parts_of(states[rows:], mask)

    def loudest(self, states: Tensor, mask: Tensor) -> Tensor:
        """The maximum over the words, [B, L, C] -> [B, C]; at least 0 for texts shorter than the longest allowed, whose padding counts."""
        highest = _maximum(states, mask)
        return torch.where(mask.sum(1, keepdim=True) < self.longest, highest.clamp(min=0), highest)

    def parts_of(self, states: Tensor, mask: Tensor) -> Tensor:
        """For each part the maximum over the words, each as loud as the word attention has it for the part: [B, L, C] -> [B, K, C]."""
        if self.word_attention is None:
            return _maximum(states, mask)[:, None].expand(-1, self.own.parts, -1)
        loudness = self.word_attention(states).sigmoid()
        return torch.stack([_maximum(states * loudness[..., part, None], mask) for part in range(self.own.parts)], 1)

    def _levels(self, whole: Tensor, parts: Tensor) -> Levels:
        """The levels of what is pooled: [B, C] and [B, K, C]."""
        local = leaky_relu(self.part_heads(parts), SLOPE)
        levels = {"global": self.global_head(whole)[:, None], "local": local}
        return levels if self.relations is None else {**levels, "non_local": self.relations(local)}

    def embed_image(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D of all levels] of length 1, each level as long as the others."""
        return joined(self.image_levels(self.image(images)))

    def embed_text(self, text: Text) -> Tensor:
        """[B, L] -> [B, D of all levels] of length 1, each level as long as the others."""
        return joined(self.text_levels(text))


def stripes(maps: Tensor, parts: int) -> Tensor:
    """The maximum of each of K horizontal stripes of maps, [B, C, h, w] -> [B, K, C]; stripes share rows where K does not divide h."""
    rows = maps.shape[2]
    bounds = [(part * rows // parts, -(-(part + 1) * rows // parts)) for part in range(parts)]
    return torch.stack([maps[:, :, first:last].flatten(2).max(2).values for first, last in bounds], 1)


def unit(features: Tensor) -> Tensor:
    """[..., D] of length 1, in float32."""
    features = features.float()
    return features / (features.norm(dim=-1, keepdim=True) + EPSILON)


def joined(levels: Levels) -> Tensor:
    """The levels [B, K, D] one after the other, in all of length 1: the dot product of two results is the mean of the levels' cosines."""
    return torch.cat([unit(features.flatten(1)) for features in levels.values()], 1) * len(levels) ** -0.5


def adapted_margin(strong: Tensor, weak: Tensor, margin: float) -> Tensor:
    """The margins [N] of second captions: the closer an image is to one, compared with its own caption, the larger.

    `strong` and `weak` [N] are the cosines of images with their captions and second captions. From half the margin to the margin.
    """
    share = (weak.detach().abs() / strong.detach().abs()).nan_to_num(nan=1.0).clamp(max=1)
    return (share + 1) * margin / 2


def _maximum(states: Tensor, mask: Tensor) -> Tensor:
    """The maximum over the tokens of a mask [B, L], [B, L, C] -> [B, C]; 0 for a text without any."""
    highest = states.masked_fill(~mask[..., None], -torch.inf).max(1).values
    return highest.masked_fill(~mask.any(1, keepdim=True), 0)


def _together(one: Text, two: Text) -> Text:
    """Two groups of texts as one, as wide as the wider."""
    width = max(one.ids.shape[1], two.ids.shape[1])
    pairs = ((one.ids, two.ids), (one.mask, two.mask))
    ids, mask = (torch.cat([pad(part, (0, width - part.shape[1])) for part in parts]) for parts in pairs)
    return Text(ids, mask)


def _linear(width: int, out: int) -> nn.Linear:
    layer = nn.Linear(width, out, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def _image_encoder(own: SsanSettings, height: int, width: int) -> ResNet | ModifiedResNet:
    """UserError where the map has fewer rows than there are parts."""
    sizes = own.vision
    if sizes.backbone == "plip":
        encoder: ResNet | ModifiedResNet = ModifiedResNet(height=height, width=width, depths=sizes.depths, channels=sizes.stem, output=None)
    else:
        encoder = ResNet(stem=sizes.stem, depths=sizes.depths, widths=sizes.widths, last_stride=sizes.last_stride)
    if (rows := -(-height // encoder.stride)) < own.parts:
        raise UserError(
            f"data.height = {height} gives the map of the image encoder {rows} rows, and ssan.parts = {own.parts}; "
            "raise data.height, or set ssan.vision.last_stride=1"
        )
    return encoder


def _table(own: SsanSettings, words: int) -> int:
    """Rows of the tables of words; UserError where the word list has more."""
    if own.table is not None and own.table < words:
        raise UserError(f"ssan.table = {own.table:,} rows are too few for the {words - 1:,} words of the tokenizer and padding")
    return own.table or words


def _classifiers(own: SsanSettings, persons: int) -> nn.ModuleDict:
    """The classifiers of identities, one a part of each level."""
    sizes = {"global": (1, own.width), "local": (own.parts, own.width), "non_local": (own.parts, own.relation_width)}
    return nn.ModuleDict(
        {level: nn.ModuleList(person_classifier(sizes[level][1], persons) for _ in range(sizes[level][0])) for level in own.levels}
    )


STAGES = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}  # of the authors' sequence of layers
PUBLISHED = (  # the authors' names, as regular expressions, and ours
    (r"^network\.ImageExtract\.(\d)\.", lambda part: f"image.{STAGES[part[1]]}."),
    (r"^network\.TextExtract\.embedding_(global|local)\.", r"words_\1."),
    (r"^network\.TextExtract\.lstm\.", "reader.lstm."),
    (r"^network\.conv_word_classifier\.0\.", "word_attention."),
    (r"^network\.conv_global\.block\.0\.", "global_head."),
    (r"^network\.conv_local\.(\d+)\.block\.0\.", r"part_heads.\1."),
    (r"^network\.non_local_net\.part_sim_conv\.(\d+)\.block\.0\.", r"relations.keys.\1."),
    (r"^network\.non_local_net\.cur_sim_conv\.(\d+)\.block\.0\.", r"relations.queries.\1."),
    (r"^network\.non_local_net\.up_dim_conv\.(\d+)\.block\.0\.", r"relations.up.\1."),
    (r"^network\.non_local_net\.up_dim_conv\.(\d+)\.block\.1\.", r"relations.norms.\1."),
    (r"^network\.non_local_net\.conv_local_att\.(\d+)\.block\.0\.", r"relations.out.\1."),
    (r"^WG\.W\.(\d+)\.block\.", r"identities.global.\1."),
    (r"^WL\.W\.(\d+)\.block\.", r"identities.local.\1."),
    (r"^WN\.W\.(\d+)\.block\.", r"identities.non_local.\1."),
)


def published_name(name: str) -> str | None:
    """Our name of a parameter of the authors' network; None for counts of batches, which have none."""
    for pattern, new in PUBLISHED:
        name = re.sub(pattern, new, name)
    return own_name(name)


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' tensors as ours: by our names, and 1 x 1 convolutions outside the image encoder as matrices."""
    ours = {name: value for theirs, value in state.items() if (name := published_name(theirs)) is not None}
    return {name: value if name.startswith("image.") or value.dim() < 4 else value[..., 0, 0] for name, value in ours.items()}
