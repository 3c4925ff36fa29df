"""Tokenizers: WordPiece, the BPE of CLIP, a list of words, none, and what they have in common."""

from pathlib import Path

from mals.errors import UserError
from mals.plugins import load_object
from pretrain.data.tokenizers import files
from pretrain.data.tokenizers.base import Tokenizer
from pretrain.data.tokenizers.clip import ClipBpe
from pretrain.data.tokenizers.none import NoWords
from pretrain.data.tokenizers.wordpiece import WordPiece
from pretrain.data.tokenizers.words import WordList

__all__ = ["ClipBpe", "NoWords", "Tokenizer", "WordList", "WordPiece", "load"]

WORD_LISTS = (".pkl", ".txt")  # of the authors of SSAN
KINDS: dict[str, type[Tokenizer]] = {kind.kind_name(): kind for kind in (ClipBpe, NoWords, WordList, WordPiece)}


def load(file: Path, max_tokens: int) -> Tokenizer:
    """The tokenizer that a training or a release has saved, of whatever kind, or a word list; UserError where the file holds none."""
    if file.suffix in WORD_LISTS and file.is_file():
        return WordList.load(file, max_tokens)
    with files.naming(file):
        content = files.read_json(file)
        name = content.get("kind") or (content.get("model") or {}).get("type")
        kind = KINDS.get(str(name)) or load_object(str(name), "kind")
        if not (isinstance(kind, type) and issubclass(kind, Tokenizer)):
            raise UserError(f"{name} is no subclass of pretrain.data.tokenizers.Tokenizer")
        return kind.read(content, max_tokens)
