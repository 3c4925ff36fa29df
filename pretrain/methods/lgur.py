"""LGUR: granularity-unified representations of images and texts (Shao et al., ACM MM 2022, docs/papers/lgur.md).

A dictionary that both modalities share rewrites the tokens of an image and of a text (DGA with MSD, equations 1 to 4 there); prototypes
that both share read parts from them (PGU, equation 5). Identity and ranking losses compare the parts (equations 6 and 7). The streams of
tokens that the prototypes read:

image_dict       V_re = DGA(V, D) * M: the image rewritten by the dictionary D, with a mask M = sigmoid(mask(V))
image_guided     V_g = DGA(V, T) * M: the image rewritten by its caption, in training alone
text, text_dict  T, and T_re = DGA(T, D)

Identities are learnt from (V_g, T) and (V_re, T_re); ranked are these pairs, (T, T_re) and (V_g, V_re). The score of a text and an image
is the cosine of the parts of T_re and V_re. Without `dga` the streams are V and T themselves. Backbones are probed with less: UniPT and HAP
also, or only, take the largest value of each channel over the tokens (`pooled`).

Deviations: a frozen BERT never has dropout (as published it has from the second epoch on); a caption that is cut keeps its end token; the
second direction of the ranking is evaluated where it was drawn (`ranking: as_coded` is the published code); modules that the published
network holds and never uses are not there. Encoders whose width differs from the text's get a linear projection, which is ours.

Shapes: B rows, R rows of all ranks, N patches of an image, L tokens of a text, C channels of the vision encoder, d width of the tokens,
K parts, F width of a part.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import normalize

from mals.config import Count
from mals.errors import UserError
from pretrain import key_map, losses, ranks, weights
from pretrain.config import BelowOne, NotNegative, Positive, Section, Training
from pretrain.data.errors import MissingData
from pretrain.data.needs import DataNeeds
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers.base import Tokenizer
from pretrain.data.tokenizers.vocabulary import train_vocabulary
from pretrain.data.tokenizers.wordpiece import WordPiece
from pretrain.method import Batch, Method, ParameterRule, Text
from pretrain.precision import cosines
from pretrain.random_rows import generator
from pretrain.towers.attention import mask_bias
from pretrain.towers.batch_norm import own_name
from pretrain.towers.bert_lstm import BertLstm, bert_names
from pretrain.towers.cross_block import CrossBlock
from pretrain.towers.persons import person_classifier
from pretrain.towers.resnet import ModifiedResNet, ResNet, load_plip, load_resnet
from pretrain.towers.vit import Vit

RANKING = 0x16  # sets the random numbers of the ranking loss apart from those of the loader
SMALLEST_NORM = 1e-8  # of an embedding, as in the published evaluation

Grid = tuple[Count, Count]


class VitSettings(Section):
    """A vision transformer: the sizes of DeiT-small, of which the last block is not run."""

    patch: Count = 16  # pixels a side
    channels: Count = 384  # of a token
    layers: Count = 12  # blocks of the pretrained encoder
    blocks: Count = 11  # of them are run
    heads: Count = 6  # attention heads of a block
    inter: Count = 1536  # channels inside a block's feed-forward part
    norm: bool = False  # a layer norm behind the last block that is run
    drop_path: BelowOne = 0.1  # probability that an image skips the last of `layers`; for the others it is lower, linearly


class ResnetSettings(Section):
    """A ResNet: the sizes of ResNet-50, or with the vision encoder plip those of CLIP's version of it."""

    stem: Count = 64  # channels before the stages, of resnet50
    depths: tuple[Count, Count, Count, Count] = (3, 4, 6, 3)  # blocks of each stage
    widths: tuple[Count, Count, Count, Count] = (64, 128, 256, 512)  # channels inside each stage's blocks; plip doubles the first
    last_stride: Literal[1, 2] = 2  # of the last stage, of resnet50; 1: a map twice as large


