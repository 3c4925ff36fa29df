"""The byte-level BPE of CLIP (Radford et al., 2021), with the mask token that IRRA (Jiang and Ye, CVPR 2023) gives it.

IRRA removes the last entry of CLIP's vocabulary, so that a mask token has room: ids 49405 (mask), 49406 (start), 49407 (end), as many in
all as CLIP has. Its code keeps the merge that makes the entry, and fails on the word "jekyll"; here the merge goes as well.
"""

import gzip
import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import ftfy
import tokenizers
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers

from mals.errors import UserError
from pretrain.data.tokenizers import files
from pretrain.data.tokenizers.base import Tokenizer

START, END, MASK = "<|startoftext|>", "<|endoftext|>", "<|mask|>"
WORD_END = "</w>"
MERGES = 48894  # of bpe_simple_vocab_16e6.txt that CLIP uses
PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
NAMES = ("tokenizer.json", "vocab.json", "bpe_simple_vocab_16e6.txt.gz")
Merge = tuple[str, str]


class ClipBpe(Tokenizer):
    """A start and an end token around every caption; 0, the id of "!", is padding too, as in CLIP."""

    kind: ClassVar[str] = "BPE"

    def __init__(self, vocabulary: dict[str, int], merges: Sequence[Merge], max_tokens: int = 77) -> None:
        if START not in vocabulary or END not in vocabulary:
            raise UserError(f"the tokenizer is no BPE of CLIP: it lacks {START} or {END}")
        vocabulary, merges = dict(vocabulary), list(merges)
        if MASK not in vocabulary:
            number = vocabulary[START] - 1
            last = next(piece for piece, at in vocabulary.items() if at == number)
            del vocabulary[last]
            vocabulary[MASK] = number
            merges = [merge for merge in merges if "".join(merge) != last]
        self.vocabulary, self.merges = vocabulary, merges
        backend = tokenizers.Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix=WORD_END, fuse_unk=False))
        backend.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
        split = pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in (START, END, MASK)])
        self.backend = backend
        size = max(vocabulary.values()) + 1
        super().__init__(size, max_tokens, pad=0, start=vocabulary[START], end=vocabulary[END], hidden=vocabulary[MASK])

    @classmethod
    def load(cls, source: str | Path, max_tokens: int = 77) -> Self:
        """From tokenizer.json, vocab.json beside merges.txt, bpe_simple_vocab_16e6.txt.gz, a folder with one of them, or a hub id."""
        file = files.locate(str(source), NAMES, (".json", ".txt", ".txt.gz"))
        with files.naming(file):
            if file.name.endswith((".gz", ".txt")):
                return cls(*_of_openai(file), max_tokens)
            if file.name != "vocab.json":
                return cls.read(files.read_json(file), max_tokens)
            merges = (file.parent / "merges.txt").read_text(encoding="utf-8").splitlines()
            return cls(files.read_json(file), [_merge(line) for line in merges if line and not line.startswith("#version")], max_tokens)

    @classmethod
    def read(cls, content: dict[str, Any], max_tokens: int) -> Self:
        model = content.get("model") or {}
        if model.get("type") != cls.kind or model.get("end_of_word_suffix") != WORD_END:
            raise UserError(f"the tokenizer is no BPE of CLIP: it is {model.get('type')}")
        merges = [_merge(merge) if isinstance(merge, str) else (merge[0], merge[1]) for merge in model["merges"]]
        return cls(model["vocab"] | {token["content"]: token["id"] for token in content.get("added_tokens", ())}, merges, max_tokens)

    def save(self, file: Path) -> None:
        """As tokenizer.json of the library `tokenizers`."""
        file.write_text(self.backend.to_str(pretty=True) + "\n", encoding="utf-8")

    def pieces(self, captions: Sequence[str]) -> list[list[int]]:
        cleaned = [re.sub(r"\s+", " ", _mended(caption)).strip() for caption in captions]
        return [encoding.ids for encoding in self.backend.encode_batch_fast(cleaned, add_special_tokens=False)]


def _mended(caption: str) -> str:
    """The caption as CLIP's code cleans it: by ftfy, twice by HTML's rules, in lower case; plain captions stay as they are."""
    if caption.isascii() and caption.isprintable() and "&" not in caption:
        return caption
    return html.unescape(html.unescape(ftfy.fix_text(caption))).lower()


def _merge(line: str) -> Merge:
    left, right = line.split()
    return left, right


def _of_openai(file: Path) -> tuple[dict[str, int], list[Merge]]:
    """The vocabulary and merges in the file of CLIP's repository: all bytes, all bytes at the end of a word, then one entry a merge."""
    data = file.read_bytes()
    lines = (gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8").split("\n")
    merges = [_merge(line) for line in lines[1 : 1 + MERGES] if line]
    letters = _byte_letters()
    pieces = [*letters, *(letter + WORD_END for letter in letters), *map("".join, merges), START, END]
    return {piece: number for number, piece in enumerate(pieces)}, merges


def _byte_letters() -> list[str]:
    """A printable letter for each of the 256 bytes, in the order of CLIP's vocabulary (that of GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("\u00a1"), ord("\u00ac") + 1), *range(ord("\u00ae"), ord("\u00ff") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]
