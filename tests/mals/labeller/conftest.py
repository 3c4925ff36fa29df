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


@pytest.fixture(scope="session")
def summary(labeller: Labeller) -> Callable[[str], str]:
    """The whole label of a caption in words: "gender=man hat no-bag upper:red lower:?", without what is only not mentioned."""

    def describe(caption: str) -> str:
        labels = labeller.label([caption])
        space, values, sources = labeller.space, labels.values[0].tolist(), labels.sources[0]
        words = []
        for at, name in enumerate(space.names[:10]):
            if name in space.not_mentioned:
                words += [name] if values[at] == 0 else [f"no-{name}"] if sources[at] == "explicit" else []
            elif values[at] >= 0:
                words.append(f"{name}={space.values[at][values[at]]}")
        for group in space.color_groups.values():
            known = {color: values[space.names.index(name)] for color, name in group.colors.items()}
            colors = "+".join(color for color, value in known.items() if value == 0)
            words.append(f"{group.half}:{colors or ('?' if -1 in known.values() else 'other')}")
        return " ".join(words)

    return describe
