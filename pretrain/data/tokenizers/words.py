"""A word list, the tokenizer of SSAN (Ding et al., 2021): the words of the training captions, all others left out."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from mals.errors import UserError
from pretrain.data.tokenizers import files
from pretrain.data.tokenizers.base import Tokenizer
from pretrain.data.tokenizers.vocabulary import count_words, most_frequent, split_words
from pretrain.safe_pickle import read_plain


class WordList(Tokenizer):
    """Words by their position in a list, from 1 on; 0 is padding, unknown words are dropped, and there is no start, end or mask token."""

    kind: ClassVar[str] = "WordList"

    def __init__(self, words: Sequence[str], max_tokens: int = 100) -> None:
        super().__init__(len(words) + 1, max_tokens)
        self.words = list(words)
        self._numbers = {word: number for number, word in enumerate(self.words, 1)}

    @classmethod
    def train(cls, captions: Iterable[str], max_tokens: int = 100, least: int = 2, most: int | None = None) -> Self:
        """The words that occur at least `least` times, the most frequent first, not more than `most`."""
        counts = {word: count for word, count in count_words(captions).items() if count >= least}
        if not counts:
            raise UserError(f"no word occurs {least} times in the captions: there is no vocabulary to train")
        return cls(most_frequent(counts, most), max_tokens)

    @classmethod
    def load(cls, file: Path, max_tokens: int = 100) -> Self:
        """From the word list that SSAN's authors pickle (ind2word.pkl), read as data, or from a text file of words.

        A pickle holds a list whose first word has the id 1, or a dict between words and ids 1, 2, ...
        """
        content = file.read_bytes().decode("utf-8", "replace").split() if file.suffix == ".txt" else read_plain(file)
        with files.naming(file):
            return cls.read({"words": _in_order(content) if isinstance(content, dict) else content}, max_tokens)

    @classmethod
    def read(cls, content: dict[str, Any], max_tokens: int) -> Self:
        words = content.get("words")
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise UserError("a word list without words")
        if len(set(words)) != len(words):
            raise UserError("a word list that has a word twice")
        return cls(words, max_tokens)

    def save(self, file: Path) -> None:
        file.write_text(json.dumps({"kind": self.kind_name(), "words": self.words}, indent=0) + "\n", encoding="utf-8")

    def pieces(self, captions: Sequence[str]) -> list[list[int]]:
        return [[self._numbers[word] for word in split_words(caption) if word in self._numbers] for caption in captions]


def _in_order(numbers: dict[Any, Any]) -> list[Any] | None:
    """The words of a dict between words and their ids, by id; None where these are not 1, 2, ..."""
    count = len(numbers)
    if all(isinstance(number, int) for number in numbers.values()):
        numbers = {number: word for word, number in numbers.items()}
    in_order = [numbers.get(number) for number in range(1, count + 1)]
    return None if None in in_order else in_order
