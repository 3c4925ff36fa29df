"""What a method is to the training loop, and what the loop and the data hand it.

Shapes everywhere: B rows of the batch, L tokens of the longest caption, A attributes, C channels of a tower, D the width in which scores
are dot products, N tokens of a picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from pretrain import weights

PAIRS = 256  # texts against pictures in one call of `Method.match`
NEED = "this training needs"


@dataclass(frozen=True)
class Text:
    """Captions as token ids; what is padding has mask False."""

    ids: Tensor  # [B, L] int64
    mask: Tensor  # [B, L] bool, True for real tokens


@dataclass(frozen=True)
class Batch:
    """One step's rows; what a method does not want is None."""

    rows: Tensor  # [B] int64: the row's number in the data set
    persons: Tensor  # [B] int64: rows of one person are positives of each other
    images: Tensor  # [B, 3, H, W] float32, normalised
    text: Text  # [B, 0] where no captions are wanted
    masked: Text | None = None  # the same captions with some tokens replaced
    targets: Tensor | None = None  # [B, L] int64: the tokens that were replaced, -100 elsewhere
    second_text: Text | None = None  # a second caption of the row
    labels: Tensor | None = None  # [B, A] int64 in {-1, 0, 1}: attribute values, -1 unknown

    def to(self, device: Any) -> "Batch":
        """The same batch on another device."""
        moved: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                moved[name] = value.to(device, non_blocking=True)
            elif isinstance(value, Text):
                moved[name] = Text(value.ids.to(device, non_blocking=True), value.mask.to(device, non_blocking=True))
        return replace(self, **moved)


@dataclass(frozen=True)
class Encoded:
    """What a tower makes of its input."""

    tokens: Tensor  # [B, N, C] of a picture (the global token first), [B, L, C] of a text
    pooled: Tensor | None = None  # [B, C]
    mask: Tensor | None = None  # [B, L] bool, True for real tokens; None where all are
    grid: tuple[int, int] | None = None  # rows and columns of a picture's tokens, the global one aside


@dataclass(frozen=True)
class DataNeeds:
    """What a method needs from the data."""

    captions: bool = True
    masked: bool = False  # masked captions and their targets
    second_caption: Literal["none", "same_person", "eda"] = "none"  # where a second caption comes from
    attributes: bool = False  # labels
    space: str | None = None  # whose attributes it knows; labels of these are wanted where `attributes`
    need: str = NEED  # who wants labels, as `ImageTextPairs.open` tells it: "the loss iac needs"
    need_captions: str = NEED  # and who wants captions
    padding: bool = False  # captions as wide as they may be, whose padding may be masked like words
    group: tuple[int, int] = (1, 1)  # fewest and most rows of one person that follow each other


@dataclass(frozen=True)
class ParameterRule:
    """Learning-rate and weight-decay factors of the parameters whose names match a regular expression; the last rule that matches holds."""

    pattern: str
    rate: float = 1.0
    decay: float = 1.0


Ability = Literal["embed", "match", "recognise", "classify"]


