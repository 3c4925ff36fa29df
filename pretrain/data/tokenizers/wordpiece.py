"""Captions as token ids: WordPiece, masked words, and vocabularies made of a data set's own captions.

Shapes: B captions, L tokens of the longest of them, V words of the vocabulary.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from numpy.typing import NDArray
from torch import Tensor

from mals.errors import ModelMissing, UserError
from pretrain.method import Text
from pretrain.weights import find_in_cache

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
FILES = ("tokenizer.json", "vocab.txt")
MULTIPLE = 8  # widths of a batch: at most seven shapes up to 56 tokens
MAX_WORDS = 56  # of a caption, as of its tokens (aptm.md 1.5)
SHARE, MOST = 0.25, 10  # of a caption's tokens are masked, and not more than so many (aptm.md 3, mask rule)
NGRAM, NGRAMS = 0.2, (2, 3)  # chance of masking neighbours together, and how many they are
KEPT = 1 << 17  # words whose pieces are remembered
CHANCES = 5  # numbers of a token: how many are masked with it, its turn, whether too many keep it, what is shown, which word by chance
AS_MASK, AS_OTHER = 0.8, 0.1  # of the masked: shown as [MASK], as a word by chance; the rest as they are
WHOLE = 0.75  # of a vocabulary that cannot hold every word: whole words, the rest their beginnings and ends
SIDES = {"left": "right", "right": "left"}
SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)


class Tokenizer:
    """WordPiece with [CLS] first and, as APTM has it, no [SEP] unless `end`; captions longer than `max_tokens` are cut."""

    def __init__(self, backend: tokenizers.Tokenizer, max_tokens: int = 56, end: bool = False) -> None:
        parts = json.loads(backend.to_str())
        kind = parts["model"]["type"]
        known = backend.get_vocab()
        lacks = [name for name in SPECIAL if name not in known]
        if kind != "WordPiece" or lacks:
            raise UserError(f"the tokenizer is no WordPiece of BERT: it is {kind}" + (f" and lacks {', '.join(lacks)}" if lacks else ""))
        if max_tokens < 2 + end:
            raise UserError(f"max_tokens is {max_tokens}: there is no room for a word")
        backend.no_padding()
        backend.no_truncation()
        self.backend, self.max_tokens, self.end = backend, max_tokens, end
        self.pad, _, self.cls, self.sep, self.hidden = (known[name] for name in SPECIAL)
        self.size = max(known.values()) + 1
        self.apart, self.words = _apart(parts), dict[str, list[int]]()
        self.continues = np.zeros(self.size, bool)  # [V], whether a piece continues a word
        self.continues[[number for piece, number in known.items() if piece.startswith("##")]] = True

    @classmethod
    def load(cls, source: str | Path, max_tokens: int = 56, end: bool = False) -> "Tokenizer":
        """From vocab.txt (lower-casing), tokenizer.json, a folder with one of them, or a hub id in the cache."""
        file = _file(str(source))
        if file.suffix == ".json":
            try:
                return cls(tokenizers.Tokenizer.from_file(str(file)), max_tokens, end)
            except UserError as error:
                raise UserError(f"{file}: {error}") from None
            except Exception as error:  # the library raises no other class
                raise UserError(f"{file} is not a tokenizer: {str(error).splitlines()[0]}") from None
        try:
            pieces = file.read_text(encoding="utf-8").splitlines()
            return cls.of([piece.strip() for piece in pieces], max_tokens, end)
        except UnicodeDecodeError:
            raise UserError(f"{file} is not UTF-8 text") from None
        except UserError as error:
            raise UserError(f"{file}: {error}") from None

    @classmethod
    def of(cls, pieces: Sequence[str], max_tokens: int = 56, end: bool = False) -> "Tokenizer":
        """From the pieces of a vocabulary [V], lower-casing as BERT's does."""
        vocab = {piece: number for number, piece in enumerate(pieces)}
        backend = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="[UNK]"))
        backend.normalizer, backend.pre_tokenizer = _normalizer(), tokenizers.pre_tokenizers.BertPreTokenizer()
        backend.add_special_tokens([name for name in SPECIAL if name in vocab])
        return cls(backend, max_tokens, end)

    def save(self, file: Path) -> None:
        """As tokenizer.json, which `load` reads."""
        file.write_text(self.backend.to_str(pretty=True) + "\n", encoding="utf-8")

    def encode(self, captions: Sequence[str], width: int | None = None, multiple: int = MULTIPLE) -> Text:
        """[B, L]; L is the longest caption rounded up to a multiple of 8 (1 for prompts, which are always the same), or `width`."""
        room = min(self.max_tokens, width or self.max_tokens) - self.end - 1
        tail = [self.sep] if self.end else []
        rows = [[self.cls, *ids[:room], *tail] for ids in self._pieces(captions)]
        lengths = np.array([len(row) for row in rows], np.int64)
        wide = width or min(self.max_tokens, -(-int(lengths.max(initial=1)) // multiple) * multiple)
        ids, mask = np.full((len(rows), wide), self.pad, np.int64), np.arange(wide) < lengths[:, None]
        ids[mask] = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
        return Text(torch.from_numpy(ids), torch.from_numpy(mask))

    def _pieces(self, captions: Sequence[str]) -> list[list[int]]:
        """The ids of captions; a word's are kept where they do not depend on its neighbours, which takes a tenth of the time."""
        if not self.apart:
            return [one.ids for one in self.backend.encode_batch_fast(list(captions), add_special_tokens=False)]
        if len(self.words) > KEPT:
            self.words.clear()
        parts = [caption.split(" ") for caption in captions]
        new = list({word for part in parts for word in part} - self.words.keys())
        found = self.backend.encode_batch_fast(new, add_special_tokens=False)
        self.words.update((word, one.ids) for word, one in zip(new, found, strict=True))
        return [[piece for word in part for piece in self.words[word]] for part in parts]

    @property
    def numbers(self) -> int:
        """How many numbers `mask` takes for a caption."""
        return CHANCES * self.max_tokens

    def mask(self, text: Text, chance: NDArray[np.float64], count_padding: bool = False) -> tuple[Text, Tensor]:
        """The captions with some words hidden and the ids that they had, [B, L], -100 elsewhere; `chance` is [B, numbers] in [0, 1).

        `count_padding`, as published, takes padding for tokens up to L: give captions encoded to the width `max_tokens` then.
        """
        ids, wide = text.ids.numpy(), text.ids.shape[1]
        chances = chance.reshape(len(ids), CHANCES, self.max_tokens)[..., :wide]
        lengths = [wide] * len(ids) if count_padding else (text.mask.sum(1) - int(self.end)).tolist()
        hidden = _hidden(self.continues[ids], lengths, chances[:, :3])
        share, others = chances[:, 3], (chances[:, 4] * self.size).astype(np.int64)
        shown = np.where(share < AS_MASK, self.hidden, np.where(share < AS_MASK + AS_OTHER, others, ids))
        masked, targets = np.where(hidden, shown, ids), np.where(hidden, ids, -100)
        return Text(torch.from_numpy(masked), text.mask), torch.from_numpy(targets)


def _apart(parts: dict[str, Any]) -> bool:
    """Whether a tokenizer, as its JSON has it, reads words between blanks each for itself, as BERT's does."""
    kinds = [(parts[name] or {}).get("type") for name in ("normalizer", "pre_tokenizer")]
    added = [one["content"] for one in parts["added_tokens"]]
    return kinds[0] in (None, "BertNormalizer") and kinds[1] == "BertPreTokenizer" and not any(" " in token for token in added)


def _hidden(continues: NDArray[np.bool_], lengths: Sequence[int], chance: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which tokens are masked [B, L], of captions of some lengths, by the authors' rule; `chance` is [B, 3, L].

    Whole words alone or with the next one or two tokens, never the first token, until there are enough.
    """
    share, turn, rest = chance.swapaxes(0, 1)
    fewest, most = NGRAMS
    together = np.where(share < NGRAM, fewest + (share / NGRAM * (most - fewest + 1)).astype(np.int64), 1)
    found = np.zeros(continues.shape, bool)
    for row, length in enumerate(lengths):
        if length < 2:
            continue
        wanted = min(MOST, max(1, round(length * SHARE)))
        order = turn[row, 1:length].argsort() + 1
        at = _words_at(order.tolist(), together[row].tolist(), continues[row].tolist(), length, wanted)
        found[row, at if len(at) <= wanted else np.array(at)[rest[row, at].argsort()[:wanted]]] = True
    return found


def _words_at(order: Sequence[int], together: Sequence[int], continues: Sequence[bool], length: int, wanted: int) -> list[int]:
    """The places of whole words that are hidden, taken in an order until there are at least as many as wanted."""
    found: dict[int, None] = {}
    for at in order:
        if len(found) >= wanted:
            break
        if at not in found:
            first, last = at, min(at + together[at], length)
            while continues[first] and first > 1:
                first -= 1
            while last < length and continues[last]:
                last += 1
            found |= dict.fromkeys(range(first, last))
    return list(found)


def train_vocabulary(captions: Iterable[str], size: int) -> list[str]:
    """At most `size` pieces for `Tokenizer.of`: letters, the commonest words, and parts of those for which there is no room.

    The same captions in any order give the same pieces, ties by the alphabet; the trainer of `tokenizers` breaks them by chance.
    """
    words = _words(captions)
    if size < 2 * len(SPECIAL):
        raise UserError(f"a vocabulary of {size} pieces is too small; it has {len(SPECIAL)} special ones alone")
    letters: Counter[str] = Counter()
    for word, count in words.items():
        letters.update({word[0]: count})
        letters.update({f"##{letter}": count for letter in word[1:]})
    room = size - len(SPECIAL)
    pieces = sorted(_best(letters, room))
    longer = {word: count for word, count in words.items() if len(word) > 1}
    room -= len(pieces)
    whole = _best(longer, room if len(longer) <= room else int(room * WHOLE))
    parts: Counter[str] = Counter()
    for word in longer.keys() - set(whole):
        for cut in range(2, len(word)):
            parts[word[:cut]] += longer[word] * (cut - 1)  # pieces that it saves
            parts[f"##{word[cut - 1 :]}"] += longer[word] * (len(word) - cut)
    known = {*pieces, *whole}
    rest = _best({part: count for part, count in parts.items() if part not in known}, room - len(whole))
    return [*SPECIAL, *pieces, *whole, *rest]


def _best(counts: dict[str, int], most: int) -> list[str]:
    """The commonest, ties by the alphabet."""
    return sorted(counts, key=lambda piece: (-counts[piece], piece))[:most]


def _words(captions: Iterable[str]) -> dict[str, int]:
    """How often each word is said, parted as BERT does."""
    said: Counter[str] = Counter()
    for caption in captions:
        said.update(caption.split())
    normalizer, splitter = _normalizer(), tokenizers.pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for text, count in said.items():
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
            words[word] += count
    return words


def _normalizer() -> Any:
    return tokenizers.normalizers.BertNormalizer(lowercase=True)


def _file(source: str) -> Path:
    """The file behind a source, see `Tokenizer.load`."""
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix not in (".json", ".txt"):
            raise UserError(f"{source} is no tokenizer; that is {' or '.join(FILES)}")
        return path
    if path.is_dir():
        found = [path / name for name in FILES if (path / name).is_file()]
        if not found:
            raise UserError(f"the folder {source} has neither {' nor '.join(FILES)}")
        return found[0]
    if (cached := find_in_cache(source, FILES, "the tokenizer ")) is not None:
        return cached
    raise ModelMissing(
        f"there is no tokenizer {source}: no file or folder of that name, and none in the Hugging Face cache; "
        f"`hf download {source} {FILES[0]}` fetches it, and data.tokenizer=train makes one of the captions"
    )


def clean_caption(caption: str, max_words: int = MAX_WORDS, plain: bool = False) -> str:
    """The first words of a caption; `plain` keeps letters a-z and digits alone, as APTM does with test captions of ICFG and RSTP."""
    words = re.sub(r"[^0-9a-z]+", " ", caption.lower()) if plain else caption
    cut = " ".join(words.split()[:max_words])
    if not cut:
        raise UserError(f"the caption {caption!r} has no word")
    return cut


def exchange_sides(caption: str) -> str:
    """The caption of the mirrored picture: "left" and "right" change places, in whatever case."""
    return SIDE.sub(_other_side, caption)


def _other_side(found: re.Match[str]) -> str:
    word = found[0]
    other = SIDES[word.lower()]
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other
