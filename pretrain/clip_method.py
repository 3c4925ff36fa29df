"""What the methods on CLIP's two towers have in common: settings, tokenizer, initial weights, embeddings, the optimizer's rules.

A method on CLIP is a subclass of `ClipMethod` that adds losses and heads. The towers are its `base_model`, as in the authors' checkpoints,
which all are of the family of IRRA (Jiang and Ye, CVPR 2023).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from mals.config import Count
from mals.config import Section as AnySection
from mals.errors import UserError
from pretrain import losses, published, weights
from pretrain.config import Section, Training
from pretrain.data import tokenizers
from pretrain.data.batch import Batch
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers import ClipBpe, Tokenizer, WordPiece
from pretrain.data.tokenizers.vocabulary import train_vocabulary
from pretrain.method import Encoded, Method, ParameterRule, Text
from pretrain.noise_masking import NoiseMasking, TokenScores, nam_scores
from pretrain.towers.clip import Clip, ClipVision
from pretrain.towers.clip_weights import POSITIONS, openai_names, start_clip, with_positions
from pretrain.towers.gradient_attention import gradient_attention_scores

BPE = "bpe_simple_vocab_16e6.txt.gz"  # CLIP's vocabulary, in the package open_clip
TOWERS = "base_model."  # the names of the towers' parameters begin so
BARE = re.compile(  # the names in CLIP begin so
    r"(visual|transformer|vision_model|text_model|visual_projection)\.|token_|positional_|ln_final|text_projection|logit_scale"
)
SCORES = r"token_scores\."  # of the rows of one training
NEW_RATE, BIAS_RATE = 5.0, 2.0  # of IRRA's rules, times optimizer.lr
IRRA_RULES = (
    ParameterRule("cross", rate=NEW_RATE),
    ParameterRule("bias", rate=BIAS_RATE, decay=0.0),
    ParameterRule("classifier|mlm_head", rate=NEW_RATE),
)

Heads = Annotated[int, Field(ge=1)] | None


class ClipVisionSettings(Section):
    """The image tower, a vision transformer; the defaults are ViT-B/16."""

    patch: Count = 16  # pixels a side
    channels: Count = 768  # of a token
    layers: Count = 12  # of blocks
    heads: Heads = None  # attention heads of a layer; null: one for each 64 channels


class ClipTextSettings(Section):
    """The text tower."""

    channels: Count = 512  # of a token
    layers: Count = 12  # of blocks
    heads: Heads = None  # attention heads of a layer; null: one for each 64 channels
    context: Count = 77  # tokens of the longest text that it can ever read


class ClipSettings(Section):
    """The settings of a method on CLIP's towers."""

    vision: ClipVisionSettings = ClipVisionSettings()  # the image tower
    text: ClipTextSettings = ClipTextSettings()  # the text tower
    embed: Count = 512  # numbers of an embedding
    noise_masking: NoiseMasking = NoiseMasking()  # masking of captions by the scores of their tokens
    start: str | None = None  # OpenAI's CLIP: a hub id, a folder or a file such as ViT-B-16.pt; null: random weights


