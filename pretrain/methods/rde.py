"""RDE, robust dual embedding (Qin et al., CVPR 2024): two embeddings of CLIP's towers, trained on the pairs that both take for right.

BGE, the basic global embedding, is the towers' own. TSE, the token selection embedding, pools the 30 % of the tokens that the last block
attends to most. Before every epoch CCD, the confident consensus division, fits a mixture of two normal distributions to
each embedding's losses of all rows: rows that both take for clean are trained on, others not, and where they disagree a
coin decides. The loss is TAL, the triplet alignment loss, of both embeddings, summed over the batch: learning rates
grow with it. The score of an image and a text is the mean of both cosines.

What differs from the published code, and which settings undo it, is in docs/papers/rde.md. No loss depends on the number of ranks.

Shapes: B rows, N rows of all ranks, R rows of the training, L tokens.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from mals.config import Count, Share
from pretrain import losses, mixture, ranks
from pretrain.clip_method import SCORES, ClipMethod, ClipSettings
from pretrain.config import NotNegative, Positive, Section, Training
from pretrain.data import noise
from pretrain.data.needs import DataNeeds
from pretrain.data.random_numbers import uniform
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers import Tokenizer
from pretrain.data.tokenizers.masking import RemovalMasking
from pretrain.method import Batch, Encoded, ParameterRule, Text
from pretrain.noise_masking import DRAWS
from pretrain.precision import cosines
from pretrain.towers.token_selection import TokenSelection, select

log = logging.getLogger(__name__)

CLEAN = 0.5  # probability from which a row is taken for clean
DOUBTED = 100  # where all rows are taken for clean, one of so many is not
COIN = 0xC014  # sets the random numbers of disagreements apart from others
AUTHORS = {  # names in the authors' checkpoints -> ours
    "visul_emb_layer.fc.": "image_tse.linear.",
    "visul_emb_layer.mlp.": "image_tse.",
    "texual_emb_layer.linear.": "text_tse.linear.",
    "texual_emb_layer.mlp.": "text_tse.",
}
LAYERS = {
    "layers.0.": "first.",
    "layers.1.": "second.",
    "bns.0.running_mean": "norm.mean",
    "bns.0.running_var": "norm.variance",
    "bns.0.": "norm.",
}
UNUSED = ("visul_emb_layer.linear.", "visul_emb_layer.mlp.bns.1.", "texual_emb_layer.mlp.bns.1.")  # in the authors' checkpoints


class Tse(Section):
    """The token selection embedding."""

    embed: Count = 1024  # numbers of it
    hidden: Count = 512  # channels inside its MLP
    ratio: Annotated[float, Field(gt=0, le=1)] = 0.3  # of the tokens: how many are selected
    lr: NotNegative = 1e-3  # learning rate of its layers, biases too, at the factor 1 of the schedule


class Mixture(Section):
    """How the mixture of CCD is fitted."""

    iterations: Count = 10  # at most
    tolerance: NotNegative = 1e-2  # it ends where the mean log likelihood changes by less
    floor: Positive = 5e-4  # added to the variances; losses are from 0 to 1


class RdeSettings(ClipSettings):
    """The method RDE (docs/papers/rde.md)."""

    tse: Tse = Tse()  # the token selection embedding
    loss: Literal["tal", "trl", "sdm", "info_nce"] = "tal"  # of both embeddings; tal and trl are sums over the batch, the others means
    temperature: Positive = 0.015  # of tal and trl
    margin: NotNegative = 0.1  # of tal and trl
    contrast_temperature: Positive = 0.02  # of sdm and info_nce
    masking: Share = 0.2  # of the tokens: masked, exchanged or removed; 0 leaves captions as they are
    ccd: bool = True  # false: every row is trained on, without the pass over all rows before each epoch
    mixture: Mixture = Mixture()  # of CCD
    bn_frozen: bool = False  # true, as published: batch normalisation keeps the statistics that it starts with
    count_padding: bool = False  # true, as published: the statistics of batch normalisation have padding in them where captions are short
    noise: str | None = None  # file of wrong pairs: the row whose caption each row gets, see pretrain/data/noise.py
    noise_share: Share = 0.0  # of the rows get captions of other persons; written into the file `noise` where that is missing
    noise_seed: Annotated[int, Field(ge=0)] = 0  # of these wrong pairs


class Rde(ClipMethod):
    """The method of the settings `rde`."""

    title = "RDE (Qin et al., CVPR 2024)"
    section = "rde"
    Settings: ClassVar[type[Section]] = RdeSettings
    training_only = rf"confident$|{SCORES}"
    per_person = rf"confident$|{SCORES}"  # of the rows of one training
    confident: Tensor  # [R] bool: the rows that the losses of this epoch count

    @classmethod
    def data_needs(cls, config: Training) -> DataNeeds:
        own: RdeSettings = cls.settings(config)
        rule = own.noise_masking.rule
        masking = RemovalMasking(own.masking) if own.masking and rule == "none" else None
        return DataNeeds(masking=masking, full_width=own.count_padding, token_draws=DRAWS[rule])

    @classmethod
    def training_rows(cls, config: Training, pairs: ImageTextPairs) -> ImageTextPairs:
        """With the wrong pairs of the settings; UserError where their file does not fit the rows."""
        own: RdeSettings = cls.settings(config)
        if own.noise is not None:
            file = Path(own.noise).expanduser()
            order = noise.read_or_draw(file, pairs.persons.numpy(), own.noise_share, own.noise_seed, ranks.is_main())
        elif own.noise_share:
            order = noise.draw(pairs.persons.numpy(), own.noise_share, own.noise_seed)
        else:
            return pairs
        return pairs.with_captions_of(torch.from_numpy(order))

    @classmethod
    def build(cls, config: Training, tokenizer: Tokenizer, data: ImageTextPairs | None = None) -> Self:
        method = super().build(config, tokenizer, data)
        if data is not None:
            method.register_buffer("confident", torch.ones(len(data), dtype=torch.bool))
        return method

    @classmethod
    def inherited_settings(cls, config: Training) -> dict[str, Any]:
        tree = super().inherited_settings(config)
        tree[cls.section]["tse"] = cls.settings(config).tse.model_dump(mode="json", exclude={"lr"})
        return tree

    @classmethod
    def read_weights(cls, source: str) -> dict[str, Tensor]:
        """Our own weights, or a checkpoint of the authors, without the layers that they never use."""
        return {new: value for name, value in super().read_weights(source).items() if (new := own_name(name)) is not None}

    def __init__(self, config: Training, tokenizer: Tokenizer, persons: int | None) -> None:
        super().__init__(config, tokenizer, persons)
        tse, embed = self.own.tse, self.own.embed
        self.image_tse = TokenSelection(embed, tse.hidden, tse.embed, self.own.bn_frozen)
        self.text_tse = TokenSelection(embed, tse.hidden, tse.embed, self.own.bn_frozen)
        rows, columns = self.base_model.visual.grid
        self.image_count = max(1, int(rows * columns * tse.ratio))
        self.text_count = max(1, int((tokenizer.max_tokens - 2) * tse.ratio))  # without the start and the end token
        self.seed = config.seed
        self.register_buffer("confident", torch.ones(0, dtype=torch.bool), persistent=False)
        factor = tse.lr / config.optimizer.lr if config.optimizer.lr else 0.0
        self.rules = (*self.rules, ParameterRule(r"^(image|text)_tse\.", rate=factor))

    def parts(self) -> dict[str, Sequence[nn.Module]]:
        return {**super().parts(), "token selection": [self.image_tse, self.text_tse]}

    def before_epoch(self, epoch: int, batches: Callable[[], Iterable[Batch]]) -> None:
        """Divide the rows by their losses (CCD), see `divide`; a row that cannot be read counts for confident."""
        if not self.own.ccd:
            return
        values = np.full((2, len(self.confident)), np.nan)
        for batch in batches():
            each = torch.stack(list(self.row_losses(batch).values()), 1)
            rows = ranks.gather_detached(batch.rows).cpu().numpy()
            values[:, rows] = ranks.gather_detached(each).cpu().numpy().T
        known = np.isfinite(values).all(0)
        confident = np.ones(len(known), bool)
        coins = uniform((self.seed, epoch, COIN), np.flatnonzero(known).tolist(), 1)[:, 0] < 0.5
        confident[known] = divide(values[:, known], coins, self.own.mixture)
        agreed = torch.from_numpy(confident).to(self.confident.device, torch.uint8)
        self.confident = ranks.sum_over_ranks(agreed if ranks.is_main() else torch.zeros_like(agreed)).bool()
        if ranks.is_main():
            log.info("epoch %s: %s of %s rows count", epoch + 1, f"{int(self.confident.sum()):,}", f"{len(confident):,}")

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """The losses `bge` and `tse`; see pretrain.method.Method."""
        confident = self.confident[batch.rows].float()
        weights = confident if batch.weights is None else confident * batch.weights
        sums = {name: (weights * rows).sum() for name, rows in self.row_losses(batch).items()}
        if self.own.loss in ("tal", "trl"):
            return {name: total * ranks.world_size() for name, total in sums.items()}
        count = ranks.mean_over_ranks(confident.sum())
        return {name: total / torch.where(count > 0, count, 1) for name, total in sums.items()}

    def row_losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of each row [B] among those of all ranks, of both embeddings."""
        unmasked, batch = batch, self.mask_by_scores(batch)
        encoded = self.base_model.encode_image(batch.images, last_attention=True, inner=self.inner)
        images, texts = self.pool_images(encoded), self.text_embeddings(batch.text if batch.masked is None else batch.masked)
        self.score_tokens(unmasked, encoded)
        same = batch.persons[:, None] == ranks.gather_detached(batch.persons)
        pairs = torch.arange(len(same), device=same.device) + ranks.rank() * len(same)
        rows = {}
        for name, image, own_text in zip(("bge", "tse"), images, texts, strict=True):
            to_images, to_texts = cosines(own_text, ranks.gather(image)), cosines(image, ranks.gather(own_text))
            rows[name] = self.loss_of(to_images, to_texts, same, pairs)
        return rows

    def loss_of(self, to_images: Tensor, to_texts: Tensor, same: Tensor, pairs: Tensor) -> Tensor:
        """The loss of each row [B] by its cosines [B, N], see pretrain/losses.py."""
        own: RdeSettings = self.own
        if own.loss == "sdm":
            return losses.sdm_rows(to_images, to_texts, same, own.contrast_temperature)
        if own.loss == "info_nce":
            return losses.info_nce(to_images, to_texts, pairs, own.contrast_temperature)
        triplet = losses.tal if own.loss == "tal" else losses.trl
        return triplet(to_images, to_texts, same, own.temperature, own.margin)

    def image_embeddings(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """BGE and TSE of images, [B, D] each, of length 1."""
        return self.pool_images(self.base_model.encode_image(images, last_attention=True))

    def pool_images(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """BGE and TSE of images that the tower has encoded, with the attention of its last block."""
        attention = cast(Tensor, encoded.attention)[:, 0]
        is_global = (torch.arange(attention.shape[1], device=attention.device) == 0).expand_as(attention)
        selected = self.image_tse(encoded.tokens, select(attention, is_global, self.image_count))
        return unit(cast(Tensor, encoded.pooled)), unit(selected)

    def text_embeddings(self, text: Text) -> tuple[Tensor, Tensor]:
        """BGE and TSE of texts, [B, D] each, of length 1; a caption without words is pooled over its end token alone."""
        encoded, real = self.base_model.encode_text(text.ids, last_attention=True), text.mask.bool()
        position, end = torch.arange(text.ids.shape[1], device=text.ids.device), real.sum(1, keepdim=True) - 1
        word = (position > 0) & (position < end)
        counted = word | ((position == end) & (end < 2))
        attention = cast(Tensor, encoded.attention)
        attention = attention.gather(1, end[..., None].expand(-1, -1, attention.shape[2]))[:, 0]
        chosen = select(attention, real & ~counted, self.text_count)
        selected = self.text_tse(encoded.tokens, chosen, counted.gather(1, chosen), self.own.count_padding)
        return unit(cast(Tensor, encoded.pooled)), unit(selected)

    def embed_image(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D] of length 1: BGE, then TSE, so that a dot product is the mean of both cosines."""
        return torch.cat(self.image_embeddings(images), 1) * 0.5**0.5

    def embed_text(self, text: Text) -> Tensor:
        """[B, L] -> [B, D] of length 1, as `embed_image`."""
        return torch.cat(self.text_embeddings(text), 1) * 0.5**0.5


def unit(features: Tensor) -> Tensor:
    """[B, D] in float32, of length 1."""
    return normalize(features.float(), dim=1)


def divide(values: NDArray[np.float64], coins: NDArray[np.bool_], settings: Mixture) -> NDArray[np.bool_]:
    """Confident consensus division: which rows [R] count, by the losses [2, R] of both embeddings.

    A row is clean for an embedding whose mixture gives it more than half to the component of lower losses. Where both agree that decides,
    otherwise the row's coin [R].
    """
    first, second = (clean(each, settings) for each in values)
    return np.where(first == second, first, coins)


def clean(values: NDArray[np.float64], settings: Mixture) -> NDArray[np.bool_]:
    """Which rows [R] one embedding takes for clean; where it takes all, the hundredth that is least clean is not."""
    span = np.ptp(values) if len(values) > 1 else 0.0
    if not span:
        return np.ones(len(values), bool)
    scaled = (values - values.min()) / span
    fitted = mixture.fit(scaled, settings.iterations, settings.tolerance, settings.floor)
    probability = fitted.of_lower(scaled)
    if probability.min() <= CLEAN:
        return probability > CLEAN
    is_clean = np.ones(len(values), bool)
    is_clean[np.lexsort((-scaled, probability))[: len(values) // DOUBTED + 1]] = False
    return is_clean


def own_name(name: str) -> str | None:
    """Our name of a parameter in the authors' checkpoints, None for one that is not used; our own names stay."""
    if name.startswith(UNUSED) or name.endswith("num_batches_tracked"):
        return None
    for theirs, ours in AUTHORS.items():
        if name.startswith(theirs):
            rest = name.removeprefix(theirs)
            layer = next((layer for layer in LAYERS if rest.startswith(layer)), "")
            return ours + LAYERS.get(layer, "") + rest.removeprefix(layer)
    return name
