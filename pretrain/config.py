"""The settings of a training: one tree of types, whose comments are the manual; presets in pretrain/presets.

The settings of a method are under the name of its section, see `pretrain.settings`. Sizes of a batch are those of the global one, whatever
the number of ranks. Unknown keys are refused.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from mals.config import Count, Share
from mals.config import Section as AnySection

NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Color = tuple[float, float, float]  # red first


class Section(AnySection):
    """Settings under one name; numbers are finite."""

    model_config = ConfigDict(allow_inf_nan=False)


class WordingShares(Section):
    """Other wordings of the captions; what a row gets follows from the seed, the epoch and the row (docs/wordings.md)."""

    composed: Share = 0.0  # of the rows have a sentence made from some of their attribute labels instead of the caption
    recast: Share = 0.0  # of the rows have their caption with phrases left out and in another order, which claims nothing else
    exchanged: Share = 0.0  # of the rows bring a wrong caption, one attribute word of theirs exchanged, as a negative of itc, sdm and itm

    @model_validator(mode="after")
    def shares_fit(self) -> "WordingShares":
        if self.composed + self.recast > 1:
            raise ValueError(f"data.wordings.composed + recast = {self.composed + self.recast:g}: a row has one of them, so at most 1")
        return self


class Data(Section):
    """What is trained on, as `pretrain.data.loader` reads it."""

    height: Count = 384  # pixels
    width: Count = 128  # pixels
    mean: Color = (0.4416847, 0.41812873, 0.4237452)  # of the pixels, from 0 to 1; the default is that of the data set MALS
    std: tuple[Positive, Positive, Positive] = (0.3088255, 0.29743394, 0.301009)  # standard deviation of the pixels, as `mean`
    max_tokens: Count | None = None  # of a caption; null: as many as the method's authors have
    tokenizer: str | None = None  # hub id, folder or file; "train": of the captions, or that of `start`; null: the method's
    vocabulary: Count = 30522  # entries of a trained tokenizer at most
    flip: bool = True  # half of the images are mirrored
    exchange_sides: bool = True  # "left" and "right" of a flipped image's caption are exchanged
    augment: bool = True  # RandAugment
    erase: Share = 0.6  # of the images: a box of each is erased
    erase_value: Color = (0.0, 0.0, 0.0)  # of the box, after normalisation: 0 is the mean colour
    pad: Annotated[int, Field(ge=0)] = 0  # pixels of black around an image, from which a crop of the old size is taken at random
    shrink: Share = 0.0  # each side of an image by up to this share: for people who will be smaller in their images than these are
    every: bool = False  # a row for each caption of an image, as fine-tuning has it; false: for its first one
    drawn: bool = False  # of an image with several captions each epoch takes another one; false: the first one, or with `every` all
    wordings: WordingShares = WordingShares()  # other wordings of the captions
    synonyms: str = "auto"  # of EDA: wordnet, own (our table), a folder of WordNet or a file like our table; auto: wordnet if it is here
    confidence: str | None = (
        None  # column of numbers of the packed sets, such as agree_score: rows with higher ones count more (docs/noise.md)
    )
    confidence_low: Share = 0.5  # weight of the lowest rank among them, as a share of that of the highest; 1: all rows count the same
    micro_batch: Count | None = None  # rows of a rank that its towers encode at once (docs/large-batches.md); null: all; same losses
    workers: Annotated[int, Field(ge=0)] = 4  # processes that read images, for each rank; no results

    @model_validator(mode="after")
    def one_way_of_captions(self) -> "Data":
        if self.every and self.drawn:
            raise ValueError("data.every makes a row of each caption, and data.drawn one row of all; leave one of them false")
        return self


class Optimizer(Section):
    """The optimizer and its schedule; factors for some parameters are the method's."""

    kind: Literal["adamw", "adam"] = "adamw"  # adam adds the weight decay to the gradient
    lr: NotNegative = 1e-4  # the highest learning rate
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.98)  # decay of the two running means
    eps: NotNegative = 1e-8  # added to the divisor of the update
    decay: NotNegative = 0.01  # weight decay
    clip: NotNegative | None = None  # the largest norm of the gradient
    schedule: Literal["linear", "step", "multistep", "cosine", "constant"] = "linear"  # after the warm-up; step: linear, with two cuts
    unit: Literal["step", "epoch"] = "step"  # what the learning rate changes with, and what warmup counts
    warmup: NotNegative = 2600  # steps or epochs; below 1 a share of all
    warmup_from: Share = 0.0  # the factor of lr that it begins with
    milestones: tuple[Count, ...] = ()  # of multistep: epochs, counted from 0, at whose start the rate is multiplied by gamma
    gamma: Share = 0.1  # of multistep
    average: Share = 0.0  # share of all steps, the last ones, whose mean weights are released; 0: the last weights


class Selection(Section):
    """How a fine-tuning chooses its best checkpoint."""

    on: Literal["val", "test"] = "val"  # the split; test is what papers use, and optimistic
    every: Count = 1  # epochs
    held_out: BelowOne = 0.0  # share of the persons of train that are kept out of the training and serve as val
    rerank: Literal["itm", "published", "attributes", "none"] = "itm"  # none where the method cannot; attributes and none: of search too
    k: Count = 128  # images of a text that are re-ranked
    plain: bool = False  # captions as the set's authors read them (ICFG-PEDES, RSTPReid, TAG-PEDES), of others as letters and digits alone


class Training(Section):
    """One training."""

    preset: str  # the preset that fills in what is not given
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 42  # of all random numbers
    start: str | None = None  # weights of the whole method: a training, a release, or a checkpoint of the method's authors; null: none
    start_heads: bool = False  # also its heads with a class for each person, whose data had the same persons; false: they begin anew
    method: str  # one of pretrain.methods.METHODS, or my_package.my_module:MyMethod, a subclass of pretrain.method.Method
    batch: Count = 600  # rows a step, of all ranks together
    epochs: Count = 32  # passes over the rows
    steps: Count | None = None  # instead of epochs
    dtype: Literal["fp32", "tf32", "bf16", "fp16"] = "bf16"  # of products; losses are fp32; fp16, for GPUs without bf16, scales the loss
    compile: bool | None = None  # with torch.compile, after the first step where that one counts FLOPs; null: on GPUs
    checkpointing: bool = False  # of activations: less memory, a third more work
    save_every: Count = 1000  # steps between checkpoints; no results
    save_minutes: Positive | None = None  # minutes between checkpoints at most, besides; null: by steps alone; no results
    log_every: Count = 50  # steps between lines of the log; no results
    data: Data = Data()  # what is trained on
    optimizer: Optimizer = Optimizer()  # the optimizer and its schedule
    selection: Selection = Selection()  # of `mals finetune`