class ClipMethod(Method):
    """A method on CLIP's towers; a subclass adds `forward`, its heads, and settings that are a `ClipSettings`.

    Heads with a class for each person are `per_person`: they are new in every training. Other `training_only` heads are taken from the
    weights that a training starts from, where these have them.
    """

    Settings: ClassVar[type[AnySection]] = ClipSettings
    max_tokens = 77
    default_tokenizer = "open_clip"
    weighs_rows = True
    training_only: ClassVar[str | None] = rf"classifier\.|{SCORES}"
    per_person: ClassVar[str] = rf"classifier\.|{SCORES}"
    rules: tuple[ParameterRule, ...] = IRRA_RULES
    abilities = frozenset({"embed"})

    @classmethod
    def tokenizer(cls, config: Training, texts: Iterable[str]) -> Tokenizer:
        """CLIP's BPE as open_clip ships it, the tokenizer that data.tokenizer names, or, for "train", words and their parts."""
        name, longest = config.data.tokenizer or cls.default_tokenizer, config.data.max_tokens or cls.max_tokens
        if name == "train":
            return WordPiece.of(train_vocabulary(texts, config.data.vocabulary), longest, end=True)
        if name == "open_clip":
            spec = find_spec(name)
            assert spec is not None and spec.origin is not None
            return ClipBpe.load(Path(spec.origin).parent / BPE, longest)
        file = Path(name).expanduser()
        return tokenizers.load(file, longest) if file.is_file() and file.suffix == ".json" else ClipBpe.load(name, longest)

    @classmethod
    def build(cls, config: Training, tokenizer: Tokenizer, data: ImageTextPairs | None = None) -> Self:
        method, own = super().build(config, tokenizer, data), cls.settings(config)
        if data is not None and own.noise_masking.rule != "none":
            check_blocks(own, cls.section)
            method.token_scores = TokenScores(own.noise_masking, len(data), tokenizer)
        return method

    @classmethod
    def inherited_settings(cls, config: Training) -> dict[str, Any]:
        own: ClipSettings = cls.settings(config)
        sizes = {**own.model_dump(mode="json", include={"vision", "text", "embed"}), "start": None}
        return {"method": config.method, cls.section: sizes, "data": {"max_tokens": config.data.max_tokens}}

    @classmethod
    def read_weights(cls, source: str) -> dict[str, Tensor]:
        """Our own weights, or a checkpoint of the authors, of one GPU or several."""
        return whole_names(published.read_whole(source))

    def __init__(self, config: Training, tokenizer: Tokenizer, persons: int | None) -> None:
        """`persons` is the number of identities of a training, None where a trained method is loaded."""
        super().__init__()
        self.own: Any = self.settings(config)
        self.base_model = make_clip(self.own, config, tokenizer)
        self.positions = self.own.text.context
        self.token_scores: TokenScores | None = None
        self.needs = self.data_needs(config)

    def load_initial_weights(self, config: Training, pairs: ImageTextPairs) -> None:
        """Weights of the whole instead of those of CLIP; tables of positions are resized to the images' size."""
        if not config.start:
            if self.own.start:
                start_clip(self.base_model, self.own.start, f"{self.section}.start")
            return
        state = with_positions(self.starting_weights(config), TOWERS + POSITIONS, self.base_model.visual.grid, config.start)
        weights.load_state(self, state, config.start, self.training_only)

    @property
    def inner(self) -> int | None:
        """After how many blocks the image tower's tokens are needed for the scores of a caption's tokens; None: they are not."""
        own = self.own.noise_masking
        return self.own.vision.layers - own.skipped if self.token_scores is not None and own.rule == "nam" else None

    def mask_by_scores(self, batch: Batch, predicts: bool = False) -> Batch:
        """The batch with its captions masked as `noise_masking` says, see `TokenScores.mask`; without the setting the batch itself."""
        return batch if self.token_scores is None else self.token_scores.mask(batch, predicts)

    def score_tokens(self, batch: Batch, image: Encoded) -> None:
        """Score the tokens of the captions, which are not masked in `batch`, by their images, for the next time that their rows come.

        `image` is encoded with `inner`. In evaluation nothing is scored.
        """
        if self.token_scores is None or not self.training:
            return
        ids, own = batch.text.ids, self.own.noise_masking
        if own.rule == "nam":
            with torch.no_grad():
                text = self.base_model.encode_text(ids, layers=self.own.text.layers - own.skipped).tokens
                scores = nam_scores(text, cast(Tensor, image.inner))
        else:
            ends, pooled = self.base_model.ends(ids), cast(Tensor, image.pooled).detach()
            scores = gradient_attention_scores(self.base_model, ids, ends, pooled, own.plain, own.divide_by_importance)
        self.token_scores.keep(batch, scores)

    def wrong_cosines(self, image: Tensor, batch: Batch) -> Tensor | None:
        """Cosines [B] of features [B, D] of length 1 and the wrong captions of their rows; None where the batch has none."""
        if batch.negative is None or batch.negated is None:
            return None
        return losses.wrong_cosines(image, self.embed_text(batch.negative), batch.negated)

    def parts(self) -> dict[str, Sequence[nn.Module]]:
        clip = self.base_model
        tables = nn.ParameterList([clip.positional_embedding, clip.text_projection])
        return {"image tower (CLIP)": [clip.visual], "text tower (CLIP)": [clip.token_embedding, clip.transformer, clip.ln_final, tables]}

    def initial_weights(self, config: Training) -> dict[str, tuple[str | None, bool]]:
        start = self.own.start
        return {"The image tower": (start, start is not None), "The text tower": (start, False)}

    def embed_image(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D] of length 1."""
        return normalize(cast(Tensor, self.base_model.encode_image(images).pooled).float(), dim=-1)

    def embed_text(self, text: Text) -> Tensor:
        """[B, L] -> [B, D] of length 1."""
        return normalize(cast(Tensor, self.base_model.encode_text(text.ids).pooled).float(), dim=-1)


def check_blocks(own: ClipSettings, section: str) -> None:
    """UserError where a tower has no block left whose tokens could be scored."""
    masking, layers = own.noise_masking, {"vision": own.vision.layers, "text": own.text.layers}
    for name, count in layers.items() if masking.rule == "nam" else ():
        if count <= masking.skipped:
            raise UserError(
                f"{section}.noise_masking.skipped = {masking.skipped} leaves out all {count} blocks of {section}.{name}: "
                "give a smaller number"
            )
    if masking.rule == "gadms" and own.text.layers <= masking.plain:
        raise UserError(
            f"{section}.noise_masking.plain = {masking.plain} leaves out all {own.text.layers} blocks of {section}.text: "
            "give a smaller number"
        )


def make_clip(own: ClipSettings, config: Training, tokenizer: Tokenizer) -> Clip:
    """Both towers with random weights; UserError where sizes do not fit."""
    if tokenizer.end is None:
        raise UserError(
            f"the tokenizer {tokenizer.kind_name()} has no end token, which CLIP's text tower needs; data.tokenizer=null is CLIP's own"
        )
    if tokenizer.max_tokens > own.text.context:
        raise UserError(
            f"data.max_tokens is {tokenizer.max_tokens}, and the text tower has {own.text.context} positions; change one of them"
        )
    visual = ClipVision(
        config.data.height, config.data.width, embed=own.embed, checkpointing=config.checkpointing, **own.vision.model_dump()
    )
    return Clip(
        visual,
        vocabulary=tokenizer.size,
        end=tokenizer.end,
        embed=own.embed,
        checkpointing=config.checkpointing,
        **own.text.model_dump(),
    )


def whole_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of the family of IRRA under our names, in float32; the names of our own are the same.

    Bare towers (OpenAI's CLIP, and TBPS-CLIP, whose text tower is `encode_text.`) get the prefix `base_model.`.
    """
    if not any(name.startswith(TOWERS) for name in state):
        bare = {name.removeprefix("encode_text."): value for name, value in state.items()}
        state = {TOWERS + name if BARE.match(name) else name: value for name, value in bare.items()}
    towers = {name.removeprefix(TOWERS): value for name, value in state.items() if name.startswith(TOWERS)}
    others = {name: value.float() if value.is_floating_point() else value for name, value in state.items() if not name.startswith(TOWERS)}
    return others | {TOWERS + name: value for name, value in openai_names(towers).items()}
