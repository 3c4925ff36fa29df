"""The settings of APTM, in the section `aptm` of a training's settings."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from mals.attributes import load_space
from mals.config import Count, Share
from mals.errors import UserError
from pretrain.config import BelowOne, NotNegative, Positive, Section


class Vision(Section):
    """The vision encoder, a Swin."""

    embed: Count = 128  # channels of the first stage; each later stage has twice as many
    depths: Annotated[tuple[Count, ...], Field(min_length=1)] = (2, 2, 18, 2)  # blocks of each stage
    heads: tuple[Count, ...] = (4, 8, 16, 32)  # attention heads of each stage
    window: Count = 8  # side of the attention window, in tokens
    drop_path: BelowOne = 0.1  # probability that an image skips the last block; for the others it is lower, linearly
    start: str | None = None  # swin_base_patch4_window7_224_22k.pth; "embedded": the small Swin of mals; null: random weights

    @model_validator(mode="after")
    def heads_divide_channels(self) -> "Vision":
        depths, heads = list(self.depths), list(self.heads)
        if len(depths) != len(heads):
            raise ValueError(f"aptm.vision.heads = {heads} and aptm.vision.depths = {depths}: each stage of the Swin has one of both")
        for stage, count in enumerate(heads):
            if (width := self.embed << stage) % count:
                raise ValueError(
                    f"aptm.vision.heads = {heads}: stage {stage + 1} of the Swin has {width} channels, "
                    f"which do not divide into {count} heads"
                )
        return self


class TextEncoder(Section):
    """The BERT, split into a text encoder and a cross encoder."""

    hidden: Count = 768  # channels of a token
    layers: Count = 12  # in all
    fusion: Count = 6  # of them read the text alone, the rest the image too
    heads: Count = 12  # attention heads of a layer
    inter: Count = 3072  # channels inside a layer's feed-forward part
    positions: Count = 512  # tokens of the longest text that it can ever read
    dropout: BelowOne = 0.1  # probability that a channel is left out
    start: str | None = None  # bert-base-uncased: a hub id, folder or file; null: random weights

    @model_validator(mode="after")
    def sizes_fit(self) -> "TextEncoder":
        if self.fusion >= self.layers:
            raise ValueError(
                f"aptm.text.fusion = {self.fusion} of aptm.text.layers = {self.layers} read the text alone: "
                "none is left to read the image too"
            )
        if self.hidden % self.heads:
            raise ValueError(f"aptm.text.hidden = {self.hidden} does not divide into aptm.text.heads = {self.heads}")
        return self


class LossWeights(Section):
    """The factor of each loss in the sum, in the order of the log; 0 leaves a loss out, and all of pretraining have to be named."""

    complete: ClassVar[str] = "weights that are given name every loss of pretraining, and 0 leaves one out"

    itc: NotNegative  # contrast of image and caption
    itc_eda: NotNegative = 0.0  # of fine-tuning: contrast with the caption that EDA has changed
    itm: NotNegative  # matching of image and caption, with hard negatives
    itm_eda: NotNegative = 0.0  # of fine-tuning: matching with the caption that EDA has changed
    itm_partner: NotNegative = 0.0  # of PAB: matching with the hard partner's caption and image, both wrong, beside itm
    mlm: NotNegative  # masked tokens of captions
    iac: NotNegative  # contrast of image and attribute prompts
    iam: NotNegative  # matching of image and attribute prompts
    mam: NotNegative  # masked tokens of attribute prompts
    sentences: NotNegative = 0.0  # whether an image has all that drawn sentences claim (docs/wordings.md)

    @model_validator(mode="after")
    def partners_are_beside_true_pairs(self) -> "LossWeights":
        if self.itm_partner and not self.itm:
            raise ValueError("aptm.loss_weights.itm_partner shows wrong pairs alone and needs itm beside it; give itm a weight")
        return self


class AptmSettings(Section):
    """The method APTM (docs/papers/mals.md)."""

    vision: Vision = Vision()  # the vision encoder
    text: TextEncoder = TextEncoder()  # the text encoder and the cross encoder
    space: str = "market1501"  # the attribute space whose prompts are used
    proj: Count = 256  # numbers of an embedding
    temperature: Positive = 0.07  # of the contrast, at the start: it is learnt
    smoothing: Share = 0.4  # of the targets of iac and iam
    prompts: Count = 5  # of iam: prompts for each image and step
    sentences: Count = 4  # of the loss `sentences`: sentences about each row, which all images of the step are asked
    loss_weights: LossWeights  # the factor of each loss
    balanced: bool = False  # true: both values of an attribute have equal weight in iac and iam, as in mA, however rare one is
    prompts_per_image: bool = True  # false, as published: the same prompts for the whole batch
    count_padding: bool = False  # true, as published: padding may be masked and counts in mlm
    negatives: Literal["all", "process"] = "all"  # of itm: rows of all ranks; process, as published: of the same rank
    itc_gather: Literal["sum", "reference"] = "sum"  # reference, as published: the encoders' gradient of itc is 1/ranks of the true one
    classifier: bool = False  # a plain classifier of attributes instead of all losses: the baseline for the prompts
    new_rate: NotNegative = 2.0  # times optimizer.lr: parameters of the text encoder that text.start does not have, its cross layers
    late_rate: NotNegative = 1.0  # times optimizer.lr: last two stages of the Swin, last two layers of either part of the BERT, all heads

    @property
    def uses_captions(self) -> bool:
        """Whether captions are trained on."""
        weights = self.loss_weights
        return not self.classifier and any((weights.itc, weights.itm, weights.mlm, weights.itc_eda, weights.itm_eda))

    @property
    def uses_labels(self) -> bool:
        """Whether attribute labels are trained on."""
        return self.classifier or any((self.loss_weights.iac, self.loss_weights.iam, self.loss_weights.mam, self.loss_weights.sentences))

    @model_validator(mode="after")
    def prompts_exist(self) -> "AptmSettings":
        try:
            prompts = 2 * len(load_space(self.space).names)
        except UserError:  # reported where the space is needed
            return self
        if self.loss_weights.iam and self.prompts > prompts:
            raise ValueError(f"aptm.prompts = {self.prompts}: the attribute space {self.space} has {prompts} prompts")
        return self
