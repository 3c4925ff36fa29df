"""Words, phrases and tags of captions."""

import pytest

from mals.labeller import tags
from mals.labeller.labeller import Labeller


def test_phrases_of_the_lexicon_are_one_word_and_the_longest_wins(labeller: Labeller) -> None:
    assert labeller.vocabulary.split("A T-shirt, next to IT") == ["a", "t shirt", ",", "next to", "it"]
    assert labeller.vocabulary.split("short sleeved t shirt dress") == ["short sleeved", "t shirt dress"]


def test_spans_are_places_in_the_caption(labeller: Labeller) -> None:
    caption = "She’s in a tank   top."
    words, spans = labeller.vocabulary.split_with_spans(caption)
    assert words == labeller.vocabulary.split(caption) == ["she's", "in", "a", "tank top", "."]
    assert [caption[start:end] for start, end in spans] == ["She’s", "in", "a", "tank   top", "."]


@pytest.mark.parametrize(
    ("word", "tag"),
    [
        ("jackets", tags.CLOTHING),
        ("women", tags.PERSON),
        ("walks", tags.VERB),
        ("stands", tags.NOUN_OR_VERB),
        ("navy", tags.COLOR),
        ("without", tags.NOT),
        ("frobnicating", tags.ING_FORM),
        ("frobnicated", tags.MODIFIER),
        ("frobnicly", tags.ADVERB),
        ("frobnic's", tags.POSSESSIVE),
        ("7", tags.DETERMINER),
        ("frobnix", tags.UNKNOWN_WORD),
    ],
)
def test_words_have_tags_and_unknown_words_get_one_by_their_ending(labeller: Labeller, word: str, tag: str) -> None:
    assert labeller.vocabulary.tag([word]) == tag


def test_unknown_words_that_are_remembered_are_bounded(labeller: Labeller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mals.labeller.vocabulary.MAX_GUESSES", 3)
    vocabulary = Labeller().vocabulary
    for number in range(20):
        vocabulary.guess(f"frob{number}x")
    assert len(vocabulary.guesses) <= 3
