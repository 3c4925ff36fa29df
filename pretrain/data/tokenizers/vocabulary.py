"""Vocabularies made of a data set's own captions: pieces for WordPiece, whole words for a word list."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import tokenizers

from mals.errors import UserError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WHOLE_WORDS = 0.75  # of a vocabulary that cannot hold every word; the rest are beginnings and ends of the other words


def train_vocabulary(captions: Iterable[str], size: int) -> list[str]:
    """At most `size` pieces for `WordPiece.of`: letters, the most frequent words, and parts of the words for which there is no room.

    The same captions in any order give the same pieces: ties are broken by the alphabet, by the trainer of `tokenizers` at random.
    """
    words = count_words(captions)
    if size < 2 * len(SPECIAL):
        raise UserError(f"a vocabulary of {size} pieces is too small; it has {len(SPECIAL)} special ones alone")
    letters: Counter[str] = Counter()
    for word, count in words.items():
        letters.update({word[0]: count})
        letters.update({f"##{letter}": count for letter in word[1:]})
    room = size - len(SPECIAL)
    pieces = sorted(most_frequent(letters, room))
    longer = {word: count for word, count in words.items() if len(word) > 1}
    room -= len(pieces)
    whole = most_frequent(longer, room if len(longer) <= room else int(room * WHOLE_WORDS))
    parts: Counter[str] = Counter()
    for word in longer.keys() - set(whole):
        for cut in range(2, len(word)):
            parts[word[:cut]] += longer[word] * (cut - 1)  # pieces that it saves
            parts[f"##{word[cut - 1 :]}"] += longer[word] * (len(word) - cut)
    used = {*pieces, *whole}
    rest = most_frequent({part: count for part, count in parts.items() if part not in used}, room - len(whole))
    return [*SPECIAL, *pieces, *whole, *rest]


def most_frequent(counts: Mapping[str, int], most: int | None = None) -> list[str]:
    """The most frequent first, equally frequent ones in alphabetical order."""
    return sorted(counts, key=lambda piece: (-counts[piece], piece))[:most]


def count_words(captions: Iterable[str]) -> Counter[str]:
    """How often each word occurs, split as BERT splits."""
    parts: Counter[str] = Counter()
    for caption in captions:
        parts.update(caption.split())
    words: Counter[str] = Counter()
    for text, count in parts.items():
        for word in split_words(text):
            words[word] += count
    return words


def split_words(text: str) -> list[str]:
    """Lower-case words and punctuation marks, as BERT's tokenizer has them before it cuts words into pieces."""
    return [word for word, _ in SPLITTER.pre_tokenize_str(NORMALIZER.normalize_str(text))]


def bert_normalizer() -> Any:
    """Lower case, no accents."""
    return tokenizers.normalizers.BertNormalizer(lowercase=True)


NORMALIZER, SPLITTER = bert_normalizer(), tokenizers.pre_tokenizers.BertPreTokenizer()
