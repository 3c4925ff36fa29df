"""UIT (Liu et al., arXiv 2307.09059, 2023), whose paper was renamed SEN (Neural Networks 184, 2025): CLIP's towers, trained with
similarity distribution matching (SDM) and identities (ID) as in IRRA, cross-modal triplets (CMT), and text-guided restoration (TIR).

The equations, what the published code does otherwise than its paper, and what is otherwise here, are in docs/papers/uit.md. Captions are
changed: some keep their pronouns, nouns and adjectives alone, and tokens are masked by their tags; all losses see the changed caption. The
restoration reads a gray image of which most patches were dropped, and its gradient reaches both towers. Nothing depends on the number of
ranks: SDM and CMT compare with the rows of all ranks, and the patches that are dropped follow from the row's place in the global batch.

Shapes: B rows, N patches of an image, K patches that are kept, L tokens of a caption, D width of the embeddings.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import model_validator
from torch import Tensor
from torch.nn.functional import normalize

from mals.config import Count, Share
from mals.errors import UserError
from pretrain import losses, random_rows, ranks
from pretrain.clip_method import SCORES, ClipMethod, ClipSettings
from pretrain.config import BelowOne, NotNegative, Positive, Section, Training
from pretrain.data.batch import Batch, Text
from pretrain.data.errors import MissingData
from pretrain.data.needs import DataNeeds, Negatives
from pretrain.data.tags import find_tagger
from pretrain.data.tokenizers.base import Tokenizer
from pretrain.methods.uit.restoration import THEIR_NAMES, UNUSED, Restoration, gray, kept_count, patches
from pretrain.methods.uit.words import CaptionTags, WordFilter, masking_by_tags, piece_texts
from pretrain.noise_masking import DRAWS
from pretrain.towers.persons import person_classifier

DROPPED = 0xD209  # sets the random numbers of dropped patches apart from others

log = logging.getLogger(__name__)


class LossWeights(Section):
    """The factor of each loss in the sum, in the order of the log; 0 leaves a loss and its modules out."""

    sdm: NotNegative = 1.0  # similarity distribution matching
    id: NotNegative = 1.0  # classification of persons
    cmt: NotNegative = 10.0  # cross-modal triplets with the hardest negatives
    tir: NotNegative = 10.0  # restoration of the image from its caption


class UitSettings(ClipSettings):
    """The method UIT, now SEN (docs/papers/uit.md)."""

    loss_weights: LossWeights = LossWeights()  # the factor of each loss
    cross_layers: Count = 4  # of the decoder that restores the image
    temperature: Positive = 0.02  # of sdm; it is not learnt
    margin: NotNegative = 0.05  # of cmt
    drop: BelowOne = 0.7  # of tir: share of the image's tokens that is dropped
    group: tuple[Count, Count] = (1, 2)  # fewest and most captions of one person that follow each other in a batch
    filter: Share = 0.2  # of the captions keep their pronouns, nouns and adjectives alone
    mask_naming: Share = 0.3  # of the tokens that are nouns or adjectives are masked
    mask_others: Share = 0.05  # of the other tokens are masked
    tags: str = "auto"  # who tags words: nltk, spacy, own (our labeller's lexicon); auto: the first of them that is here
    attend_padding: bool = True  # as published, tir looks at a caption's padding too, so that captions have the full width
    published_pieces: bool = False  # true, as published: pieces within words are tagged without their last four letters
    published_mask: bool = False  # true, as published: one dropped patch of each image does not count in tir

    @model_validator(mode="after")
    def something_to_train(self) -> "UitSettings":
        if not any(weight for _, weight in self.loss_weights):
            raise ValueError("uit.loss_weights are all 0: there is nothing to train")
        return self

    @property
    def uses_tags(self) -> bool:
        """Whether captions are changed by the tags of their words."""
        return self.filter > 0 or self.masks_by_tags

    @property
    def masks_by_tags(self) -> bool:
        """Whether tokens are masked by their tags."""
        return self.noise_masking.rule == "none" and any((self.mask_naming, self.mask_others))


class Uit(ClipMethod):
    """The method of the settings `uit`."""

    title = "UIT / SEN (Liu et al., Neural Networks 2025)"
    section = "uit"
    Settings = UitSettings
    training_only: ClassVar[str | None] = rf"classifier\.|restoration\.|{SCORES}"

    @classmethod
    def data_needs(cls, config: Training) -> DataNeeds:
        """Without the filter and the masking, which wait for the tags, see `use_caption_facts`."""
        own: UitSettings = cls.settings(config)
        fewest, most = own.group
        if fewest > most:
            raise UserError(f"uit.group is [{fewest}, {most}]: the fewest captions of a person in a row, then the most")
        takes_negatives = own.loss_weights.sdm and own.noise_masking.rule == "none"  # whose masks would not be those of the wrong captions
        as_sdm_reads: Negatives = "masked" if own.masks_by_tags else "clean"
        return DataNeeds(
            negatives=as_sdm_reads if config.data.wordings.exchanged and takes_negatives else "none",
            full_width=own.attend_padding and own.loss_weights.tir > 0,
            renumber_persons=True,
            group=own.group,
            token_draws=DRAWS[own.noise_masking.rule],
        )

    @classmethod
    def explain(cls, config: Training, error: MissingData) -> str:
        return "which UIT needs"

    @classmethod
    def caption_facts(cls, config: Training, tokenizer: Tokenizer, captions: Iterable[str]) -> dict[str, Any]:
        """The tags of the captions' words and of the vocabulary's tokens."""
        own: UitSettings = cls.settings(config)
        if not own.uses_tags:
            return {}
        tags = CaptionTags.of(find_tagger(own.tags, "uit.tags"), captions, piece_texts(tokenizer, own.published_pieces))
        kept = f"; {tags.empty:,} captions have no pronoun, noun or adjective and stay whole" if tags.empty else ""
        log.info("UIT takes the tags of words from %s%s", tags.source, kept)
        return tags.to_json()

    @classmethod
    def read_weights(cls, source: str) -> dict[str, Tensor]:
        """Our own weights, or a checkpoint of the authors, whose modules without use are left out."""
        return our_names(super().read_weights(source))

    def __init__(self, config: Training, tokenizer: Tokenizer, persons: int | None) -> None:
        super().__init__(config, tokenizer, persons)
        self.seed, self.vocabulary = config.seed, tokenizer.size
        if persons is None:
            return
        weights, visual = self.own.loss_weights, self.base_model.visual
        if weights.id:
            self.classifier = person_classifier(self.own.embed, persons)
        if weights.tir:
            self.restoration = Restoration(
                visual.grid, visual.patch, self.own.embed, layers=self.own.cross_layers, checkpointing=config.checkpointing
            )

    def use_caption_facts(self, facts: Mapping[str, Any]) -> None:
        """The filter and the masking that the tags allow."""
        own, tags = self.own, CaptionTags.read(facts)
        self.needs = replace(
            self.needs,
            reword=WordFilter(tags, own.filter) if own.filter else None,
            masking=masking_by_tags(tags.naming, self.vocabulary, own.mask_naming, own.mask_others) if own.masks_by_tags else None,
        )

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """See pretrain.method.Method; which losses there are follows from the weights. All of them see the masked caption."""
        weights, unmasked, batch = self.own.loss_weights, batch, self.mask_by_scores(batch)
        caption = batch.text if batch.masked is None else batch.masked
        image, text = self.base_model.encode_image(batch.images, inner=self.inner), self.base_model.encode_text(caption.ids)
        assert image.pooled is not None and text.pooled is not None
        terms: dict[str, Tensor] = {}
        if weights.sdm or weights.cmt:
            terms |= self.match_pairs(image.pooled, text.pooled, batch)
        if weights.id:
            predicted = self.classifier(image.pooled), self.classifier(text.pooled)
            terms["id"] = losses.identity(*predicted, batch.persons, weights=batch.weights)
        if weights.tir:
            terms["tir"] = self.restore(batch, text.tokens, caption, step)
        self.score_tokens(unmasked, image)
        return {name: weight * terms[name] for name, weight in weights if name in terms}

    def match_pairs(self, image: Tensor, text: Tensor, batch: Batch) -> dict[str, Tensor]:
        """SDM and CMT of features [B, D] among those of all ranks, as far as they weigh."""
        weights = self.own.loss_weights
        image, text = normalize(image.float(), dim=-1), normalize(text.float(), dim=-1)
        images, texts = ranks.gather(image), ranks.gather(text)
        same = batch.persons[:, None] == ranks.gather_detached(batch.persons)
        terms: dict[str, Tensor] = {}
        if weights.sdm:
            wrong = self.wrong_cosines(image, batch)
            terms["sdm"] = losses.sdm(image, text, images, texts, same, self.own.temperature, weights=batch.weights, wrong=wrong)
        if weights.cmt:
            terms["cmt"] = losses.cmt(image, text, images, texts, same, self.own.margin, batch.weights)
        return terms

    def restore(self, batch: Batch, text: Tensor, caption: Text, step: int) -> Tensor:
        """TIR: the loss of the dropped patches of the images, restored with the tokens [B, L, D] of their captions."""
        images, order = batch.images, self.patch_order(batch.images, step)
        count = kept_count(order.shape[1], self.own.drop)
        kept = self.base_model.encode_image(gray(images), order[:, :count])
        restored = self.restoration(kept.tokens, order, text, None if self.own.attend_padding else caption.mask)
        counted = order.argsort(1) >= count + int(self.own.published_mask)
        return losses.masked_mse(restored, patches(images, self.restoration.patch), counted, batch.weights)

    def patch_order(self, images: Tensor, step: int) -> Tensor:
        """The numbers of each image's patches in random order [B, N]: the first ones are kept."""
        rows, columns = self.base_model.visual.grid
        random = random_rows.generator(images.device, self.seed, step, DROPPED)
        return random_rows.own_rows(len(images), rows * columns, random).argsort(1)


def our_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an authors' checkpoint under our names, without the modules that have no use; our own names stay."""
    renamed = {}
    for name, value in state.items():
        first, dot, rest = name.partition(".")
        if not re.match(UNUSED, first):
            renamed[f"restoration.{THEIR_NAMES[first]}{dot}{rest}" if first in THEIR_NAMES else name] = value
    return renamed
