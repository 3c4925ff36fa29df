"""The word list: words seen often enough, all others dropped; every kind of tokenizer is known again when it is loaded."""

import json
import pickle

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


WORDS = ["man", "a", "coat", "."]
NUMBERS = {word: number for number, word in enumerate(WORDS, 1)}


@pytest.mark.parametrize("content", [WORDS, NUMBERS, {number: word for word, number in reversed(NUMBERS.items())}])
def test_the_pickled_word_list_of_ssans_authors_is_read(tmp_path, content):
    file = tmp_path / "ind2word.pkl"
    file.write_bytes(pickle.dumps(content, pickle.HIGHEST_PROTOCOL))
    words = tokenizers.load(file, 30)
    assert isinstance(words, WordList) and words.words == WORDS and (words.size, words.max_tokens) == (5, 30)
    assert words.encode(["A man ."], multiple=1).ids.tolist() == [[2, 1, 4]]
    words.save(tmp_path / "tokenizer.json")
    assert tokenizers.load(tmp_path / "tokenizer.json", 30).words == WORDS


def test_a_text_file_of_words_is_a_word_list(tmp_path):
    (tmp_path / "words.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    assert tokenizers.load(tmp_path / "words.txt", 30).words == WORDS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["man", 3], "a word list without words"),
        ([], "a word list without words"),
        ({"man": 1, "a": 3}, "a word list without words"),
        ({"man": "a"}, "a word list without words"),
        ({"man": [1]}, "a word list without words"),
        ({"man": 1, "a": 1}, "a word list without words"),
        (["man", "man"], "a word list that has a word twice"),
    ],
)
def test_a_pickle_without_a_word_list_is_one_sentence(tmp_path, content, message):
    file = tmp_path / "ind2word.pkl"
    file.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=f"^{file}: {message}$"):
        tokenizers.load(file, 30)


class Code:
    """An object whose unpickling would run code."""

    def __reduce__(self):
        return (pytest.fail, ("code in a word list was run",))


def test_code_in_a_pickled_word_list_is_refused_and_not_run(tmp_path):
    file = tmp_path / "ind2word.pkl"
    file.write_bytes(pickle.dumps([*WORDS, Code()]))
    with pytest.raises(UserError, match=rf"^{file} holds more than lists, texts and numbers \(it holds [\w.]+, which was not run\)"):
        tokenizers.load(file, 30)
