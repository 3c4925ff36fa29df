"""Tags in their context, and phrases found in them."""

from collections.abc import Callable

import pytest

from mals.labeller.grammar import OTHER_WORD, PHRASE
from mals.labeller.labeller import Labeller
from mals.labeller.reading import Reading


@pytest.mark.parametrize(
    ("caption", "word", "tag"),
    [
        ("a man stands", "stands", "V"),
        ("tall stands", "stands", "N"),
        ("a man that wears a hat", "that", "L"),
        ("a man in that hat", "that", "D"),
        ("a man sports a hat", "sports", "W"),
        ("a sports bag", "sports", "M"),
    ],
)
def test_neighbours_decide_the_tag_of_an_ambiguous_word(labeller: Labeller, caption: str, word: str, tag: str) -> None:
    words = caption.split()
    assert labeller.grammar.tag(words)[words.index(word)] == tag


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("a woman in a soft, green sweater and jeans", ["a woman", "a soft , green sweater", "jeans"]),
        ("a man in red, white and dark blue shorts", ["a man", "red , white and dark blue shorts"]),
        ("her hair is long and flowing", ["her hair", "long"]),
        ("the running shoes of a running man", ["the running shoes", "man"]),
        ("dressed in black", ["black"]),
    ],
)
def test_noun_phrases_are_found_in_the_tags(labeller: Labeller, caption: str, phrases: list[str]) -> None:
    words = labeller.vocabulary.split(caption)
    matches = PHRASE.finditer(labeller.grammar.tag(words))
    assert [" ".join(words[slice(*match.span())]) for match in matches if match.lastindex != OTHER_WORD] == phrases


def test_a_list_depends_on_what_its_first_phrase_depends_on(read: Callable[[str], Reading]) -> None:
    items = read("a woman next to a bench and a coat").items
    assert [(item.phrase.head, item.ignored) for item in items] == [("coat", False)]
    items = read("a woman looking at a coat and a hat").items
    assert [(item.phrase.head, item.ignored) for item in items] == [("coat", True), ("hat", True)]
