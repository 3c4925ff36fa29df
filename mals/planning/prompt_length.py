"""How long prompts are in the tokens of the generator's text encoder: what is beyond its limit has no effect on the picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mals.config import Generate
from mals.errors import ModelMissing, UserError
from mals.models import find

PROBES = 32  # prompts of each block that are counted both ways
UNLIMITED = 1_000_000  # tokens; transformers writes 1e30 where a tokenizer's folder names no limit


class Words(dict[str, int]):
    """Word -> its pieces, each word tokenized once."""

    def __init__(self, tokenizer: Any):
        super().__init__()
        self.tokenizer = tokenizer

    def __missing__(self, word: str) -> int:
        self[word] = pieces = len(self.tokenizer.encode(word, add_special_tokens=False))
        return pieces


class Lengths:
    """A counter of tokens; `limit` is the most that the encoder takes, special tokens included, None where no tokenizer is at hand."""

    def __init__(self, limit: int | None, tokenizer: Any = None):
        self.limit, self.tokenizer = limit, tokenizer
        self.words = Words(tokenizer)
        self.by_word = True

    def count(self, prompts: Sequence[str]) -> list[int] | None:
        """Tokens of each prompt, special ones included; None where no tokenizer is at hand."""
        if self.tokenizer is None:
            return None
        if self.by_word:  # the text encoders' tokenizers never join words: their pieces add up, and most words come again and again
            special = len(self.tokenizer.encode(""))
            pieces = self.words.__getitem__
            counts = [special + sum(map(pieces, prompt.split())) for prompt in prompts]
            self.by_word = counts[:PROBES] == self._whole(prompts[:PROBES])
            if self.by_word:
                return counts
        return self._whole(prompts)

    def _whole(self, prompts: Sequence[str]) -> list[int]:
        return [len(encoding) for encoding in self.tokenizer.encode_batch_fast(list(prompts))]


def lengths_for(settings: Generate) -> Lengths:
    """The counter for a generator; of several text encoders the one that takes the most."""
    try:
        folder = Path(find(settings.model, settings.revision, "generator").path)
    except (ModelMissing, UserError):
        return Lengths(None)
    places = [place for place in sorted(folder.glob("tokenizer*")) if place.is_dir()]
    if not places:
        return Lengths(None)
    from transformers import AutoTokenizer

    tokenizers = [AutoTokenizer.from_pretrained(place) for place in places]
    tokenizers = [tokenizer for tokenizer in tokenizers if tokenizer.is_fast and tokenizer.model_max_length < UNLIMITED]
    if not tokenizers:
        return Lengths(None)
    longest = max(tokenizers, key=lambda tokenizer: tokenizer.model_max_length)
    backend = longest.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    return Lengths(longest.model_max_length, backend)
