"""From settings and data to a method that can be trained: its rows, its tokenizer, its initial weights."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from mals.attributes import load_space
from mals.errors import UserError
from mals.files import write_file
from pretrain import provenance, ranks
from pretrain.checkpoint import BEST, FOLDER
from pretrain.config import Training
from pretrain.data import synonyms, tokenizers
from pretrain.data.augment import ImageTransform
from pretrain.data.errors import MissingData, NoLabels, NoPartners
from pretrain.data.holdout import split_identities
from pretrain.data.partners import IMAGE as HARD_IMAGE
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers import Tokenizer
from pretrain.data.wordings.composed import LabelSentences
from pretrain.data.wordings.wordings import DEFAULT_SPACE, Wordings
from pretrain.method import DataNeeds, Method
from pretrain.methods import find
from pretrain.towers import micro_batches
from pretrain.weights import locate_file

log = logging.getLogger(__name__)

TOKENIZER = "tokenizer.json"
SYNONYMS = "synonyms.json"
CAPTION_FACTS = "caption_facts.json"  # of methods that need any


@dataclass(frozen=True)
class Prepared:
    """Everything that a training needs."""

    method: Method
    tokenizer: Tokenizer
    pairs: ImageTextPairs
    transform: ImageTransform


def prepare(config: Training, data: Sequence[str], out: Path, begun: bool = False) -> Prepared:
    """Open the data and build the method; the tokenizer is kept in `out`, and read from there where the training has `begun`.

    UserError where it has begun with other data.
    """
    with ranks.raise_on_all_ranks():
        kind, pairs = find(config.method), open_pairs(config, data)
        if begun:
            provenance.refuse_other(out, pairs)
        elif ranks.is_main():
            for name in (
                TOKENIZER,
                SYNONYMS,
                CAPTION_FACTS,
            ):  # of an attempt that ended before its first checkpoint, perhaps with other captions
                (out / name).unlink(missing_ok=True)
            provenance.record(out, data, pairs, config.start)
    tokenizer = tokenizer_of(config, pairs, out)
    with ranks.raise_on_all_ranks():
        method = kind.build(config, tokenizer, pairs)
        method.load_initial_weights(config, pairs)
        micro_batches.use(method, config.method, config.data.micro_batch)
    if facts := caption_facts_of(config, tokenizer, pairs, out):
        method.use_caption_facts(facts)
    return Prepared(method, tokenizer, pairs, ImageTransform.for_training(config.data))


def open_pairs(config: Training, data: Sequence[str]) -> ImageTextPairs:
    """The rows that are trained on; UserError where they are not what the method needs."""
    kind = find(config.method)
    needs, confidence = kind.data_needs(config), config.data.confidence
    if confidence and not (kind.weighs_rows and needs.captions):
        raise UserError(
            f"data.confidence = {confidence} weighs pairs of an image and a caption, and this training of {config.method} has no losses "
            "of pairs that it could weigh; set it to null"
        )
    refuse_wordings(config, needs)
    has_labels = (needs.attributes and needs.space) or config.data.wordings.composed
    classes = load_space(needs.space or DEFAULT_SPACE).classes if has_labels else None
    with explain_missing_data(config):
        pairs = ImageTextPairs.open(
            data, "train", classes, config.data.every, needs.captions, confidence, config.data.drawn, needs.partners
        )
    if config.selection.held_out:
        pairs = split_identities(pairs, config.selection.held_out, config.seed)[0]
    everyone, pairs = pairs, pairs.with_images_per_person(needs.least_images)
    if len(pairs) < len(everyone) and ranks.is_main():
        log.info("%s", _left_out(everyone, pairs, needs.least_images))
    if needs.partners:
        with explain_missing_data(config):
            count_partners(pairs, data)
    pairs = kind.training_rows(config, pairs)
    if needs.renumber_persons:
        pairs.renumber_persons()
    if confidence:
        pairs.weigh(confidence, config.data.confidence_low)
    return pairs


def refuse_wordings(config: Training, needs: DataNeeds) -> None:
    """UserError where a method has no use for the other wordings of the settings."""
    shares = config.data.wordings
    if shares.exchanged and needs.negatives == "none":
        raise UserError(
            f"data.wordings.exchanged = {shares.exchanged:g} brings wrong captions for itc and itm of aptm and for sdm of irra and uit "
            f"without noise_masking, and this training of {config.method} takes none; set it to 0"
        )
    if config.data.drawn and not needs.captions:
        raise UserError(f"data.drawn draws captions, and this training of {config.method} reads none; set it to false")
    if (shares.composed or shares.recast) and not needs.captions:
        raise UserError(f"data.wordings changes captions, and this training of {config.method} reads none; set its shares to 0")
    if (shares.composed or shares.recast) and needs.partners:
        raise UserError(
            "data.wordings.composed and recast can leave out of a caption what is wrong about a hard partner, so that a wrong pair is "
            "right; set both to 0, or train without hard partners"
        )
    if shares.composed:
        LabelSentences(load_space(needs.space or DEFAULT_SPACE))  # raises where it has no words for the space


def count_partners(pairs: ImageTextPairs, data: Sequence[str]) -> None:
    """Log how many rows have a hard partner; NoPartners where none has."""
    count = pairs.partnered_rows()
    if not count:
        raise NoPartners(f"{' and '.join(data)}: no image has its hard partner (column {HARD_IMAGE}) among the images to train on")
    if ranks.is_main():
        log.info("%s of %s rows have a hard partner", f"{count:,}", f"{len(pairs):,}")


def wordings_of(config: Training) -> Wordings | None:
    """The other wordings of a training; None where the settings have none."""
    shares = config.data.wordings
    if not (shares.composed or shares.recast or shares.exchanged):
        return None
    return Wordings(shares, find(config.method).data_needs(config).space or DEFAULT_SPACE)


def _left_out(before: ImageTextPairs, after: ImageTextPairs, least: int) -> str:
    """How many persons have fewer than `least` images and are left out, with their rows."""
    persons, rows = len(before.persons.unique()), len(before)
    fewer = persons - len(after.persons.unique())
    return (
        f"{fewer:,} of {persons:,} persons have fewer than {least} images, which the method needs of each: "
        f"they are left out, with {rows - len(after):,} of {rows:,} rows"
    )


@contextmanager
def explain_missing_data(config: Training) -> Iterator[None]:
    """Add to an error about missing captions, labels or partners who needs them."""
    try:
        yield
    except MissingData as error:
        if isinstance(error, NoLabels) and not find(config.method).data_needs(config).attributes:
            raise NoLabels(f"{error}, of which data.wordings.composed makes sentences (set it to 0, or take data with labels)") from None
        raise type(error)(f"{error}, {find(config.method).explain(config, error)}") from None


def synonyms_of(config: Training, pairs: ImageTextPairs, out: Path) -> dict[str, list[str]]:
    """The synonyms of the captions' words, for EDA; looked up once and kept in `out`, since another machine may have others."""
    file = out / SYNONYMS
    with ranks.raise_on_all_ranks():
        if not file.is_file() and ranks.is_main():
            table = synonyms.find_synonyms(pairs.captions(), config.data.synonyms)
            write_file(file, lambda path: synonyms.save_table(path, table))
    words, source = synonyms.load_table(file)
    if ranks.is_main():
        log.info("EDA takes its synonyms from %s: %s words have some", source, f"{len(words):,}")
    return words


