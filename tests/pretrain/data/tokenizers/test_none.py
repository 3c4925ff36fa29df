"""The tokenizer of methods that read no captions."""

from pathlib import Path

from pretrain.data import tokenizers
from pretrain.data.tokenizers import NoWords


def test_captions_have_no_token_and_the_file_remembers_the_kind(tmp_path: Path) -> None:
    text = NoWords().encode(["a man", ""])
    assert not text.mask.any() and len(text.ids) == 2
    NoWords().save(tmp_path / "tokenizer.json")
    assert isinstance(tokenizers.load(tmp_path / "tokenizer.json", 56), NoWords)
