"""The head of a noun phrase and what its other words say."""

from collections.abc import Callable

import pytest

from mals.labeller import tags
from mals.labeller.noun_phrases import NounPhrase

Analyse = Callable[[str], NounPhrase]


@pytest.mark.parametrize(
    ("text", "kind", "head", "plural"),
    [
        ("a long red coat", tags.CLOTHING, "coat", False),
        ("two elderly women", tags.PERSON, "woman", True),
        ("a pair of blue jeans", tags.CLOTHING, "jeans", True),
        ("her arms", tags.OTHER_NOUN, "arm", True),
        ("a glass door", tags.OTHER_NOUN, "door", False),
    ],
)
def test_the_last_noun_is_the_head(analyse: Analyse, text: str, kind: str, head: str, plural: bool) -> None:
    phrase = analyse(text)
    assert (phrase.kind, phrase.head, phrase.plural) == (kind, head, plural)


def test_a_shade_only_refines_the_colour_after_it(analyse: Analyse) -> None:
    assert analyse("a navy blue coat").colors == (("blue", 1),)
    assert [color for color, _ in analyse("a black and white coat").colors] == ["black", "white"]
    assert [color for color, _ in analyse("a mustard green coat").colors] == ["green"]


def test_a_band_name_is_no_colour(analyse: Analyse) -> None:
    assert analyse("a White Stripes t-shirt").colors == ()
    assert analyse("a Brown University sweatshirt").colors == ()


def test_articles_and_possessors(analyse: Analyse) -> None:
    assert [analyse(f"{word} coat").article for word in ("a", "the", "his", "")] == ["a", "the", "his", ""]
    assert analyse("the woman's red coat").possessor == "woman's"


def test_a_bag_counts_if_held_and_its_strap_is_the_bag(analyse: Analyse) -> None:
    assert analyse("a backpack").counts_if_held and not analyse("a hat").counts_if_held
    assert analyse("the backpack strap").head == "backpack"


def test_a_quality_decides_what_a_garment_means(analyse: Analyse, labeller) -> None:
    attribute = labeller.space.names.index("lower_length")
    assert [dict(analyse(f"a {text}skirt").meanings).get(attribute) for text in ("", "long ", "mini ")] == [None, 0, 1]
    assert analyse("dress pants").meanings == analyse("pants").meanings