class TextSettings(Section):
    """A BERT and a Bi-LSTM over its states."""

    hidden: Count = 768  # channels of a token in the BERT
    layers: Annotated[int, Field(ge=0)] = 12  # of the BERT; 0: an embedding of tokens and positions
    heads: Count = 12  # attention heads of a layer
    inter: Count = 3072  # channels inside a layer's feed-forward part
    positions: Count = 512  # tokens of the longest text that it can ever read
    dropout: BelowOne = 0.1  # probability that a channel is left out, where the BERT is trained
    frozen: bool = True  # the BERT is not trained and has no dropout; the Bi-LSTM is trained in any case
    rate: NotNegative = 0.01  # times optimizer.lr: the BERT, where it is trained
    start: str | None = None  # bert-base-uncased: a hub id, folder or file; null: random weights
    keys: str | None = None  # YAML or JSON file of patterns and new names for weights of another layout, see lgur.vision_keys


class LgurSettings(Section):
    """The section `lgur`."""

    vision: Literal["deit", "vit", "resnet50", "plip"] = "deit"  # the vision encoder; vit: a vision transformer of another project
    vit: VitSettings = VitSettings()  # the sizes of deit and vit
    resnet: ResnetSettings = ResnetSettings()  # the sizes of resnet50 and plip
    vision_start: str | None = None  # weights of the vision encoder: a hub id, folder or file; null: random weights
    vision_keys: str | None = None  # YAML or JSON file {pattern: name} for weights of another layout: regular expressions, null leaves out
    vision_grid: Grid | None = None  # rows and columns of the position table in these weights; null: as ours, or a square
    text: TextSettings = TextSettings()
    width: Count | None = None  # channels d of a token behind both encoders; null: those of the vision encoder
    dga: bool = True  # tokens are rewritten by the dictionary and by captions
    pgu: bool = True  # parts are read by prototypes
    pooled: bool = False  # a part more: the largest value of each channel over the tokens; without pgu always
    atoms: Count = 400  # of the dictionary
    prototypes: Count = 6  # parts that are read
    heads: Count = 6  # attention heads of DGA and PGU
    dga_head: Count = 64  # channels of a head of DGA
    dga_inter: Count = 768  # channels inside the feed-forward part of DGA
    pgu_layers: Count = 2  # blocks of PGU
    pgu_head: Count = 512  # channels of a head of PGU
    pgu_inter: Count = 512  # channels inside the feed-forward part of PGU
    out: Count = 512  # numbers of a part
    margin: Positive = 0.3  # of the ranking loss
    ranking: Literal["paper", "as_coded"] = "paper"  # as_coded: the second direction is drawn by columns and evaluated on rows
    slow_rate: NotNegative = 0.1  # times optimizer.lr: the vision encoder, DGA, PGU, dictionary, prototypes and mask
    least_images: Count = 1  # persons with fewer images are left out

    @model_validator(mode="after")
    def plip_has_its_sizes(self) -> "LgurSettings":
        sizes = self.resnet
        if self.vision == "plip" and (sizes.last_stride == 1 or sizes.widths != tuple(sizes.widths[0] << stage for stage in range(4))):
            raise ValueError("lgur.vision = plip has lgur.resnet.last_stride = 2, and lgur.resnet.widths that double")
        return self


class Stream(NamedTuple):
    """Tokens that parts are read from."""

    tokens: Tensor  # [B, N or L, d]
    mask: Tensor | None = None  # [B, L], True for real tokens; None where all are real


