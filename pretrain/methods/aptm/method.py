"""APTM (Yang et al., ACM MM 2023): contrast, matching and masked tokens, of captions and of attribute prompts.

Costly work is done once: one pass over the images (and one over those of hard partners, where they are used), one over all texts (captions
as they are, changed by EDA and masked, prompts and masked prompts); keys and values of an image are projected once a layer; one pass of
the cross encoder, and one over the vocabulary.

Pretraining uses ITC, ITM, MLM and the losses of attributes; fine-tuning for retrieval ITC and ITM of captions and of captions that EDA
changed, and MLM; fine-tuning for recognition the losses of attributes, or a plain classifier (docs/papers/mals.md, section Losses).

No loss depends on the number of ranks: what looks across rows looks across those of all, and the hard negatives of ITM are of any rank (as
published, with `negatives: process`, of the same one). Only dropout and drop path are drawn by each rank for itself.

Shapes: B rows, L tokens of a caption, A attributes, P tokens of a prompt, D width of the embeddings, C channels.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from mals.errors import UserError
from pretrain import host, losses, ranks
from pretrain.config import Training
from pretrain.data.errors import MissingData, NoLabels, NoPartners
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers.base import Tokenizer
from pretrain.data.tokenizers.masking import Masked, WholeWordMasking
from pretrain.data.wordings import searched
from pretrain.data.wordings.searched import SearchSentences
from pretrain.method import Ability, Batch, DataNeeds, Method, ParameterRule, Text
from pretrain.methods.aptm import published_weights
from pretrain.methods.aptm.captions import SUFFIXES, WRONG, CaptionLosses, HardNegatives
from pretrain.methods.aptm.classifier import classifier
from pretrain.methods.aptm.config import AptmSettings, Vision
from pretrain.methods.aptm.initial_weights import CLASSIFIER, EMBEDDED, late, start_vision
from pretrain.methods.aptm.prompts import PromptLosses, PromptMasks, prompts_of
from pretrain.methods.aptm.sentences import SentenceLoss
from pretrain.methods.aptm.towers import CONTRAST, MATCH, Question, first_tokens
from pretrain.precision import cosines
from pretrain.sentence_loss import PARAMETERS, SentenceHead
from pretrain.towers.bert import KeysValues, Texts
from pretrain.weights import load_state

log = logging.getLogger(__name__)

CAPTION_TOKENS = CAPTION_WORDS = 56  # (docs/papers/mals.md, section Text)
SCORES = {("contrast",): "cosine", ("match",): "matching logit", ("contrast", "match"): "matching logit + cosine / temperature"}
VISION_FROM_NOTHING = (
    "the vision encoder starts from random weights, and the paper's from ImageNet-22k: "
    "download Swin's swin_base_patch4_window7_224_22k.pth and set aptm.vision.start to it"
)
CAPTIONS_NEEDED = "which the losses itc, itm and mlm need (give their weights 0, or a data set with captions)"
PARTNERS_NEEDED = "which the loss itm_partner needs (give it the weight 0, or take the split train of PAB)"
LABELS_NEEDED = "which the losses iac, iam, mam and sentences need (give their weights 0, or a data set with labels)"


class Aptm(CaptionLosses, PromptLosses, SentenceLoss, Method):
    """The method of the settings `aptm`."""

    published_cosine_weight = 8.0  # of the authors' code on four GPUs (docs/papers/mals.md, Evaluation)
    title = "APTM (Yang et al., ACM MM 2023)"
    section = "aptm"
    Settings = AptmSettings
    space_setting = "space"
    max_tokens = CAPTION_TOKENS
    weighs_rows = True
    training_only = PARAMETERS

    @classmethod
    def data_needs(cls, config: Training) -> DataNeeds:
        own: AptmSettings = cls.settings(config)
        weights = own.loss_weights
        return DataNeeds(
            captions=own.uses_captions,
            caption_words=CAPTION_WORDS,
            masking=WholeWordMasking(count_padding=own.count_padding) if own.uses_captions and weights.mlm > 0 else None,
            second_caption="eda" if own.uses_captions and (weights.itc_eda or weights.itm_eda) else "none",
            negatives="clean" if own.uses_captions and (weights.itc or weights.itm) and config.data.wordings.exchanged else "none",
            partners=own.uses_captions and weights.itm_partner > 0,
            attributes=own.uses_labels,
            sentences=SearchSentences(own.space, own.sentences) if weights.sentences and not own.classifier else None,
            space=own.space,
            full_width=own.count_padding,
        )

    @classmethod
    def explain(cls, config: Training, error: MissingData) -> str:
        if isinstance(error, NoLabels):
            return "which the classifier needs" if cls.settings(config).classifier else LABELS_NEEDED
        return PARTNERS_NEEDED if isinstance(error, NoPartners) else CAPTIONS_NEEDED

    @classmethod
    def vocabulary_texts(cls, config: Training) -> list[str]:
        own: AptmSettings = cls.settings(config)
        return [*prompts_of(own.space), *(searched.words() if own.loss_weights.sentences else ())]

    @classmethod
    def build(cls, config: Training, tokenizer: Tokenizer, data: ImageTextPairs | None = None) -> Self:
        own: AptmSettings = cls.settings(config)
        prompts = tokenizer.encode(prompts_of(own.space), multiple=1)
        rule = WholeWordMasking(count_padding=own.count_padding)
        torch.manual_seed(config.seed)
        method = cls(config, tokenizer.size, prompts, PromptMasks(prompts, tokenizer, rule, config.seed), tokenizer.max_tokens)
        if method.needs.sentences is not None and data is not None:
            method.sentence_head = SentenceHead(own.proj)
        return method

    @classmethod
    def inherited_settings(cls, config: Training) -> dict[str, Any]:
        own: AptmSettings = cls.settings(config)
        sizes = {name: {**getattr(own, name).model_dump(mode="json"), "start": None} for name in ("vision", "text")}
        return {"aptm": {**sizes, "proj": own.proj}}

    @classmethod
    def read_weights(cls, source: str) -> dict[str, Tensor]:
        return published_weights.read_aptm(source)

    def __init__(
        self,
        config: Training,
        vocabulary: int,
        prompts: Text,
        prompt_masks: Callable[[int], Masked],
        max_caption: int = CAPTION_TOKENS,
    ) -> None:
        super().__init__(config, vocabulary)
        self.max_caption = max_caption
        self.prompt_masks = prompt_masks
        self.register_prompts(prompts)
        self.classifier = classifier(self.swin.width, len(prompts.ids) // 2) if self.own.classifier else None
        self.sentence_head = None
        self.needs = self.data_needs(config)
        self.abilities = self._learnt()
        if not self.own.uses_captions and not self.own.uses_labels:
            raise UserError("aptm.loss_weights are all 0: there is nothing to train")
        self.freeze_untrained()
        if self.classifier is not None:
            for part in (self.vision_proj, self.text_proj, self.temp, self.itm_head, self.bert):
                part.requires_grad_(False)

    def load_initial_weights(self, config: Training, pairs: ImageTextPairs) -> None:
        """Weights of the whole instead of those of its towers; what text.start does not have of the text encoder learns faster."""
        new: list[str] = []
        if self.own.balanced and pairs.labels is not None:
            self.balance(pairs.labels)
        if config.start:
            state = self.without_training_only(self.read_weights(config.start))
            load_state(self, state, config.start, f"{CLASSIFIER}|{PARAMETERS}")
        else:
            if self.own.vision.start:
                start_vision(self.swin, self.own.vision.start)
            elif self.own.vision == Vision() and ranks.is_main():  # one of another size cannot take Swin-B's weights
                log.warning("%s", VISION_FROM_NOTHING)
            if self.own.text.start:
                new = [f"bert.{name}" for name in published_weights.start_bert(self.bert, self.own.text.start)]
        if new:
            self.rules = (*self.rules, ParameterRule("|".join(f"^{re.escape(name)}$" for name in new), rate=self.own.new_rate))
        if self.own.late_rate != 1:
            self.rules = (*self.rules, ParameterRule(late(self.own), rate=self.own.late_rate))

    def parts(self) -> dict[str, Sequence[nn.Module]]:
        return {
            "vision encoder (Swin)": [self.swin],
            "text encoder (BERT, first layers)": [self.bert.embeddings, *self.bert.layers[: self.bert.fusion]],
            "cross encoder (BERT, last layers)": list(self.bert.cross_layers),
        }

    def initial_weights(self, config: Training) -> dict[str, tuple[str | None, bool]]:
        vision, text = self.own.vision.start, self.own.text.start
        return {"The vision encoder": (vision, vision not in (None, EMBEDDED)), "The text encoder": (text, False)}

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """See pretrain.method.Method; which losses there are follows from the weights."""
        tokens = self.swin(batch.images).tokens
        if self.classifier is not None and batch.labels is not None:
            known = ranks.mean_over_ranks((batch.labels >= 0).sum().float())
            return {"classifier": losses.classified(self.classifier(tokens[:, 0]), batch.labels, known)}
        image = self.image_features(tokens)
        texts = self.caption_texts(batch) if self.needs.captions else {}
        targets = None
        if self.needs.attributes:
            prompts, targets = self.prompt_texts(step)
            texts |= prompts
            texts |= self.sentence_texts(batch)
        states = self.bert.text_groups(list(texts.values()))
        read = {name: replace(texts[name], values=values) for name, values in zip(texts, states, strict=True)}
        terms: dict[str, Tensor] = {}
        questions: dict[str, Question] = {}
        means, negatives = ranks.Means(), dict[str, HardNegatives]()
        if self.needs.captions:
            features = {name: self.text_features(read[name].values) for name in SUFFIXES if name in read}
            terms |= self.contrast_captions(features, image, batch, read.get(WRONG))
            negatives = self.hard_negatives(features, image, batch.persons, step)
        masks, true_of_all, negatives = self.read_back(read, negatives, batch)
        if self.needs.captions:
            questions |= self.ask_captions(read, negatives, masks, batch, means)
            tokens = self.with_negatives(tokens, negatives)
            if batch.partner_images is not None and batch.partnered is not None:
                questions["itm_partner"] = self.ask_partners(read, batch.partnered, len(tokens), batch.weights, means)
                tokens = torch.cat([tokens, self.swin(batch.partner_images).tokens])
        if self.needs.attributes:
            assert batch.labels is not None and true_of_all is not None
            contrast = self.contrast_prompts(read, image, batch.labels, means)
            matched = self.match_sentences(read, image, batch, means)
            questions |= self.ask_prompts(read, batch.labels, targets, true_of_all, step, means)
            terms |= contrast() | matched()
        terms |= self.answer(questions, tokens)
        return {name: weight * terms[name] for name, weight in self.own.loss_weights if name in terms}

    def read_back(
        self, read: Mapping[str, Texts], negatives: dict[str, HardNegatives], batch: Batch
    ) -> tuple[dict[str, Tensor], Tensor | None, dict[str, HardNegatives]]:
        """On the host: the masks of the hard texts, and which prompts are true of the rows of all ranks [N, 2A]; the negatives, requested.

        The only numbers of the device that a step waits for; of one process the second are the host's anyway.
        """
        true = None if batch.labels is None else losses.prompt_labels(cast(Tensor, batch.on_host().labels))
        counts, masks, of_all = self.count_negatives(negatives), self.masks_of_negatives(read, negatives), list[Tensor]()
        if batch.labels is not None and ranks.world_size() > 1:
            of_all = [ranks.gather_detached(losses.prompt_labels(batch.labels).to(torch.int8))]
        values = host.read([*masks.values(), *counts, *of_all])
        if counts:
            negatives = self.request_negatives(negatives, values[len(masks)])
        return dict(zip(masks, values, strict=False)), values[-1] if of_all else true, negatives

    def _learnt(self) -> frozenset[Ability]:
        """What the losses teach: a matching head that never saw a caption orders nothing."""
        if self.own.classifier:
            return frozenset({"classify"})
        taught: dict[Ability, bool] = {
            "embed": self.weighs(*CONTRAST),
            "match": self.weighs(*CONTRAST) and self.weighs("itm", "itm_eda"),  # it orders what is best by cosine
            "recognise": self.weighs(*CONTRAST, *MATCH),
        }
        return frozenset(ability for ability, is_taught in taught.items() if is_taught)

    def classify(self, images: Tensor) -> Tensor:
        assert self.classifier is not None
        return self.classifier(self.swin(images).tokens[:, 0])

    def embed_image(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D] of length 1."""
        return self.image_features(self.swin(images).tokens)

    def embed_text(self, text: Text) -> Tensor:
        """[B, L] -> [B, D] of length 1."""
        return self.text_features(self.bert.text(text.ids, text.mask))

    def keys(self, images: Tensor) -> KeysValues:
        return self.bert.project(self.swin(images).tokens)

    def states(self, text: Text) -> Tensor:
        return self.bert.text(text.ids, text.mask)

    def match(self, states: Tensor, mask: Tensor, keys: KeysValues, images: Tensor | None = None) -> Tensor:
        return self.itm_head(self.bert.fuse(states, mask, keys, images, first_tokens(mask)))

    def score_prompts(self, prompts: Text, states: Tensor, images: Tensor, published: bool = False) -> Tensor:
        tokens, scorers = self.swin(images).tokens, self._scorers(published)
        scores = torch.zeros(len(images), len(states), device=states.device)
        if "contrast" in scorers:
            scores += cosines(self.image_features(tokens), self.text_features(states)) / self.temp
        if "match" in scorers:
            scores += self.match_all(states, prompts.mask, self.bert.project(tokens), len(images)).T
        return scores

    def score_name(self, published: bool = False) -> str:
        return SCORES[self._scorers(published)]

    def cosine_scale(self) -> float:
        return 1 / float(self.temp.detach())

    def _scorers(self, published: bool) -> tuple[str, ...]:
        """What scores prompts: those of contrast and match that were trained; as published the match alone, if it was.

        Both together are more accurate than each: mA 0.752, of the cosine 0.745, of the match 0.742 (a small APTM from scratch on the
        pedestrian world, docs/log.md).
        """
        trained = tuple(name for name, losses in {"contrast": CONTRAST, "match": MATCH}.items() if self.weighs(*losses))
        return ("match",) if published and "match" in trained else trained
