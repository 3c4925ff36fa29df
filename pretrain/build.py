"""From settings and data to what is trained: the rows, the tokenizer, the method with the weights that it starts from."""

import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from mals.attributes import load_space
from mals.errors import UserError
from mals.files import write_file
from pretrain import provenance, ranks
from pretrain.checkpoint import BEST, FOLDER
from pretrain.config import Training
from pretrain.data import synonyms
from pretrain.data.augment import ImageTransform
from pretrain.data.holdout import split_identities
from pretrain.data.loader import ImageTextPairs
from pretrain.data.tokenizers.wordpiece import Tokenizer, train_vocabulary
from pretrain.method import Method
from pretrain.methods import find
from pretrain.weights import locate_file

TOKENIZER = "tokenizer.json"
SYNONYMS = "synonyms.json"


def prepare(
    config: Training, data: Sequence[str], out: Path, begun: bool = False
) -> tuple[Method, Tokenizer, ImageTextPairs, ImageTransform]:
    """Everything that a training needs; the tokenizer is kept in `out`, and taken from there where it has begun.

    UserError where it was begun with other data.
    """
    with ranks.raise_on_all_ranks():
        kind, pairs = find(config.method), open_pairs(config, data)
        if begun:
            provenance.refuse_other(out, pairs)
        elif ranks.is_main():
            for name in (TOKENIZER, SYNONYMS):  # of a start that came to nothing, perhaps with other captions
                (out / name).unlink(missing_ok=True)
            provenance.record(out, data, pairs, config.start)
    tokenizer = tokenizer_of(config, pairs, out)
    with ranks.raise_on_all_ranks():
        method = kind.build(config, tokenizer)
        method.load_initial_weights(config, pairs)
    shown = config.data
    look = ImageTransform(shown.height, shown.width, shown.mean, shown.std, shown.flip, shown.augment, shown.erase, shown.shrink)
    return method, tokenizer, pairs, look


def open_pairs(config: Training, data: Sequence[str]) -> ImageTextPairs:
    """What is trained on; UserError where it is not what the method wants."""
    wants = find(config.method).data_needs(config)
    classes = load_space(wants.space).classes if wants.attributes and wants.space else None
    pairs = ImageTextPairs.open(data, "train", classes, wants.need, config.data.every, wants.captions, wants.need_captions)
    return split_identities(pairs, config.selection.held_out, config.seed)[0] if config.selection.held_out else pairs


def synonyms_of(config: Training, pairs: ImageTextPairs, out: Path) -> dict[str, list[str]]:
    """The synonyms of the captions' words, which EDA takes; told once, and kept in `out`, since another machine may have others."""
    file = out / SYNONYMS
    with ranks.raise_on_all_ranks():
        if not file.is_file() and ranks.is_main():
            table = synonyms.synonyms(pairs.captions(), config.data.synonyms)
            write_file(file, lambda path: synonyms.write(path, *table))
    words, source = synonyms.read(file)
    if ranks.is_main():
        print(f"EDA takes its synonyms from {source}: {len(words):,} words have some", file=sys.stderr)
    return words


def tokenizer_of(config: Training, pairs: ImageTextPairs, out: Path) -> Tokenizer:
    """The tokenizer that the settings name, or one trained on the captions; written into `out` by the main process."""
    file = out / TOKENIZER
    with ranks.raise_on_all_ranks():
        if not file.is_file() and ranks.is_main():
            write_file(file, make_tokenizer(config, pairs).save)
    with ranks.raise_on_all_ranks():
        return Tokenizer.load(file, config.data.max_tokens)


def make_tokenizer(config: Training, pairs: ImageTextPairs) -> Tokenizer:
    """A tokenizer for a training; UserError where a new vocabulary would number the words anew that weights to start from know."""
    most = config.data.max_tokens
    if config.data.tokenizer != "train":
        return Tokenizer.load(config.data.tokenizer, most)
    if config.start:
        if (own := tokenizer_beside(locate_file(config.start))) is not None:
            return Tokenizer.load(own, most)
        raise UserError(f"data.tokenizer=train numbers words anew, and the weights of {config.start} know theirs; give data.tokenizer")
    texts = chain(pairs.captions(), find(config.method).vocabulary_texts(config))
    return Tokenizer.of(train_vocabulary(texts, config.data.vocabulary), most)


def tokenizer_beside(weights: Path) -> Path | None:
    """The tokenizer beside the weights of a training or of one of its checkpoints."""
    folder = weights.parent
    training = [folder.parent.parent] if folder.parent.name in (FOLDER, BEST) else []
    return next((place / TOKENIZER for place in (folder, *training) if (place / TOKENIZER).is_file()), None)