class PrototypeReader(nn.Module):
    """PGU: prototypes read one part each from the tokens of any stream; each part has a projection of its own."""

    def __init__(self, own: LgurSettings, width: int) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(1, own.prototypes, width))
        self.blocks = nn.ModuleList(CrossBlock(width, own.heads, own.pgu_head, own.pgu_inter) for _ in range(own.pgu_layers))
        self.projections = nn.ModuleList(_projection(width, own.out) for _ in range(own.prototypes))

    def forward(self, stream: Stream) -> Tensor:
        """-> [K, B, F]."""
        x, bias = self.prototypes.expand(stream.tokens.shape[0], -1, -1), None if stream.mask is None else mask_bias(stream.mask)
        for block in self.blocks:
            x = block(x, stream.tokens, bias)
        return torch.stack([projection(part) for projection, part in zip(self.projections, x.unbind(1), strict=True)])


class LargestReader(nn.Module):
    """The largest value of each channel over the tokens, projected: one part."""

    def __init__(self, own: LgurSettings, width: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList([_projection(width, own.out)])

    def forward(self, stream: Stream) -> Tensor:
        """-> [1, B, F]."""
        tokens = stream.tokens
        if stream.mask is not None:
            tokens = tokens.masked_fill(~stream.mask.bool()[..., None], torch.finfo(tokens.dtype).min)
        return self.projections[0](tokens.amax(1))[None]


def _projection(width: int, out: int) -> nn.Linear:
    """As the published code initialises W_k."""
    layer = nn.Linear(width, out, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    return layer


PAIRS = {  # loss -> the two streams that it ranks; the first two also learn identities
    "guided": ("image_guided", "text"),
    "dict": ("image_dict", "text_dict"),
    "text": ("text", "text_dict"),
    "image": ("image_guided", "image_dict"),
}
PLAIN_PAIRS = {"plain": ("image", "text")}  # without DGA
IDENTIFIED = ("guided", "dict", "plain")


class Lgur(Method):
    """The method of the settings `lgur`."""

    title = "LGUR (Shao et al., ACM MM 2022)"
    section = "lgur"
    Settings = LgurSettings
    max_tokens = 100
    weighs_rows = True
    training_only = r"identities\."

    def __init__(self, config: Training, vocabulary: int, persons: int | None) -> None:
        super().__init__()
        own = self.own = self.settings(config)
        self.seed = config.seed
        self.needs = self.data_needs(config)
        self.positions = own.text.positions
        self.vision = make_vision(own, config)
        width = own.width or self.vision.width
        self.narrow = nn.Identity() if width == self.vision.width else nn.Linear(self.vision.width, width, bias=False)
        self.text = make_text(own.text, vocabulary, width, config.checkpointing)
        if own.dga:
            self.dictionary = nn.Parameter(torch.randn(1, own.atoms, width))
            self.dga = CrossBlock(width, own.heads, own.dga_head, own.dga_inter)
            self.mask = nn.Linear(width, 1)
        self.readers = nn.ModuleDict()
        if own.pgu:
            self.readers["parts"] = PrototypeReader(own, width)
        if own.pooled or not own.pgu:
            self.readers["pooled"] = LargestReader(own, width)
        self.identities = None
        if persons is not None:
            parts = {"parts": own.prototypes, "pooled": 1}
            self.identities = nn.ModuleDict(
                {name: nn.ModuleList(person_classifier(own.out, persons) for _ in range(parts[name])) for name in self.readers}
            )
        slow = r"^(vision|dga|dictionary|mask|readers\.parts\.(prototypes|blocks))\b"
        self.rules = (ParameterRule(slow, rate=own.slow_rate), ParameterRule(r"^text\.bert\.", rate=own.text.rate))

    @classmethod
    def data_needs(cls, config: Training) -> DataNeeds:
        return DataNeeds(renumber_persons=True, images_per_person=cls.settings(config).least_images)

    @classmethod
    def explain(cls, config: Training, error: MissingData) -> str:
        return "which LGUR compares with images"

    @classmethod
    def tokenizer(cls, config: Training, texts: Iterable[str]) -> Tokenizer:
        name, longest = config.data.tokenizer or cls.default_tokenizer, config.data.max_tokens or cls.max_tokens
        if name == "train":
            return WordPiece.of(train_vocabulary(texts, config.data.vocabulary), longest, end=True)
        return WordPiece.load(name, longest, end=True)

    @classmethod
    def build(cls, config: Training, tokenizer: Tokenizer, data: ImageTextPairs | None = None) -> Self:
        torch.manual_seed(config.seed)
        return cls(config, tokenizer.size, None if data is None else data.person_count)

    @classmethod
    def inherited_settings(cls, config: Training) -> dict[str, Any]:
        own: LgurSettings = cls.settings(config)
        sizes = own.model_dump(mode="json", exclude={"margin", "ranking", "slow_rate", "least_images"})
        sizes |= {"vision_start": None, "vision_keys": None, "text": {**sizes["text"], "start": None, "keys": None}}
        return {"method": config.method, cls.section: sizes, "data": {"max_tokens": config.data.max_tokens}}

    @classmethod
    def read_weights(cls, source: str) -> dict[str, Tensor]:
        state = super().read_weights(source)
        return own_names(state) if any(name.startswith("network.") for name in state) else state

    def load_initial_weights(self, config: Training, pairs: ImageTextPairs) -> None:
        if config.start:
            return super().load_initial_weights(config, pairs)
        own: LgurSettings = self.own
        if own.vision_start:
            start_vision(self.vision, own.vision_start, own)
        if own.text.start:
            state = key_map.apply_map(weights.read_initial(own.text.start, "lgur.text.start", "a BERT"), key_map.read_map(own.text.keys))
            key_map.load_part(self.text.bert, bert_names(state), own.text.start, "the BERT")
        elif own.text.frozen:
            raise UserError("lgur.text.frozen=true keeps the BERT as it starts, and lgur.text.start names no weights: set one of the two")

    def parts(self) -> dict[str, Sequence[nn.Module]]:
        heads = {"DGA": [self.dga, self.mask]} if self.own.dga else {}
        return {"vision encoder": [self.vision], "text encoder (BERT, Bi-LSTM)": [self.text], **heads, "PGU": list(self.readers.values())}

    def initial_weights(self, config: Training) -> dict[str, tuple[str | None, bool]]:
        return {"The vision encoder": (self.own.vision_start, self.own.vision_start is not None), "The BERT": (self.own.text.start, False)}

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """The losses id_* and rank_* of each pair of streams, see `PAIRS`; with `pooled` those of the second reader end in _pooled."""
        streams = self._streams(batch.images, batch.text)
        pairs = PAIRS if self.own.dga else PLAIN_PAIRS
        terms: dict[str, Tensor] = {}
        for reader in self.readers:
            end = "" if reader == "parts" or not self.own.pgu else "_pooled"
            parts = self._read_parts(reader, streams)
            for name in (name for name in pairs if name in IDENTIFIED):
                first, second = (self._identify(reader, parts[stream], batch) for stream in pairs[name])
                terms[f"id_{name}{end}"] = first + second
            terms |= {f"rank_{name}{end}": loss for name, loss in self._rank(pairs, parts, batch, step, reader).items()}
        return terms

    def embed_image(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, K F] of length 1, with two readers a block of each."""
        tokens = self._image_tokens(images)
        return self._embed(Stream(self._rewritten(tokens) * self._visible(tokens) if self.own.dga else tokens))

    def embed_text(self, text: Text) -> Tensor:
        """[B, L] -> [B, K F] of length 1."""
        tokens = self.text(text.ids, text.mask).tokens
        return self._embed(Stream(self._rewritten(tokens) if self.own.dga else tokens, text.mask))

    def _image_tokens(self, images: Tensor) -> Tensor:
        """[B, N, d], without the class token."""
        if isinstance(self.vision, Vit):
            return self.narrow(self.vision(images).tokens[:, 1:])
        return self.narrow(self.vision(images).flatten(2).transpose(1, 2))

    def _visible(self, tokens: Tensor) -> Tensor:
        """M [B, N, 1]."""
        return self.mask(tokens).sigmoid()

    def _rewritten(self, tokens: Tensor) -> Tensor:
        """DGA of tokens [B, N, d] with the dictionary."""
        return self.dga(tokens, self.dictionary)

    def _streams(self, images: Tensor, text: Text) -> dict[str, Stream]:
        """All streams of a training; tokens of images and of texts are rewritten by the dictionary together, as none sees another."""
        image, words = self._image_tokens(images), self.text(text.ids, text.mask).tokens
        if not self.own.dga:
            return {"image": Stream(image), "text": Stream(words, text.mask)}
        visible = self._visible(image)
        image_dict, text_dict = self._rewritten(torch.cat([image, words], 1)).split([image.shape[1], words.shape[1]], 1)
        return {
            "image_guided": Stream(self.dga(image, words, mask_bias(text.mask)) * visible),
            "image_dict": Stream(image_dict * visible),
            "text": Stream(words, text.mask),
            "text_dict": Stream(text_dict, text.mask),
        }

    def _read_parts(self, reader: str, streams: Mapping[str, Stream]) -> dict[str, Tensor]:
        """The parts [K, B, F] of each stream; streams of one modality are read together."""
        parts: dict[str, Tensor] = {}
        for modality in ("image", "text"):
            names = [name for name in streams if name.startswith(modality)]
            masks = [mask for name in names if (mask := streams[name].mask) is not None]
            together = Stream(torch.cat([streams[name].tokens for name in names]), torch.cat(masks) if masks else None)
            parts |= zip(names, self.readers[reader](together).chunk(len(names), 1), strict=True)
        return parts

    def _identify(self, reader: str, parts: Tensor, batch: Batch) -> Tensor:
        """The mean over the parts [K, B, F] of the cross entropy of identities, each part with its own classifier."""
        assert self.identities is not None
        classifiers = self.identities[reader]
        assert isinstance(classifiers, nn.ModuleList)
        each = [
            losses.classified_persons(classifier(part), batch.persons, batch.weights)
            for classifier, part in zip(classifiers, parts, strict=True)
        ]
        return torch.stack(each).mean()

    def _rank(
        self, pairs: Mapping[str, tuple[str, str]], parts: Mapping[str, Tensor], batch: Batch, step: int, reader: str
    ) -> dict[str, Tensor]:
        """The ranking losses of pairs of streams over the rows of all ranks."""
        vectors = {name: normalize(part.float().transpose(0, 1).flatten(1), dim=1) for name, part in parts.items()}
        everyone = dict(zip(vectors, ranks.gather(torch.stack(list(vectors.values()), 1)).unbind(1), strict=True))
        everybody = ranks.gather_detached(batch.persons)
        weights = None if batch.weights is None else ranks.gather_detached(batch.weights)
        random = self._random(len(pairs), everybody, step, reader)
        return {
            name: losses.rank_semihard(
                cosines(everyone[first], everyone[second]),
                everybody,
                self.own.margin,
                own,
                as_coded=self.own.ranking == "as_coded",
                weights=weights,
            )
            for (name, (first, second)), own in zip(pairs.items(), random, strict=True)
        }

    def _random(self, pairs: int, rows: Tensor, step: int, reader: str) -> Tensor:
        """The random numbers of the ranking losses, [pairs, 2, R]: for each pair and direction one of each anchor of all `rows` [R]."""
        numbers = generator(rows.device, self.seed, step, RANKING, list(self.readers).index(reader))
        return torch.rand(pairs, 2, len(rows), generator=numbers, device=rows.device)

    def _embed(self, stream: Stream) -> Tensor:
        blocks = [
            normalize(reader(stream).float().transpose(0, 1).flatten(1), dim=1, eps=SMALLEST_NORM) for reader in self.readers.values()
        ]
        return torch.cat(blocks, 1) * len(blocks) ** -0.5


def make_vision(own: LgurSettings, config: Training) -> Vit | ResNet | ModifiedResNet:
    """The vision encoder of the settings, with random weights."""
    height, width, sizes = config.data.height, config.data.width, own.resnet
    if own.vision == "resnet50":
        return ResNet(**sizes.model_dump())
    if own.vision == "plip":
        return ModifiedResNet(height=height, width=width, depths=sizes.depths, channels=sizes.widths[0], output=None)
    return Vit(height, width, **own.vit.model_dump(), checkpointing=config.checkpointing)


def start_vision(vision: Vit | ResNet | ModifiedResNet, source: str, own: LgurSettings) -> None:
    """Load the weights of a source, with names of its own by the map lgur.vision_keys; UserError where they do not fit."""
    setting = "lgur.vision_start"
    if isinstance(vision, Vit) or own.vision_keys:
        state = key_map.apply_map(weights.read_initial(source, setting, "a vision encoder"), key_map.read_map(own.vision_keys))
        if isinstance(vision, Vit):
            state = vision.adapt(state, source, own.vision_grid)
        else:
            state = {new: value for name, value in state.items() if (new := own_name(name)) is not None}
        return key_map.load_part(vision, state, source, "the vision encoder")
    return load_resnet(vision, source, setting) if isinstance(vision, ResNet) else load_plip(vision, source, setting)


def make_text(own: TextSettings, vocabulary: int, width: int, checkpointing: bool) -> BertLstm:
    """The text encoder of the settings, with random weights."""
    sizes = own.model_dump(exclude={"rate", "start", "keys"})
    return BertLstm(vocabulary, width, **sizes, checkpointing=checkpointing)


BLOCK = {  # a block of the published decoders -> ours
    "0.fn.norm": "attention_norm",
    "0.fn.fn.to_q": "query",
    "0.fn.fn.to_kv": "key_value",
    "0.fn.fn.to_out.0": "out",
    "1.fn.norm": "mlp_norm",
    "1.fn.fn.net.0": "up",
    "1.fn.fn.net.3": "down",
}


def network_name(name: str) -> str | None:
    """Our name of a parameter of the published network or of its classifiers, without those of BERT; None for what is not used."""
    for pattern, new in PUBLISHED.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(new)
    if match := re.fullmatch(r"network\.TXTDecoder(_2)?\.transformer\.layers\.(\d+)\.(.+)\.(weight|bias)", name):
        second, layer, module, leaf = match.groups()
        place = "dga" if second else f"readers.parts.blocks.{layer}"
        return f"{place}.{BLOCK[module]}.{leaf}" if module in BLOCK else None
    return None


PUBLISHED = {
    r"network\.ImageExtract\.model\.((?!norm\.|fc\.|head).*)": r"vision.\1",
    r"network\.TextExtract\.lstm\.(.*)": r"text.lstm.lstm.\1",
    r"network\.dict_feature": "dictionary",
    r"network\.mask\.0\.(.*)": r"mask.\1",
    r"network\.query_embed_image": "readers.parts.prototypes",
    r"network\.conv_1X1_2\.(\d+)\.block\.0\.weight": r"readers.parts.projections.\1.weight",
    r"W\.(\d+)\.W\.block\.(.*)": r"identities.parts.\1.\2",
}
BERT = "network.TextExtract.text_embed."


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of the published code under our names; what the published network never uses, as its last block, is left out."""
    last = max((int(match[1]) for name in state if (match := re.match(r"network\.ImageExtract\.model\.blocks\.(\d+)\.", name))), default=0)
    state = {name: value for name, value in state.items() if not name.startswith(f"network.ImageExtract.model.blocks.{last}.")}
    bert = bert_names({name.removeprefix(BERT): value for name, value in state.items() if name.startswith(BERT)})
    renamed = {f"text.bert.{name}": value for name, value in bert.items()}
    for name, value in state.items():
        if (new := network_name(name)) is not None:
            renamed[new] = value.flatten(1) if ".projections." in new else value
    return renamed
