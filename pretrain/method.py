"""The contract of a training method: what the training loop and the data loader give it, and what it gives back.

Shapes everywhere: B rows of the batch, L tokens of the longest caption, A attributes, C channels of a tower, D the width of an embedding,
N tokens of an image, R pairs of a text and an image.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from mals.config import Section
from mals.errors import UserError
from pretrain import published, weights
from pretrain.data.batch import Batch, Text
from pretrain.data.errors import MissingData
from pretrain.data.needs import DataNeeds
from pretrain.data.tokenizers.base import Tokenizer

if TYPE_CHECKING:
    from pretrain.config import Training
    from pretrain.data.rows import ImageTextPairs

__all__ = ["Ability", "Batch", "DataNeeds", "Encoded", "Method", "ParameterRule", "Text"]

MATCH_CHUNK = 256  # pairs of a text and an image in one call of `Method.match`


@dataclass(frozen=True)
class Encoded:
    """The output of a tower."""

    tokens: Tensor  # [B, N, C] of an image (the global token first), [B, L, C] of a text
    pooled: Tensor | None = None  # [B, C]
    mask: Tensor | None = None  # [B, L] bool, True for real tokens; None where all are real
    grid: tuple[int, int] | None = None  # rows and columns of an image's tokens, without the global one
    inner: Tensor | None = None  # [B, N, C]: the tokens after some of the blocks, without gradient; None unless they were requested
    attention: Tensor | None = None  # [B, N, N] of the last block, the mean over its heads; None unless it was requested


@dataclass(frozen=True)
class ParameterRule:
    """Factors of the learning rate and of the weight decay for parameters whose names match a regular expression (`re.search`).

    None leaves a factor to the rules before; of several rules that match and set a factor, the last one holds.
    """

    pattern: str
    rate: float | None = None
    decay: float | None = None


NO_DECAY = ParameterRule(r"bias|LayerNorm\.weight|norm[12]?\.weight", decay=0.0)  # biases, bias tables and norms

Ability = Literal["embed", "match", "recognise", "classify", "identify"]


class Method(nn.Module):
    """A training method: its settings, what it needs of the data, its losses, and what the trained model can do.

    The mathematics of a step is all in `forward`, so that DistributedDataParallel sees it. Every trainable parameter needs a gradient in
    every step. Buffers are not synchronised between ranks: one that depends on the rows of a rank, such as the running statistics of batch
    normalisation, has to be averaged by the method (`pretrain.towers.batch_norm` does it). `build` and `load_initial_weights` must not wait
    for other ranks. A method is a subclass with `build`, `forward` and what its `abilities` require:

    embed        `embed_image` and `embed_text`; their dot product is the score of an image and a text
    match        `keys`, `states` and `match`: a cross encoder that scores an image and a text together
    recognise    `states`, `score_prompts`, `score_name` and `cosine_scale`: scores of attribute prompts
    classify     `classify`: attributes of one space without prompts
    identify     `embed_image`: the dot product of two images' embeddings scores whether they show the same person

    Adding a method takes its module, one line in `pretrain.methods.METHODS` and presets; a method of your own is named in the settings by
    its import path, `method: my_package.my_module:MyMethod`.
    """

    title: ClassVar[str] = ""  # the name for model cards, with the paper
    section: ClassVar[str] = ""  # the name of its section in the settings; "" for a method without settings of its own
    Settings: ClassVar[type[Section]] = Section  # the type of that section
    space_setting: ClassVar[str | None] = None  # the key in that section that names an attribute space, if one does
    max_tokens: ClassVar[int] = 512  # of a caption, unless the setting data.max_tokens says otherwise; papers have fewer
    default_tokenizer: ClassVar[str] = "bert-base-uncased"  # unless the setting data.tokenizer says otherwise
    training_only: ClassVar[str | None] = None  # a regular expression: parameters that checkpoints keep and releases leave out
    per_person: ClassVar[str | None] = None  # those of them that have a class for each person; None: all of them

    weighs_rows: ClassVar[bool] = False  # whether `forward` multiplies the losses of rows by `Batch.weights`, where there are any

    needs: DataNeeds = DataNeeds()
    rules: tuple[ParameterRule, ...] = (NO_DECAY,)
    abilities: frozenset[Ability] = frozenset({"embed"})
    published_cosine_weight: ClassVar[float] = 0.0  # of the cosine, scaled to 0..1, beside the matching logit in the authors' re-ranking
    positions: int | None = None  # tokens of the longest text that the model can read; None: as many as a caption has at most

    @classmethod
    def settings(cls, config: "Training") -> Any:
        """The method's own section of the settings, a `Settings`."""
        return getattr(config, cls.section) if cls.section else cls.Settings()

    @classmethod
    def data_needs(cls, config: "Training") -> DataNeeds:
        """What a training with these settings needs of the data."""
        return cls.needs

    @classmethod
    def training_rows(cls, config: "Training", pairs: "ImageTextPairs") -> "ImageTextPairs":
        """The rows of the training: `pairs`, or a changed copy, whose captions are of other rows, for instance.

        What it does follows from the settings; UserError where they do not fit the rows. Rows that select a checkpoint are not changed.
        """
        return pairs

    @classmethod
    def explain(cls, config: "Training", error: MissingData) -> str:
        """The clause that follows "FILE has no captions," (attribute labels, hard partners): who needs them and what to do without."""
        return "which this training needs"

    @classmethod
    def vocabulary_texts(cls, config: "Training") -> list[str]:
        """Texts besides the captions whose words a trained vocabulary must contain."""
        return []

    @classmethod
    def tokenizer(cls, config: "Training", texts: Iterable[str]) -> Tokenizer:
        """The tokenizer that the settings name, or, for "train", one whose vocabulary is made of `texts`; UserError where it is missing."""
        from pretrain.data.tokenizers.vocabulary import train_vocabulary
        from pretrain.data.tokenizers.wordpiece import WordPiece

        name, longest = config.data.tokenizer or cls.default_tokenizer, config.data.max_tokens or cls.max_tokens
        if name == "train":
            return WordPiece.of(train_vocabulary(texts, config.data.vocabulary), longest)
        return WordPiece.load(name, longest)

    @classmethod
    def build(cls, config: "Training", tokenizer: Tokenizer, data: "ImageTextPairs | None" = None) -> Self:
        """The method with random weights, a function of config.seed; UserError where the settings are impossible.

        `data` are the rows of the training. It is None where a trained method is loaded: the `training_only` parameters are left out then.
        A method whose constructor takes the settings, the tokenizer and the number of identities (None without data) inherits this.
        """
        torch.manual_seed(config.seed)
        return cls(config, tokenizer, None if data is None else data.person_count)

    @classmethod
    def inherited_settings(cls, config: "Training") -> dict[str, Any]:
        """The settings that weights of a training with these settings fix: a fine-tuning that starts from the weights has the same."""
        own = {cls.section: cls.settings(config).model_dump(mode="json")} if cls.section else {}
        return {"method": config.method, **own, "data": {"max_tokens": config.data.max_tokens}}

    @classmethod
    def read_weights(cls, source: str) -> dict[str, Tensor]:
        """The weights in a file, a folder or at a hub id, with the names of `state_dict`.

        A method that reads checkpoints of other projects renames what `pretrain.published.read_whole` returns. UserError where a project is
        known whose checkpoints no method reads.
        """
        return published.read_whole(source)

    @classmethod
    def without_training_only(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a release: all but the `training_only` ones."""
        return weights.without(state, cls.training_only)

    def load_initial_weights(self, config: "Training", pairs: "ImageTextPairs") -> None:
        """Load the weights that the settings name, and take from the data what the losses need, before the first step."""
        if config.start:
            weights.load_state(self, self.starting_weights(config), config.start, self.training_only)

    def starting_weights(self, config: "Training") -> dict[str, Tensor]:
        """The tensors at `config.start` for which the method has a place; heads with a class for each person with `start_heads` alone.

        UserError where it is another method's, or where heads are to be kept that do not fit the data.
        """
        assert config.start is not None
        state, own = self.read_weights(config.start), self.state_dict()
        pattern = self.per_person or self.training_only
        heads = own.keys() - weights.without(own, pattern).keys() - dict(self.named_buffers()).keys()
        for name in sorted(heads) if config.start_heads else ():
            if name not in state or state[name].shape != own[name].shape:
                before = f"{len(state[name]):,} classes" if name in state else "none"
                raise UserError(
                    f"start_heads: {name} has {len(own[name]):,} classes, one for each person of the data, and {config.start} has {before}"
                    "; without start_heads the heads begin anew"
                )
        kept = {name: value for name, value in state.items() if name in heads} if config.start_heads else {}
        return weights.matching(self, {**weights.without(state, pattern), **kept}, config.start, self.training_only)

    @classmethod
    def caption_facts(cls, config: "Training", tokenizer: Tokenizer, captions: Iterable[str]) -> dict[str, Any]:
        """What the training has to know of its captions and another machine might work out otherwise, such as tags of words, for JSON.

        One process calls it, once: the result is kept in the training's folder, where all read it. {}: nothing.
        """
        return {}

    def use_caption_facts(self, facts: Mapping[str, Any]) -> None:
        """Take what `caption_facts` returned, before the first step; `needs` may change."""

    def parts(self) -> dict[str, Sequence[nn.Module]]:
        """The parts whose parameters a model card counts, by their names."""
        return {}

    def initial_weights(self, config: "Training") -> dict[str, tuple[str | None, bool]]:
        """For parts such as "The vision encoder": the weights that they started from (None: random), and whether from photographs."""
        return {}

    def before_epoch(self, epoch: int, batches: Callable[[], Iterable[Batch]]) -> None:
        """Look over the data before an epoch, counted from 0; every rank calls it at the same time, in eval mode and without gradients.

        `batches()` has every row of the training once, in random order and with random augmentation of its own, divided among the ranks as
        the batches of steps are; the last batch is filled with rows from the front, and an unreadable row is replaced by another.
        What the steps of the epoch need of it belongs into buffers, equal on all ranks, because a training that resumes within an epoch
        does not call it again. They may change after the last batch only: a signal can end the training at any batch before.
        """

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """The weighted losses of one step by name, scalars in float32; the loop minimises their sum."""
        raise NotImplementedError

    def embed_image(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D]; the dot product of the embeddings of an image and a text is their score."""
        raise NotImplementedError

    def embed_text(self, text: Text) -> Tensor:
        """[B, L] -> [B, D]."""
        raise NotImplementedError

    def keys(self, images: Tensor) -> Any:
        """What `match` needs of images [B, 3, H, W], computed once for many texts."""
        raise NotImplementedError

    def states(self, text: Text) -> Tensor:
        """What `match` needs of texts, computed once for many images: [B, L, C]."""
        raise NotImplementedError

    def match(self, states: Tensor, mask: Tensor, keys: Any, images: Tensor | None = None) -> Tensor:
        """Logits [R, 2] of pairs, the second one for "the text describes the image".

        `states` and `mask` are of R texts; `images` [R] are the images' positions in `keys` (None: text i with image i).
        """
        raise NotImplementedError

    def match_all(self, states: Tensor, mask: Tensor, keys: Any, images: int) -> Tensor:
        """The matching logits of all pairs of texts, states [T, L, C], and `images` images by their keys: [T, images] float32."""
        pairs = torch.cartesian_prod(torch.arange(len(states)), torch.arange(images)).to(states.device)
        chunks = pairs.split(MATCH_CHUNK)
        logits = [self.match(states[chunk[:, 0]], mask[chunk[:, 0]], keys, chunk[:, 1])[:, 1].float() for chunk in chunks]
        return torch.cat(logits).unflatten(0, (len(states), images))

    def score_prompts(self, prompts: Text, states: Tensor, images: Tensor, published: bool = False) -> Tensor:
        """Scores [B, 2A] of prompts [2A, P], whose `states` are [2A, P, C], for images [B, 3, H, W].

        `published` scores as the method's authors do, where that differs.
        """
        raise NotImplementedError

    def score_name(self, published: bool = False) -> str:
        """What `score_prompts` returns, in words: "matching logit"."""
        raise NotImplementedError

    def cosine_scale(self) -> float:
        """What the cosine of an image and a text is multiplied by beside the log-probabilities of attributes: 1 / temperature."""
        raise NotImplementedError

    def classify(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> logits [B, A], above 0 for the second value of an attribute of `needs.space`."""
        raise NotImplementedError

    def evaluate_more(self, trained: Any, gallery: Any) -> Mapping[str, Mapping[str, Any]]:
        """A method's own evaluation protocols: name of the protocol -> its scores and facts, as JSON takes them.

        `mals evaluate`, `zeroshot` and `finetune` call it after their own protocols and write the scores under "more". `trained` is the
        `pretrain.trained_method.Trained` of this method, `gallery` the `pretrain.gallery.Gallery` of the split. Every rank calls it at the
        same time and has to return the same scores.
        """
        return {}
