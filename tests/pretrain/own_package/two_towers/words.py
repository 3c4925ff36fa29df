"""A tokenizer of a stranger's own: a word is a hash of its letters."""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pretrain.data.tokenizers import Tokenizer

PAD, START, MASK = range(3)


class HashedWords(Tokenizer):
    """No vocabulary: words fall into as many ids as there are."""

    def __init__(self, ids: int, max_tokens: int) -> None:
        super().__init__(ids + 3, max_tokens, pad=PAD, start=START, hidden=MASK)
        self.ids = ids

    def pieces(self, captions: Sequence[str]) -> list[list[int]]:
        return [[3 + zlib.crc32(word.encode()) % self.ids for word in caption.lower().split()] for caption in captions]

    def save(self, file: Path) -> None:
        file.write_text(json.dumps({"kind": self.kind_name(), "ids": self.ids}))

    @classmethod
    def read(cls, content: dict[str, Any], max_tokens: int) -> Self:
        return cls(content["ids"], max_tokens)
