"""Typing errors are mended where one edit tells the word, and words of the language never."""

import pytest

from mals.labeller import spelling
from mals.labeller.labeller import Labeller
from mals.labeller.lexicon.real_words import REAL_WORDS
from mals.labeller.spelling import LIKELY, POSSIBLE, SURE, edit


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("blakc", "black"),
        ("yelow", "yellow"),
        ("purpple", "purple"),
        ("jakcet", "jacket"),
        ("trowsers", "trousers"),
        ("backpak", "backpack"),
        ("wearng", "wearing"),
        ("blu", "blue"),
        ("gry", "gray"),
        ("hiar", "hair"),
        ("tanktop", "tank top"),
        ("longsleeved", "long sleeved"),
        ("t'shirt", "tshirt"),
        ("beigeish", "beige"),
        ("tannish", "tan"),
    ],
)
def test_one_edit_tells_the_word(labeller: Labeller, word: str, meant: str) -> None:
    assert labeller.vocabulary.spelling.correct(word) == (meant,)


def test_words_that_stick_together_are_two_and_keep_their_place(labeller: Labeller) -> None:
    caption = "a man in blackpants who's bald"
    words, spans = labeller.vocabulary.split_with_spans(caption)
    assert words == labeller.vocabulary.split(caption) == ["a", "man", "in", "black", "pants", "who", "is", "bald"]
    assert [caption[start:end] for start, end in spans[3:7]] == ["blackpants", "blackpants", "who's", "who's"]


@pytest.mark.parametrize("word", ["shrt", "shrts", "frobnix", "xyz", "q", "whitman", "zara", "nike", "levis", "mink", "blank", "glue"])
def test_a_word_of_two_meanings_or_of_the_language_stays(labeller: Labeller, word: str) -> None:
    assert labeller.vocabulary.spelling.correct(word) == (word,)


def test_no_word_of_the_language_becomes_another(labeller: Labeller) -> None:
    mended = {word: labeller.vocabulary.spelling.correct(word) for word in REAL_WORDS.split()}
    assert {word: meant for word, meant in mended.items() if meant != (word,)} == {}


def test_how_likely_an_edit_is() -> None:
    assert [edit(word, "black") for word in ("balck", "blackk", "blck", "blavk", "blacks", "blkac", "black")] == [
        *(SURE, SURE, LIKELY, POSSIBLE, POSSIBLE, None, None)
    ]


def test_mended_words_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spelling, "MAX_MENDED", 3)
    mender = Labeller().vocabulary.spelling
    known = len(mender.known)
    for number in range(20):
        mender.correct(f"frob{number}x")
    assert len(mender.mended) <= 3 and len(mender.known) <= known + 3
