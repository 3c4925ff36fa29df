"""UIT's changes of captions: content words alone, and tokens that are masked by their parts of speech (docs/papers/uit.md, Captions).

Both need tags, which another machine may not give alike: they are worked out once and kept in the training's folder.

Shapes: B captions, L tokens of the longest of them, V entries of the vocabulary.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mals.errors import UserError
from pretrain.data.batch import Text
from pretrain.data.captions import SIDE
from pretrain.data.tags import Tagger, own_tags, split
from pretrain.data.tokenizers.base import Tokenizer
from pretrain.data.tokenizers.masking import Masked, TokenMasking

CONTENT = ("PRP", "NN", "JJ")  # how the tags of words begin that the filter keeps
NAMING = ("NN", "JJ")  # how the tags of tokens begin that are masked more often
WORD_END = "</w>"  # of a piece of CLIP's byte pairs
CONTINUES = "##"  # before a piece of WordPiece
BATCH = 10_000  # captions that are tagged at once


def is_content(tag: str) -> bool:
    """Whether the filter keeps a word of this tag: a pronoun, a noun or an adjective."""
    return tag.startswith(CONTENT)


@dataclass(frozen=True)
class CaptionTags:
    """Which words of the training's captions are content, and which tokens of the vocabulary are nouns or adjectives."""

    source: str  # whose tags they are
    content: Mapping[str, bool]  # word in lower case -> whether it is content where it stands most often
    exceptions: Mapping[str, Sequence[int]] = field(default_factory=dict)  # `key` of a caption -> the words that are the other way there
    naming: Sequence[int] = ()  # ids of the tokens that are nouns or adjectives
    empty: int = 0  # captions without a word of content

    @classmethod
    def of(cls, tagger: Tagger, captions: Iterable[str], pieces: Sequence[str]) -> Self:
        """Tag captions and the pieces of a vocabulary [V]; each piece is tagged alone, as the authors do it."""
        texts = list(dict.fromkeys(captions))
        sentences = [split(text) for text in texts]
        tags = [tag for at in range(0, len(texts), BATCH) for tag in tagger.tag(sentences[at : at + BATCH])]
        marks = [[is_content(tag) for tag in words] for words in tags]
        votes: Counter[str] = Counter()
        for words, content in zip(sentences, marks, strict=True):
            for word, is_kept in zip(words, content, strict=True):
                votes[word.lower()] += 1 if is_kept else -1
        usual = {word: vote >= 0 for word, vote in sorted(votes.items())}
        exceptions: dict[str, list[int]] = {}
        for text, words, content in zip(texts, sentences, marks, strict=True):
            others = [at for at, (word, is_kept) in enumerate(zip(words, content, strict=True)) if usual[word.lower()] != is_kept]
            if others:
                exceptions[key(text)] = others
        naming = [number for number, (tag,) in enumerate(tagger.tag([[piece] for piece in pieces])) if tag.startswith(NAMING)]
        return cls(tagger.source, usual, exceptions, naming, sum(not any(content) for content in marks))

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """From what `to_json` gave; UserError where that is damaged."""
        try:
            return cls(**{name: content[name] for name in cls.__dataclass_fields__})
        except (KeyError, TypeError):
            raise UserError(
                "the tags of the captions in caption_facts.json are damaged; remove that file and the checkpoints beside it to start again"
            ) from None

    def to_json(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def keep(self, caption: str) -> str:
        """The words of content, with single spaces; "" where there is none."""
        words, others = split(caption), frozenset(self.exceptions.get(key(caption), ()))
        marks = [self.content[word.lower()] if word.lower() in self.content else is_content(own_tags([[word]])[0][0]) for word in words]
        return " ".join(word for at, (word, is_kept) in enumerate(zip(words, marks, strict=True)) if is_kept != (at in others))


def key(caption: str) -> str:
    """A caption's key in the exceptions, the same after left and right have been exchanged."""
    return hashlib.sha1(SIDE.sub("left", caption.lower()).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class WordFilter:
    """A share of the captions keep their pronouns, nouns and adjectives alone; one without any stays as it is."""

    tags: CaptionTags
    share: float

    def __call__(self, caption: str, random: Generator) -> str:
        return self.tags.keep(caption) if random.random() < self.share else caption


@dataclass(frozen=True, eq=False)
class TagMasking:
    """Masks each token with a probability by its tag, and the first one where none was drawn."""

    shares: NDArray[np.float64]  # [V], of each token of the vocabulary

    def count(self, max_tokens: int) -> int:
        return TokenMasking().count(max_tokens)

    def mask(self, text: Text, random: NDArray[np.float64], tokenizer: Tokenizer) -> Masked:
        return TokenMasking().mask_with(text, random, tokenizer, self.shares[text.ids.numpy()])


def masking_by_tags(naming: Iterable[int], vocabulary: int, naming_share: float, other_share: float) -> TagMasking:
    """The rule that masks tokens with the ids `naming` with one probability, all others with another."""
    shares = np.full(vocabulary, other_share)
    shares[list(naming)] = naming_share
    return TagMasking(shares)


def piece_texts(tokenizer: Tokenizer, published: bool = False) -> list[str]:
    """What the tokens of a vocabulary [V] are without the marks of a word's end or continuation.

    `published` cuts the last four letters of every piece, as the authors' code does: right for word ends, and wrong for other pieces, of
    which "ruck" becomes "". UserError for a tokenizer without pieces.
    """
    backend = getattr(tokenizer, "backend", None)
    if backend is None:
        raise UserError(f"the tokenizer {tokenizer.kind_name()} has no pieces of words, whose tags UIT's masking needs")
    pieces = [backend.id_to_token(number) or "" for number in range(tokenizer.size)]
    if published:
        return [piece[: -len(WORD_END)] for piece in pieces]
    return [re.sub(f"^{CONTINUES}(?=.)", "", piece.removesuffix(WORD_END)) for piece in pieces]