def caption_facts_of(config: Training, tokenizer: Tokenizer, pairs: ImageTextPairs, out: Path) -> dict[str, Any]:
    """What the method has to know of the captions, kept in `out` where it is anything; UserError where that file is damaged."""
    file = out / CAPTION_FACTS
    with ranks.raise_on_all_ranks():
        if not file.is_file() and ranks.is_main():
            facts = find(config.method).caption_facts(config, tokenizer, pairs.captions())
            if facts:
                write_file(file, json.dumps(facts) + "\n")
    if not file.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{file} is damaged; remove it and the checkpoints beside it to start the training again") from None
    return content


def tokenizer_of(config: Training, pairs: ImageTextPairs, out: Path) -> Tokenizer:
    """The tokenizer of the settings, or one trained on the captions; the main process writes it into `out`, all read it from there."""
    file = out / TOKENIZER
    with ranks.raise_on_all_ranks():
        if not file.is_file() and ranks.is_main():
            write_file(file, make_tokenizer(config, pairs).save)
    with ranks.raise_on_all_ranks():
        return load_tokenizer(config, file)


def load_tokenizer(config: Training, file: Path) -> Tokenizer:
    """The tokenizer in a file, which cuts captions as the method needs it."""
    tokenizer = tokenizers.load(file, longest_caption(config))
    tokenizer.max_words = find(config.method).data_needs(config).caption_words
    return tokenizer


def longest_caption(config: Training) -> int:
    """Tokens of the longest caption: of the settings, or as the method's authors have it."""
    return config.data.max_tokens or find(config.method).max_tokens


def make_tokenizer(config: Training, pairs: ImageTextPairs) -> Tokenizer:
    """A tokenizer for a training; UserError where a new vocabulary would not fit the weights that it starts from."""
    kind = find(config.method)
    if (config.data.tokenizer or kind.default_tokenizer) == "train" and config.start:
        if (own := tokenizer_beside(locate_file(config.start))) is not None:
            return load_tokenizer(config, own)
        raise UserError(
            f"data.tokenizer=train would assign new token ids, incompatible with the weights of {config.start}; set data.tokenizer"
        )
    wordings = wordings_of(config)
    return kind.tokenizer(config, chain(pairs.captions(), kind.vocabulary_texts(config), wordings.texts() if wordings else ()))


def tokenizer_beside(weights: Path) -> Path | None:
    """The tokenizer beside the weights of a training or of one of its checkpoints."""
    folder = weights.parent
    training = [folder.parent.parent] if folder.parent.name in (FOLDER, BEST) else []
    return next((place / TOKENIZER for place in (folder, *training) if (place / TOKENIZER).is_file()), None)
