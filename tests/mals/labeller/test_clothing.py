"""Negation, shared colours, sleeves, hoods and hair."""

from collections.abc import Callable

import pytest

from mals.labeller.reading import Reading

Read = Callable[[str], Reading]


@pytest.mark.parametrize(
    ("caption", "negated"),
    [
        ("a man without a hat or bag", ["hat", "bag"]),
        ("a man without a hat, bag or coat", ["hat", "bag", "coat"]),
        ("a man without a hat and with a bag", ["hat"]),
        ("a man without a hat, in a coat", ["hat"]),
        ("a man not wearing a coat but a hat", ["coat"]),
    ],
)
def test_a_negation_covers_its_list_and_ends_with_it(read: Read, caption: str, negated: list[str]) -> None:
    assert [item.phrase.head for item in read(caption).items if item.negation >= 0] == negated


@pytest.mark.parametrize(
    ("caption", "colors"),
    [
        ("a black shirt and pants", [["black"], ["black"]]),
        ("a black shirt and a pair of pants", [["black"], []]),
        ("a black shirt, pants", [["black"], []]),
        ("a black shirt and blue pants", [["black"], ["blue"]]),
        ("a purple blazer with matching trousers", [["purple"], ["purple"]]),
        ("a blue blouse with white stripes", [["blue", "white"]]),
    ],
)
def test_garments_of_a_list_share_a_colour_that_only_the_first_names(read: Read, caption: str, colors: list[list[str]]) -> None:
    assert [[color for color, _ in item.colors] for item in read(f"a person in {caption}").items] == colors


def test_sleeves_and_hoods(read: Read) -> None:
    assert [item.sleeves and item.sleeves[0] for item in read("a man in a shirt with long sleeves").items] == ["long"]
    assert read("a man with short sleeves").sleeves == [("short", 3)]
    assert [item.phrase.head for item in read("a man with his hood up").items] == ["hood up"]
    assert read("a man with his hood down").items == []


def test_hair_is_described_by_its_phrase_or_after_it(read: Read) -> None:
    assert ("long", 3) in read("a woman with long hair").hair
    assert "short" in [word for word, _ in read("a woman whose hair is short").hair]
    assert read("a man without hair").hair == [("no", 3)]
    assert read("a man next to long hair").hair == []
