"""The word list: words seen often enough, all others dropped; every kind of tokenizer is known again when it is loaded."""

import json

import pytest

from mals.errors import UserError
from pretrain.data import tokenizers
from pretrain.data.tokenizers import WordList, WordPiece
from pretrain.data.tokenizers.vocabulary import train_vocabulary

CAPTIONS = ["A man in a red shirt.", "a woman in red", "a tall man."]


def test_words_seen_twice_are_kept_and_others_dropped():
    words = WordList.train(CAPTIONS)
    assert words.words == ["a", ".", "in", "man", "red"] and words.size == 6
    text = words.encode(["A tall man in RED", "unseen"], multiple=1)
    assert text.ids.tolist() == [[1, 4, 3, 5], [0, 0, 0, 0]] and text.mask.sum(1).tolist() == [4, 0]
    assert words.encode(["a " * 300]).ids.shape == (1, 100)
    assert WordList.train(CAPTIONS, most=2).words == ["a", "."]
    with pytest.raises(UserError, match="no word occurs 9 times"):
        WordList.train(CAPTIONS, least=9)


def test_the_kind_of_a_saved_tokenizer_is_known(tmp_path):
    file = tmp_path / "tokenizer.json"
    plain = WordPiece.of(train_vocabulary(CAPTIONS, 60))
    for tokenizer in (WordList.train(CAPTIONS), plain, WordPiece.of(train_vocabulary(CAPTIONS, 60), end=True)):
        tokenizer.save(file)
        read = tokenizers.load(file, 40)
        assert type(read) is type(tokenizer) and read.max_tokens == 40 and (read.start, read.end) == (tokenizer.start, tokenizer.end)
        assert read.encode(CAPTIONS).ids.equal(tokenizer.encode(CAPTIONS).ids)


def test_a_file_that_holds_no_tokenizer_is_refused(tmp_path):
    file = tmp_path / "tokenizer.json"
    for content, message in {
        "[]": "no JSON object",
        "{": "not a tokenizer",
        json.dumps({"kind": "json:dumps"}): "json:dumps is no subclass of",
        json.dumps({"kind": "WordList"}): "a word list without words",
        json.dumps({"kind": "Unigram"}): r"kind = 'Unigram' is not of the form",
    }.items():
        file.write_text(content)
        with pytest.raises(UserError, match=f"{file}: .*{message}"):
            tokenizers.load(file, 40)
