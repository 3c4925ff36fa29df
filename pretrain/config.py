"""The settings of a training: one tree of types; presets in pretrain/presets.

The comment beside a setting is its meaning in docs/, where none may lack it.

Sizes of a batch are those of the global one, whatever the number of processes. Unknown keys and losses without a weight are refused.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from mals import settings
from mals.attributes import load_space
from mals.config import Count, Share
from mals.config import Section as Strict
from mals.errors import UserError
from mals.settings import Kind, read_file

Rate = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Less = Annotated[float, Field(ge=0, lt=1)]  # a share that is not all


class Part(Strict):
    """Settings whose numbers are finite."""

    model_config = ConfigDict(allow_inf_nan=False)


class Data(Part):
    """What is trained on, as `pretrain.data.loader` reads it."""

    height: Count = 384  # pixels
    width: Count = 128  # pixels
    mean: tuple[float, float, float] = (0.4416847, 0.41812873, 0.4237452)  # of MALS, red first (docs/papers/aptm.md 1.7)
    std: tuple[Positive, Positive, Positive] = (0.3088255, 0.29743394, 0.301009)  # of MALS
    max_tokens: Count = 56  # of a caption, with the one that begins it
    tokenizer: str = "bert-base-uncased"  # a hub id, a folder, tokenizer.json or vocab.txt; "train": of the captions, or that of `start`
    vocabulary: Count = 30522  # words of a trained tokenizer at most
    flip: bool = True  # half of the images, "left" and "right" of their captions exchanged
    exchange_sides: bool = True  # "left" and "right" of a flipped image's caption are exchanged
    augment: bool = True  # RandAugment
    erase: Share = 0.6  # of the images
    shrink: Share = 0.0  # each side of a image by up to this share: for people who will be smaller in their images than these are
    every: bool = False  # a row for each caption of a image, as fine-tuning has it; False: for its first one
    synonyms: str = "auto"  # of EDA: wordnet, own (our table), a folder of WordNet or a file like our table; auto: wordnet if it is here
    workers: Annotated[int, Field(ge=0)] = 4  # a process; no results


class Vision(Part):
    """The Swin."""

    embed: Count = 128  # channels of the first stage; each later stage has twice as many
    depths: Annotated[tuple[Count, ...], Field(min_length=1)] = (2, 2, 18, 2)  # blocks of each stage
    heads: tuple[Count, ...] = (4, 8, 16, 32)  # attention heads of each stage
    window: Count = 8  # side of the attention window, in tokens
    drop_path: Less = 0.1  # chance that a row skips the last block; the others less, linearly
    start: str | None = None  # swin_base_patch4_window7_224_22k.pth; "embedded": the small one of mals; None: from scratch


class Words(Part):
    """The BERT, split into text layers and cross layers."""

    hidden: Count = 768  # channels of a token
    layers: Count = 12  # in all
    fusion: Count = 6  # of them read the text alone, the rest the image too
    heads: Count = 12  # attention heads of a layer
    inter: Count = 3072  # channels inside a layer's feed-forward part
    positions: Count = 512  # tokens of the longest text that it can ever read
    dropout: Less = 0.1  # chance that a channel is left out
    start: str | None = None  # bert-base-uncased: a hub id, folder or file; None: from scratch


class Weights(Part):
    """What each loss counts in the sum, in the order of the log; 0 leaves it out, and all of pretraining have to be named."""

    itc: Rate  # contrast of image and text
    itc_eda: Rate = 0.0  # of fine-tuning, with a caption that EDA has changed
    itm: Rate  # match of image and text, with hard negatives
    itm_eda: Rate = 0.0  # match, with the caption that EDA has changed
    mlm: Rate  # masked words of captions
    iac: Rate  # contrast of image and attribute prompts
    iam: Rate  # match of image and attribute prompts
    mam: Rate  # masked words of attribute prompts


class Aptm(Part):
    """The method APTM (docs/papers/aptm.md)."""

    space: str = "market1501"  # whose prompts tell the attributes
    proj: Count = 256  # width in which scores are dot products
    temperature: Positive = 0.07  # start value of the contrast's learnt temperature
    smoothing: Share = 0.4  # of the targets of iac and iam
    prompts: Count = 5  # of iam, a step
    weights: Weights
    balanced: bool = False  # True: both values of an attribute count half in iac and iam, as mA counts them, however rare one is
    prompts_per_image: bool = True  # False, as published: the same prompts for the whole batch
    count_padding: bool = False  # True, as published: padding may be masked and counts in mlm
    negatives: Literal["all", "process"] = "all"  # of itm are of any process's rows; process, as published: of the same one's
    itc_gather: Literal["sum", "reference"] = "sum"  # reference, as published: the encoders' gradient of itc is 1/processes of it
    classifier: bool = False  # a plain classifier of attributes in place of all losses: the baseline that prompts are held against

    @property
    def reads(self) -> bool:
        """Whether captions are trained on."""
        weights = self.weights
        return not self.classifier and any((weights.itc, weights.itm, weights.mlm, weights.itc_eda, weights.itm_eda))

    @property
    def recognises(self) -> bool:
        """Whether attribute labels are trained on."""
        return self.classifier or any((self.weights.iac, self.weights.iam, self.weights.mam))


class Optimizer(Part):
    """AdamW and its schedule."""

    lr: Rate = 1e-4  # learning rate at its peak
    new_rate: Rate = 2.0  # times lr: parameters of the text encoder that words.start does not have, its cross layers
    late_rate: Rate = 1.0  # times lr: the last two stages of the Swin, the last two layers of either part of the BERT, and all heads
    betas: tuple[Less, Less] = (0.9, 0.98)  # decay of AdamW's two running means
    eps: Rate = 1e-8  # AdamW's term against division by zero
    decay: Rate = 0.01  # weight decay
    clip: Rate | None = None  # norm of the gradient
    schedule: Literal["linear", "step"] = "linear"  # after the warm-up: linear to 0, or by steps
    warmup: Rate = 2600  # steps; below 1 a share of all
    average: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of all steps, the last, whose mean weights are released; 0: the last weights


class Selection(Part):
    """How a fine-tuning finds out which of its checkpoints is best."""

    on: Literal["val", "test"] = "val"  # test is what papers do, and optimistic
    every: Count = 1  # epochs
    held_out: Less = 0.0  # of the persons of train are taken out of it, and serve as val
    rerank: Literal["itm", "published", "none"] = "itm"  # none where the method has no cross encoder
    k: Count = 128  # images of a text that the cross encoder looks at
    plain: bool = False  # captions as letters and digits alone, as published for ICFG-PEDES and RSTPReid


class Training(Part):
    """One training."""

    preset: str = "aptm"  # the settings that these differ from
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 42  # of every random number of the training
    start: str | None = None  # weights of the whole method: the authors' checkpoint, or model.safetensors of a finished training
    method: str = "aptm"  # or my_package.my_module:MyMethod, a subclass of pretrain.method.Method
    batch: Count = 600  # rows a step, of all processes together
    epochs: Count = 32  # passes over the rows
    steps: Count | None = None  # instead of epochs
    dtype: Literal["fp32", "tf32", "bf16"] = "bf16"  # of the products; losses are fp32
    compile: bool = False  # torch.compile of the encoders
    checkpointing: bool = False  # of activations: less memory, a third more work
    save_every: Count = 1000  # steps
    log_every: Count = 50  # steps
    data: Data = Data()
    vision: Vision = Vision()
    words: Words = Words()
    aptm: Aptm | None = None  # of the method aptm, which needs it
    own: dict[str, Any] = Field(default_factory=dict)  # of a method of your own
    optimizer: Optimizer = Optimizer()
    selection: Selection = Selection()  # of `mals finetune`

    @model_validator(mode="after")
    def _settings_of_the_method(self) -> "Training":
        if self.method == "aptm" and self.aptm is None:
            raise ValueError("the method aptm needs the settings aptm")
        if self.method != "aptm" and self.aptm is not None:
            raise ValueError(f"the method is {self.method}, and the settings aptm are not its; --preset own has none")
        if ":" not in self.method and self.own:
            raise ValueError(f"the settings own are for a method of your own, and the method is {self.method}")
        return self

    @model_validator(mode="after")
    def _sizes_that_fit(self) -> "Training":
        """Of the method aptm; what one of your own does with the sizes is its affair."""
        if self.aptm is not None:
            _check_vision(self.vision)
            _check_words(self.words)
            _check_prompts(self.aptm)
        return self


def _check_vision(vision: Vision) -> None:
    depths, heads = list(vision.depths), list(vision.heads)
    if len(depths) != len(heads):
        raise ValueError(f"vision.heads = {heads} and vision.depths = {depths}: each stage of the Swin has one of both")
    for stage, several in enumerate(heads):
        if (width := vision.embed << stage) % several:
            raise ValueError(
                f"vision.heads = {heads}: stage {stage + 1} of the Swin has {width} channels, which do not divide into {several} heads"
            )


def _check_words(words: Words) -> None:
    if words.fusion >= words.layers:
        raise ValueError(
            f"words.fusion = {words.fusion} of words.layers = {words.layers} read the text alone: none is left to read the picture too"
        )
    if words.hidden % words.heads:
        raise ValueError(f"words.hidden = {words.hidden} does not divide into words.heads = {words.heads}")


def _check_prompts(aptm: Aptm) -> None:
    try:
        prompts = 2 * len(load_space(aptm.space).names)
    except UserError:  # which is told where the space is needed
        return
    if aptm.weights.iam and aptm.prompts > prompts:
        raise ValueError(f"aptm.prompts = {aptm.prompts}: the attribute space {aptm.space} has {prompts} prompts")


WEIGHTS = "weights that are given name every loss of pretraining, and 0 leaves one out"
TRAINING = Kind(Training, Path(__file__).parent / "presets", {"aptm.weights": WEIGHTS})


def read(file: Path | None) -> dict[str, Any]:
    """The settings in a YAML file, none where there is no file; UserError where it gives weights and leaves a loss out."""
    found = read_file(file) if file is not None else {}
    settings.refuse_partial(found, str(file), TRAINING)
    return found
