"""From settings and data to what is trained: the rows, the tokenizer, the method with the weights that it starts from."""

import re
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from torch import Tensor

from mals.attributes import load_space
from mals.errors import UserError
from mals.models import find
from pretrain import official, origins, ranks, synonyms
from pretrain.augment import Augment
from pretrain.chance import uniform
from pretrain.config import Training
from pretrain.data import Pairs
from pretrain.held import parted
from pretrain.method import Rule, Text
from pretrain.methods.aptm import Aptm
from pretrain.models.swin import Swin
from pretrain.text import Tokenizer, train_vocabulary

EMBEDDED = "embedded"  # the Swin that comes with mals; `mals.world.train_swin` made it
TOKENIZER = "tokenizer.json"
SYNONYMS = "synonyms.json"
NEED = "the losses iac, iam and mam need (give their weights 0, or a data set with labels)"
CLASSIFIER = r"classifier\."  # begins the names of what the baseline adds to APTM
PROMPTS = 0x9207  # sets the masks of the prompts apart from other random numbers


def prepare(config: Training, data: Sequence[str], out: Path, begun: bool = False) -> tuple[Aptm, Tokenizer, Pairs, Augment]:
    """Everything that a training needs; the tokenizer is kept in `out`, and taken from there where it has begun.

    UserError where it was begun with other data.
    """
    classes = load_space(config.aptm.space).classes if config.aptm.recognises else None
    pairs = Pairs.open(data, "train", classes, need(config), config.data.every, config.aptm.reads)
    if config.selection.held_out:
        pairs = parted(pairs, config.selection.held_out, config.seed)[0]
    if begun:
        origins.refuse_other(out, pairs)
    elif ranks.is_main():
        for name in (TOKENIZER, SYNONYMS):  # of a start that came to nothing, perhaps with other captions
            (out / name).unlink(missing_ok=True)
        origins.note(out, data, pairs, config.start)
    tokenizer = tokenizer_of(config, pairs, out)
    method = method_of(config, tokenizer)
    if config.aptm.balanced and pairs.labels is not None:
        method.balance(pairs.labels)
    started(config, method)
    shown = config.data
    look = Augment(shown.height, shown.width, shown.mean, shown.std, shown.flip, shown.augment, shown.erase, shown.shrink)
    return method, tokenizer, pairs, look


def need(config: Training) -> str:
    """Who wants labels, as `Pairs.open` tells it."""
    return "the classifier needs" if config.aptm.classifier else NEED


def synonyms_of(config: Training, pairs: Pairs, out: Path) -> dict[str, list[str]]:
    """The synonyms of the captions' words, which EDA takes; told once, and kept in `out`, since another machine may have others."""
    file = out / SYNONYMS
    if not file.is_file() and ranks.is_main():
        synonyms.write(file.with_name(f".{SYNONYMS}.part"), *synonyms.synonyms(pairs.captions(), config.data.synonyms))
        file.with_name(f".{SYNONYMS}.part").replace(file)
    ranks.barrier()
    words, source = synonyms.read(file)
    if ranks.is_main():
        print(f"EDA takes its synonyms from {source}: {len(words):,} words have some", file=sys.stderr)
    return words


def tokenizer_of(config: Training, pairs: Pairs, out: Path) -> Tokenizer:
    """The tokenizer that the settings name, or one trained on the captions; written into `out` by the main process."""
    file = out / TOKENIZER
    if not file.is_file() and ranks.is_main():
        most = config.data.max_tokens
        if config.data.tokenizer == "train":
            prompts = [prompt for pair in load_space(config.aptm.space).prompts for prompt in pair]
            made = Tokenizer.of(train_vocabulary(chain(pairs.captions(), prompts), config.data.vocabulary), most)
        else:
            made = Tokenizer.load(config.data.tokenizer, most)
        made.save(file.with_name(f".{TOKENIZER}.part"))
        file.with_name(f".{TOKENIZER}.part").replace(file)
    ranks.barrier()
    return Tokenizer.load(file, config.data.max_tokens)


def method_of(config: Training, tokenizer: Tokenizer) -> Aptm:
    """The method, its prompts tokenised once, with random weights."""
    import torch

    prompts = tokenizer.encode([prompt for pair in load_space(config.aptm.space).prompts for prompt in pair], multiple=1)

    def masked(step: int) -> tuple[Text, Tensor]:
        chance = uniform((config.seed, step, PROMPTS), range(len(prompts.ids)), tokenizer.numbers)
        return tokenizer.mask(prompts, chance, config.aptm.count_padding)

    torch.manual_seed(config.seed)
    return Aptm(config, tokenizer.size, prompts, masked)


def started(config: Training, method: Aptm) -> None:
    """Put the weights that the settings name into the method, those of the whole instead of those of its towers; UserError where they do
    not fit.

    What words.start does not have of the text encoder learns faster.
    """
    new: list[str] = []
    if config.start:
        official.load(method, official.read_aptm(config.start), config.start, CLASSIFIER)
    else:
        if config.vision.start:
            start_vision(method.swin, config.vision.start)
        if config.words.start:
            new = [f"bert.{name}" for name in official.start_bert(method.bert, config.words.start)]
    if new:
        method.rules = (*method.rules, Rule("|".join(f"^{re.escape(name)}$" for name in new), rate=config.optimizer.new_rate))
    if config.optimizer.late_rate != 1:
        method.rules = (*method.rules, Rule(late(config), rate=config.optimizer.late_rate))


def start_vision(swin: Swin, start: str) -> None:
    """Put the weights of a file, or of the Swin that comes with mals, into the vision encoder."""
    if start != EMBEDDED:
        return official.start_swin(swin, start)
    try:
        official.start_swin(swin, find(EMBEDDED, part="swin").path)
    except UserError as error:
        raise UserError(
            f"vision.start: embedded is a Swin of the preset tiny's sizes; for others --set vision.start=null ({error})"
        ) from None


def late(config: Training) -> str:
    """Matches the names of what learns at the late rate (aptm.md 4): last stages, last layers of either part of the BERT, and heads."""
    stages, words = len(config.vision.depths), config.words
    layers = (words.fusion - 2, words.fusion - 1, words.layers - 2, words.layers - 1)
    some = f"swin\\.stages\\.({stages - 2}|{stages - 1})\\.|bert\\.layers\\.({'|'.join(map(str, layers))})\\."
    return rf"^({some}|bert\.head\.|vision_proj\.|text_proj\.|itm_head\.|{CLASSIFIER})"
