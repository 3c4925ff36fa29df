"""What every tokenizer can do: token ids of captions, masked tokens, and a file that remembers its kind.

Shapes: B captions, L tokens of the longest of them, V entries of the vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from mals.errors import UserError
from pretrain.data.batch import Text

MULTIPLE = 8  # lengths of a batch are multiples of it: few different ones, each of which torch compiles once


class Tokenizer(ABC):
    """Captions -> token ids: a start token, the caption's tokens, an end token if the tokenizer has one, padding.

    A tokenizer of your own is a subclass with `pieces`, `save` and `read`; its file is a JSON object whose "kind" is `kind_name()`, so that
    `pretrain.data.tokenizers.load` finds the class again.
    """

    kind: ClassVar[str] = ""  # the name in its file, "" for the import path of the class

    def __init__(
        self, size: int, max_tokens: int, *, pad: int = 0, start: int | None = None, end: int | None = None, hidden: int | None = None
    ) -> None:
        """`size` is V; `start`, `end` and `hidden` are the ids of the start, end and mask tokens, None if it has none."""
        if max_tokens < 1 + (start is not None) + (end is not None):
            raise UserError(f"max_tokens is {max_tokens}: there is no room for a word")
        self.size, self.max_tokens = size, max_tokens
        self.pad, self.start, self.end, self._mask = pad, start, end, hidden
        self.max_words: int | None = None  # a caption is cut after so many words; None: never
        self.continues: NDArray[np.bool_] = np.zeros(size, bool)  # [V], whether a token continues the word of the token before it

    @abstractmethod
    def pieces(self, captions: Sequence[str]) -> list[list[int]]:
        """The ids of each caption's tokens, without start and end."""

    @abstractmethod
    def save(self, file: Path) -> None:
        """Write the JSON file that `read` reads."""

    @classmethod
    @abstractmethod
    def read(cls, content: dict[str, Any], max_tokens: int) -> Self:
        """A tokenizer from the content of its file."""

    @classmethod
    def kind_name(cls) -> str:
        """The value of "kind" in its file."""
        return cls.kind or f"{cls.__module__}:{cls.__qualname__}"

    def describe(self) -> str:
        """Which tokens are around a caption, for model cards."""
        if self.start is None and self.end is None:
            return "without start or end"
        names = {"the start token": self.start, "the end token": self.end}
        return "with " + " and ".join(f"{name} {number}" for name, number in names.items() if number is not None)

    @property
    def mask_id(self) -> int:
        """The id of the mask token; UserError where there is none."""
        if self._mask is None:
            raise UserError(f"the tokenizer {self.kind_name()} has no mask token, which masked captions need")
        return self._mask

    @property
    def special(self) -> list[int]:
        """The ids of padding, start, end and mask, as far as there are any."""
        return [number for number in (self.pad, self.start, self.end, self._mask) if number is not None]

    def encode(self, captions: Sequence[str], width: int | None = None, multiple: int = MULTIPLE) -> Text:
        """[B, L]; longer captions are cut to `max_tokens`. L is `width`, or the longest caption rounded up to a `multiple`."""
        head, tail = ([] if token is None else [token] for token in (self.start, self.end))
        room = min(self.max_tokens, width or self.max_tokens) - len(head) - len(tail)
        rows = [[*head, *ids[:room], *tail] for ids in self.pieces(captions)]
        lengths = np.array([len(row) for row in rows], np.int64)
        wide = width or min(self.max_tokens, -(-int(lengths.max(initial=1)) // multiple) * multiple)
        ids, mask = np.full((len(rows), wide), self.pad, np.int64), np.arange(wide) < lengths[:, None]
        ids[mask] = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
        return Text(torch.from_numpy(ids), torch.from_numpy(mask))
