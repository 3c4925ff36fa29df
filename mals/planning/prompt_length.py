"""Lengths of prompts in tokens of the generator's text encoder: tokens beyond its limit have no effect on the image."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mals.config import Generate
from mals.errors import ModelMissing, UserError
from mals.models import resolve

PROBES = 32  # prompts of each block that are counted word by word and as a whole
UNLIMITED = 1_000_000  # tokens; transformers writes 1e30 where a tokenizer's folder names no limit


class WordLengths(dict[str, int]):
    """Word -> its number of tokens; each word is tokenized once."""

    def __init__(self, tokenizer: Any):
        super().__init__()
        self.tokenizer = tokenizer

    def __missing__(self, word: str) -> int:
        self[word] = tokens = len(self.tokenizer.encode(word, add_special_tokens=False))
        return tokens


class PromptLengths:
    """Counts the tokens of prompts; `limit` is the most that the text encoder takes, special tokens included.

    Both are None if the tokenizer is missing.
    """

    def __init__(self, limit: int | None, tokenizer: Any = None):
        self.limit, self.tokenizer = limit, tokenizer
        self.words = WordLengths(tokenizer)
        self.by_word = True

    def count(self, prompts: Sequence[str]) -> list[int] | None:
        """Tokens of each prompt, special ones included; None if the tokenizer is missing."""
        if self.tokenizer is None:
            return None
        # Assumes that no token spans two words, so that the tokens of words add up and each word is tokenized once; this is checked on the
        # first PROBES prompts of each block.
        if self.by_word:
            special = len(self.tokenizer.encode(""))
            tokens = self.words.__getitem__
            counts = [special + sum(map(tokens, prompt.split())) for prompt in prompts]
            self.by_word = counts[:PROBES] == self._whole(prompts[:PROBES])
            if self.by_word:
                return counts
        return self._whole(prompts)

    def _whole(self, prompts: Sequence[str]) -> list[int]:
        return [len(encoding) for encoding in self.tokenizer.encode_batch_fast(list(prompts))]


def lengths_for(settings: Generate) -> PromptLengths:
    """The counter for a generator; of several text encoders, that which takes the most tokens."""
    if settings.server:
        return PromptLengths(None)
    try:
        folder = Path(resolve(settings.model, settings.revision, "generator").path)
    except (ModelMissing, UserError):
        return PromptLengths(None)
    encoders = [encoder for place in sorted(folder.glob("tokenizer*")) if place.is_dir() and (encoder := _encoder(place)) is not None]
    if not encoders:
        return PromptLengths(None)
    limit, tokenizer = max(encoders, key=lambda encoder: encoder[0])
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return PromptLengths(limit, tokenizer)


def _encoder(folder: Path) -> tuple[int, Any] | None:
    """The most tokens that a text encoder takes, and its tokenizer; None where either is unknown."""
    if (folder / "tokenizer.json").is_file() and (folder / "tokenizer_config.json").is_file():
        from tokenizers import Tokenizer

        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        limit = config.get("model_max_length", UNLIMITED)
        tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
    else:  # the vocabulary in an older format, which transformers converts
        from transformers import AutoTokenizer

        converted = AutoTokenizer.from_pretrained(folder)
        limit = converted.model_max_length
        tokenizer = converted.backend_tokenizer if converted.is_fast else None
    return (int(limit), tokenizer) if tokenizer is not None and limit < UNLIMITED else None
