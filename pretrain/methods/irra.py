"""IRRA (Jiang and Ye, CVPR 2023): CLIP's towers, similarity distribution matching, identities, and masked words read from the image.

The losses are SDM (the paper's equations 3 to 6), ID and IRR (equations 1 and 2), see docs/papers/irra.md. As in the authors' code, which
masks captions in place, the masked caption is the input of all losses; `clean_captions` gives SDM and ID the caption as it is. A caption
is read once: one pass of the text tower serves all losses, where the authors' code has two with the same result; the vocabulary's scores
are computed for masked words alone. Nothing depends on the number of ranks: SDM compares with the rows of all ranks, and the mean of IRR
is that over the masked words of all ranks.

Shapes: B rows, N rows of all ranks, L tokens of a caption, T tokens of an image, D width of the embeddings, M masked words, V vocabulary.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from open_clip.transformer import LayerNorm, QuickGELU
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn.functional import normalize

from mals.config import Count, Share
from pretrain import losses, ranks
from pretrain.clip_method import SCORES, ClipMethod, ClipSettings
from pretrain.config import NotNegative, Positive, Section, Training
from pretrain.data.batch import Batch
from pretrain.data.errors import MissingData, NoLabels
from pretrain.data.needs import DataNeeds, Negatives
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers.base import Tokenizer
from pretrain.data.tokenizers.masking import IGNORED, TokenMasking
from pretrain.data.wordings import searched
from pretrain.data.wordings.searched import SearchSentences
from pretrain.host import to_device
from pretrain.noise_masking import DRAWS
from pretrain.sentence_loss import PARAMETERS, SentenceHead, sentence_loss
from pretrain.towers.clip import HEAD, Transformer, attention, initialise_attention
from pretrain.towers.micro_batches import MicroBatched
from pretrain.towers.persons import person_classifier

HEADS = (
    r"classifier\.|cross_attn\.|cross_modal_transformer\.|ln_pre_t\.|ln_pre_i\.|ln_post\.|mlm_head\.|" + f"{PARAMETERS}|{SCORES}"
)  # what IRRA adds to CLIP


class LossWeights(Section):
    """The factor of each loss in the sum, in the order of the log; 0 leaves a loss out."""

    sdm: NotNegative = 1.0  # similarity distribution matching
    id: NotNegative = 1.0  # classification of persons
    mlm: NotNegative = 1.0  # masked words, read from the image (IRR)
    sentences: NotNegative = 0.0  # whether an image has all that drawn sentences claim (docs/wordings.md)


class IrraSettings(ClipSettings):
    """The method IRRA (docs/papers/irra.md)."""

    loss_weights: LossWeights = LossWeights()  # the factor of each loss
    cross_layers: Count = 4  # of the cross encoder that predicts masked words
    temperature: Positive = 0.02  # of sdm; it is not learnt
    mask_share: Share = 0.15  # of a caption's tokens
    clean_captions: bool = False  # true: sdm and id see the caption without masks; false, as published: all losses see the masked one
    mask_without_mlm: bool = False  # true: captions are masked although the weight of mlm is 0, to tell the masks' effect from the loss's
    other_images: Share = (
        1.0  # of sdm: the target of a caption of another image of the person, as a share of that of a caption of the image
    )
    uniform_rate: bool = False  # true: one learning rate and weight decay for all parameters, instead of IRRA's factors for some
    space: str = "market1501"  # the attribute space of the loss `sentences`
    sentences: Count = 4  # of the loss `sentences`: sentences about each row, which all images of the step are asked
    targets_by_columns: bool = False  # of sdm with other_images below 1: true, as published: targets are divided by the sums of columns

    @model_validator(mode="after")
    def something_to_train(self) -> "IrraSettings":
        if not any(weight for _, weight in self.loss_weights):
            raise ValueError("irra.loss_weights are all 0: there is nothing to train")
        if self.noise_masking.rule == "nam" and self.clean_captions and not self.loss_weights.mlm:
            raise ValueError("irra.clean_captions = true without the loss mlm: no loss would see the masks of irra.noise_masking")
        if self.noise_masking.rule == "gadms" and self.clean_captions:
            raise ValueError(
                "irra.clean_captions = true with irra.noise_masking.rule = gadms, whose first masking is of the captions of sdm and id; "
                "leave one of them out"
            )
        return self

    @property
    def masks(self) -> bool:
        """Whether captions are masked."""
        rule = self.noise_masking.rule
        return self.loss_weights.mlm > 0 or rule == "nam" or (rule == "none" and self.mask_without_mlm)


class Irra(MicroBatched, ClipMethod):
    """The method of the settings `irra`."""

    title = "IRRA (Jiang and Ye, CVPR 2023)"
    section = "irra"
    Settings = IrraSettings
    space_setting = "space"
    training_only: ClassVar[str | None] = HEADS

    @classmethod
    def data_needs(cls, config: Training) -> DataNeeds:
        """Captions have the full width where masked words are predicted: the cross encoder reads padding too, as published."""
        own: IrraSettings = cls.settings(config)
        takes_negatives = own.loss_weights.sdm and own.noise_masking.rule == "none"  # whose masks would not be those of the wrong captions
        as_sdm_reads: Negatives = "masked" if own.masks and not own.clean_captions else "clean"
        return DataNeeds(
            negatives=as_sdm_reads if config.data.wordings.exchanged and takes_negatives else "none",
            masking=TokenMasking(own.mask_share) if own.masks and own.noise_masking.rule == "none" else None,
            token_draws=DRAWS[own.noise_masking.rule],
            full_width=own.loss_weights.mlm > 0,
            attributes=own.loss_weights.sentences > 0,
            space=own.space if own.loss_weights.sentences else None,
            sentences=SearchSentences(own.space, own.sentences) if own.loss_weights.sentences else None,
            renumber_persons=True,
        )

    @classmethod
    def explain(cls, config: Training, error: MissingData) -> str:
        return "which the loss sentences needs (give its weight 0)" if isinstance(error, NoLabels) else "which IRRA needs"

    @classmethod
    def vocabulary_texts(cls, config: Training) -> list[str]:
        return [*searched.words()] if cls.settings(config).loss_weights.sentences else []

    def __init__(self, config: Training, tokenizer: Tokenizer, persons: int | None) -> None:
        super().__init__(config, tokenizer, persons)
        self.rules = () if self.own.uniform_rate else self.rules
        self.image_of_row: Tensor | None = None
        self.sentence_head: SentenceHead | None = None
        if persons is None:
            return
        weights, embed = self.own.loss_weights, self.own.embed
        if weights.sentences:
            self.sentence_head = SentenceHead(embed)
        if weights.id:
            self.classifier = person_classifier(embed, persons)
        if weights.mlm:
            self.add_cross_encoder(embed, self.own.cross_layers, tokenizer.size)
            self.cross_modal_transformer.checkpointing = config.checkpointing

    def load_initial_weights(self, config: Training, pairs: ImageTextPairs) -> None:
        super().load_initial_weights(config, pairs)
        if self.own.other_images < 1:
            self.image_of_row = pairs.images

    def add_cross_encoder(self, width: int, layers: int, vocabulary: int) -> None:
        """Attention of a caption to its image, blocks on the caption, and the scores of all tokens; names are those of the authors."""
        self.cross_attn = nn.MultiheadAttention(width, max(1, width // HEAD), batch_first=True)
        self.cross_modal_transformer = Transformer(width, layers)
        self.ln_pre_t, self.ln_pre_i, self.ln_post = LayerNorm(width), LayerNorm(width), LayerNorm(width)
        dense, scores = nn.Linear(width, width), nn.Linear(width, vocabulary)
        self.mlm_head = nn.Sequential(OrderedDict([("dense", dense), ("gelu", QuickGELU()), ("ln", LayerNorm(width)), ("fc", scores)]))
        initialise_attention(self.cross_attn, layers)
        self.cross_modal_transformer.initialise()
        nn.init.normal_(dense.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(scores.weight, std=width**-0.5 * (2 * layers) ** -0.5)

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """See pretrain.method.Method; which losses there are follows from the weights."""
        weights = self.own.loss_weights
        image = self.base_model.encode_image(batch.images, inner=self.inner)
        unmasked, batch = batch, self.mask_by_scores(batch, self.own.masks)
        text, masked = self.read_captions(batch)
        assert image.pooled is not None
        terms: dict[str, Tensor] = {}
        if weights.sdm:
            terms["sdm"] = self.match_pairs(image.pooled, text, batch)
        if weights.id:
            terms["id"] = losses.identity(self.classifier(image.pooled), self.classifier(text), batch.persons, weights=batch.weights)
        if weights.mlm:
            assert masked is not None and batch.targets is not None
            targets = batch.targets if batch.host is None else batch.host.targets
            terms["mlm"] = self.predict_words(masked, image.tokens, cast(Tensor, targets), batch.weights)
        if self.sentence_head is not None:
            assert batch.sentences is not None
            own, sentences = normalize(image.pooled.float(), dim=-1), self.embed_text(batch.sentences)
            terms["sentences"] = sentence_loss(self.sentence_head, own, sentences, batch, ranks.Means())()
        self.score_tokens(unmasked, image)
        return {name: getattr(weights, name) * loss for name, loss in terms.items()}

    def read_captions(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The features [B, D] of the captions for sdm and id, and the tokens [B, L, D] of the masked ones, where there are any."""
        if not self.own.masks:
            return cast(Tensor, self.base_model.encode_text(batch.text.ids).pooled), None
        assert batch.masked is not None
        if not self.own.clean_captions and self.own.noise_masking.rule != "gadms":
            read = self.base_model.encode_text(batch.masked.ids)
            return cast(Tensor, read.pooled), read.tokens
        read = self.base_model.encode_text(torch.cat([batch.text.ids, batch.masked.ids]))
        return cast(Tensor, read.pooled)[: len(batch.rows)], read.tokens[len(batch.rows) :]

    def match_pairs(self, image: Tensor, text: Tensor, batch: Batch) -> Tensor:
        """SDM of features [B, D] among those of all ranks."""
        image, text = normalize(image.float(), dim=-1), normalize(text.float(), dim=-1)
        same, sums = self.matches(batch)
        everyone = ranks.gather(image), ranks.gather(text)
        return losses.sdm(image, text, *everyone, same, self.own.temperature, sums, batch.weights, self.wrong_cosines(image, batch))

    def matches(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Which images and texts of all ranks match, or how much, [B, N], and what these weights are divided by if not by their sums."""
        persons = ranks.gather_detached(batch.persons)
        if self.image_of_row is None:
            return batch.persons[:, None] == persons, None
        self.image_of_row = self.image_of_row.to(persons.device)
        own_images = self.image_of_row[batch.rows]
        images = ranks.gather_detached(own_images)

        def weights(person: Tensor, image: Tensor) -> Tensor:
            same_image = (image[:, None] == images).float()
            return same_image + self.own.other_images * ((person[:, None] == persons).float() - same_image)

        return weights(batch.persons, own_images), weights(persons, images).sum(1) if self.own.targets_by_columns else None

    def cross_encode(self, text: Tensor, image: Tensor) -> Tensor:
        """Tokens [B, L, D] of captions and [B, T, D] of their images -> states [B, L, D] of the captions that have seen the images."""
        return self.in_parts(self._cross_encode, text, image)

    def _cross_encode(self, text: Tensor, image: Tensor) -> Tensor:
        x, _ = attention(self.cross_attn, self.ln_pre_t(text), self.ln_pre_i(image))
        return cast(Tensor, self.ln_post(self.cross_modal_transformer(x)[0]))

    def predict_words(self, text: Tensor, image: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """IRR: the loss of the masked words, `targets` [B, L] of the host, -100 elsewhere, from tokens [B, L, D] and [B, T, D].

        Targets of the device have to be read for their number.
        """
        states, device = self.cross_encode(text, image).flatten(0, 1), text.device
        hidden = (targets.flatten() != IGNORED).nonzero().squeeze(1)
        index = to_device(hidden, device)
        count = ranks.mean_over_ranks(torch.full((), float(len(index)), device=device))
        logits = self.mlm_head(states.index_select(0, index))
        of_places = None if weights is None else weights.index_select(0, index // targets.shape[1])
        return losses.masked_words(logits, to_device(targets.flatten()[hidden], device), count, of_places)
