"""No tokenizer: that of methods that read no captions."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pretrain.data.tokenizers.base import Tokenizer


class NoWords(Tokenizer):
    """Every caption has no token; its file says so, beside those of other trainings."""

    kind: ClassVar[str] = "NoWords"

    def __init__(self, max_tokens: int = 1) -> None:
        super().__init__(1, max_tokens)

    @classmethod
    def read(cls, content: dict[str, Any], max_tokens: int) -> Self:
        return cls(max_tokens)

    def save(self, file: Path) -> None:
        file.write_text(json.dumps({"kind": self.kind_name()}) + "\n", encoding="utf-8")

    def pieces(self, captions: Sequence[str]) -> list[list[int]]:
        return [[] for _ in captions]
