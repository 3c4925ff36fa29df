"""WordPiece, the tokenizer of BERT (Devlin et al., 2019), from the files of others or with a vocabulary of one's own captions."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import tokenizers

from mals.errors import UserError
from pretrain.data.tokenizers import files
from pretrain.data.tokenizers.base import Tokenizer
from pretrain.data.tokenizers.vocabulary import SPECIAL, bert_normalizer

CACHED_WORDS = 1 << 17  # words whose pieces are remembered
END_KEY = "end_token"  # in the file of a tokenizer that has one


class WordPiece(Tokenizer):
    """[CLS] first, [SEP] at the end with `end`."""

    kind: ClassVar[str] = "WordPiece"

    def __init__(self, backend: tokenizers.Tokenizer, max_tokens: int = 56, end: bool = False) -> None:
        parts = json.loads(backend.to_str())
        kind = parts["model"]["type"]
        vocabulary = backend.get_vocab()
        missing = [name for name in SPECIAL if name not in vocabulary]
        if kind != self.kind or missing:
            lacks = f" and lacks {', '.join(missing)}" if missing else ""
            raise UserError(f"the tokenizer is no WordPiece of BERT: it is {kind}{lacks}")
        backend.no_padding()
        backend.no_truncation()
        pad, _, start, separator, hidden = (vocabulary[name] for name in SPECIAL)
        size = max(vocabulary.values()) + 1
        super().__init__(size, max_tokens, pad=pad, start=start, end=separator if end else None, hidden=hidden)
        self.backend, self._independent, self._cache = backend, _words_are_independent(parts), dict[str, list[int]]()
        self.continues[[number for piece, number in vocabulary.items() if piece.startswith("##")]] = True

    @classmethod
    def load(cls, source: str | Path, max_tokens: int = 56, end: bool = False) -> Self:
        """From vocab.txt (lower-casing), tokenizer.json, a folder with one of them, or a hub id in the cache.

        The file of a tokenizer that has an end token, as `save` writes it, gives one without `end` too.
        """
        file = files.locate(str(source), ("tokenizer.json", "vocab.txt"))
        if file.suffix == ".json":
            with files.naming(file):
                content = files.read_json(file)
                return cls.read(content | {END_KEY: True} if end else content, max_tokens)
        with files.naming(file):
            try:
                pieces = file.read_text(encoding="utf-8").splitlines()
            except UnicodeDecodeError:
                raise UserError("this is not UTF-8 text") from None
            return cls.of([piece.strip() for piece in pieces], max_tokens, end)

    @classmethod
    def of(cls, pieces: Sequence[str], max_tokens: int = 56, end: bool = False) -> Self:
        """From the pieces of a vocabulary [V], lower-casing as BERT's does."""
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        backend = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
        backend.normalizer, backend.pre_tokenizer = bert_normalizer(), tokenizers.pre_tokenizers.BertPreTokenizer()
        backend.add_special_tokens([name for name in SPECIAL if name in vocabulary])
        return cls(backend, max_tokens, end)

    @classmethod
    def read(cls, content: dict[str, Any], max_tokens: int) -> Self:
        library = {key: value for key, value in content.items() if key != END_KEY}
        return cls(files.backend_of(library), max_tokens, bool(content.get(END_KEY)))

    def save(self, file: Path) -> None:
        """As tokenizer.json of the library `tokenizers`."""
        text = self.backend.to_str(pretty=True)
        if self.end is not None:
            text = json.dumps(json.loads(text) | {END_KEY: True}, indent=2, ensure_ascii=False)
        file.write_text(text + "\n", encoding="utf-8")

    def describe(self) -> str:
        return f"the first of them `[CLS]` ({self.start}), {'without' if self.end is None else 'the last of them'} `[SEP]`"

    def pieces(self, captions: Sequence[str]) -> list[list[int]]:
        if not self._independent:
            return [encoding.ids for encoding in self.backend.encode_batch_fast(list(captions), add_special_tokens=False)]
        if len(self._cache) > CACHED_WORDS:
            self._cache.clear()
        parts = [caption.split(" ") for caption in captions]
        new = list({word for part in parts for word in part} - self._cache.keys())
        encodings = self.backend.encode_batch_fast(new, add_special_tokens=False)
        self._cache.update((word, encoding.ids) for word, encoding in zip(new, encodings, strict=True))
        return [[piece for word in part for piece in self._cache[word]] for part in parts]


def _words_are_independent(parts: dict[str, Any]) -> bool:
    """Whether a tokenizer, given as its JSON, encodes words between blanks independently, as BERT's does: then each is encoded once."""
    normalizer, splitter = ((parts[name] or {}).get("type") for name in ("normalizer", "pre_tokenizer"))
    added = [token["content"] for token in parts["added_tokens"]]
    return normalizer in (None, "BertNormalizer") and splitter == "BertPreTokenizer" and not any(" " in token for token in added)
