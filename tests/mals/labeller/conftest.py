"""A labeller of market1501 for tests of its parts."""

from collections.abc import Callable

import pytest

from mals.labeller.labeller import Labeller
from mals.labeller.noun_phrases import NounPhrase
from mals.labeller.reading import ClothingItem, Reading


@pytest.fixture(scope="session")
def labeller() -> Labeller:
    return Labeller()


@pytest.fixture(scope="session")
def read(labeller: Labeller) -> Callable[[str], Reading]:
    """What the grammar reads in a caption."""
    return lambda caption: labeller.grammar.read(labeller.vocabulary.split(caption))


@pytest.fixture(scope="session")
def worn(read: Callable[[str], Reading]) -> Callable[[str], list[str]]:
    """The heads of what the subject wears by a caption: neither negated nor ignored."""

    def is_worn(item: ClothingItem) -> bool:
        return item.negation < 0 and not item.ignored

    return lambda caption: [item.phrase.head for item in read(caption).items if is_worn(item)]


@pytest.fixture(scope="session")
def analyse(labeller: Labeller) -> Callable[[str], NounPhrase]:
    """The noun phrase that a text forms."""

    def phrase(text: str) -> NounPhrase:
        words = labeller.vocabulary.split(text)
        return labeller.grammar.analyser.analyse(words, labeller.grammar.tag(words))

    return phrase