class Method(nn.Module):
    """What is trained and asked. All mathematics of one step is in `forward`, so that DistributedDataParallel sees it.

    Every parameter that is trained needs a gradient in every step. Buffers are each process's own: what follows from the rows of one,
    such as the running means of nn.BatchNorm, has to be averaged over the ranks by the method (`pretrain.ranks`). `build` and
    `load_initial_weights` wait for no other process. A method of one's own is a subclass with `build` and `forward`, and, as its
    `abilities` say:

    embed        `embed_image` and `embed_text`, whose dot product is the score of a picture and a text
    match        `keys`, `states` and `match`, which looks at a text and a picture together
    recognise    `states`, and `score_prompts` and `score_name`, which say how true the prompts of attributes are of pictures
    classify     `classify`, which knows the attributes of one space without prompts
    """

    title: str = ""  # as a model card names it, with its paper
    needs: DataNeeds = DataNeeds()
    rules: tuple[ParameterRule, ...] = ()
    abilities: frozenset[Ability] = frozenset({"embed"})
    positions: int | None = None  # tokens that a text may have; None: data.max_tokens

    @classmethod
    def data_needs(cls, config: Any) -> DataNeeds:
        """What a training with these settings, a `pretrain.config.Training`, needs from the data."""
        return cls.needs

    @classmethod
    def vocabulary_texts(cls, config: Any) -> list[str]:
        """Texts besides the captions whose words the vocabulary has to hold."""
        return []

    @classmethod
    def build(cls, config: Any, tokenizer: Any) -> Self:
        """The method with random weights, which follow from config.seed; UserError where the settings make none."""
        raise NotImplementedError

    @classmethod
    def inherited_settings(cls, config: Any) -> dict[str, Any]:
        """The settings that weights of a training with these settings decide: those of a fine-tuning that starts from them."""
        return {"method": config.method, "own": config.own, "data": {"max_tokens": config.data.max_tokens}}

    @classmethod
    def read_weights(cls, source: str) -> dict[str, Tensor]:
        """The weights in a file, a folder or at a hub id, under the names of `state_dict`."""
        return weights.read_tensors(source)

    def load_initial_weights(self, config: Any, pairs: Any) -> None:
        """Take the weights that the settings name, and what is to be known of the data, before the first step."""
        if config.start:
            weights.load_state(self, self.read_weights(config.start), config.start)

    def parts(self) -> dict[str, Sequence[nn.Module]]:
        """The parts whose sizes a model card tells, by what they are."""
        return {}

    def initial_weights(self, config: Any) -> dict[str, tuple[str | None, bool]]:
        """Which parts, "The vision encoder", began with which weights (None: none), and whether these had seen photographs."""
        return {}

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """The weighted losses of one step by name, scalars in float32; the loop minimises their sum."""
        raise NotImplementedError

    def embed_image(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D]; the score of a picture and a text is the dot product of their embeddings."""
        raise NotImplementedError

    def embed_text(self, text: Text) -> Tensor:
        """[B, L] -> [B, D]."""
        raise NotImplementedError

    def keys(self, images: Tensor) -> Any:
        """What is kept of pictures [B, 3, H, W] that are to be matched with many texts."""
        raise NotImplementedError

    def states(self, text: Text) -> Tensor:
        """What is kept of texts that are to be matched with many pictures: [B, L, C]."""
        raise NotImplementedError

    def match(self, states: Tensor, mask: Tensor, keys: Any, images: Tensor | None = None) -> Tensor:
        """Whether texts [R, L, C] are true of pictures, by number [R] (None: each its own): logits [R, 2], the second for yes."""
        raise NotImplementedError

    def match_all(self, states: Tensor, mask: Tensor, keys: Any, pictures: int) -> Tensor:
        """How true texts, states [R, L, C], are of all pictures, by their keys: [R, pictures] float32."""
        pairs = torch.cartesian_prod(torch.arange(len(states)), torch.arange(pictures)).to(states.device)
        logits = [self.match(states[some[:, 0]], mask[some[:, 0]], keys, some[:, 1])[:, 1].float() for some in pairs.split(PAIRS)]
        return torch.cat(logits).unflatten(0, (len(states), pictures))

    def score_prompts(self, prompts: Text, states: Tensor, images: Tensor, published: bool = False) -> Tensor:
        """How true prompts [2A, P], with `states` [2A, P, C], are of pictures [B, 3, H, W]: [B, 2A]; `published`: as its authors ask."""
        raise NotImplementedError

    def score_name(self, published: bool = False) -> str:
        """What `score_prompts` tells, in words: "matching logit"."""
        raise NotImplementedError

    def classify(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> logits [B, A], above 0 for the second value of an attribute of `wants.space`."""
        raise NotImplementedError

    def evaluate_more(self, trained: Any, gallery: Any) -> Mapping[str, Mapping[str, Any]]:
        """A method's own evaluation protocols: name of the protocol -> its scores and facts, as JSON takes them.

        `mals evaluate`, `zeroshot` and `finetune` call it after their own protocols and write the scores under "more". `trained` is the
        `pretrain.trained_method.Trained` of this method, `gallery` the `pretrain.gallery.Gallery` of the split. Every rank calls it at the
        same time and has to return the same scores.
        """
        return {}
