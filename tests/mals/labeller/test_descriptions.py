"""Colours and adjectives without a noun."""

from collections.abc import Callable

import pytest

from mals.labeller.reading import Reading

Read = Callable[[str], Reading]


@pytest.mark.parametrize(
    ("caption", "colors"),
    [
        ("his shirt is green", ["green"]),
        ("his trousers gray, his hair short", ["gray"]),
        ("a sweater of dark red wool", ["red"]),
        ("his shirt and pants are brown", ["brown", "brown"]),
        ("a top and a skirt, both red", ["red", "red"]),
        ("his shirt is green, not gray", ["green"]),
    ],
)
def test_colours_describe_what_stands_before_them(read: Read, caption: str, colors: list[str]) -> None:
    assert [color for item in read(caption).items for color, _ in item.colors] == colors


def test_a_person_in_a_colour_wears_it(read: Read) -> None:
    assert read("a woman dressed in white").colors == [("white", 3)]
    assert read("a man on a street in black").colors == [("black", 6)]
    assert read("a man near a wall in black").colors == []


def test_adjectives_after_is_describe_the_person_or_the_garment(read: Read) -> None:
    assert read("a person who is elderly").values == [(1, 1, 4)]
    assert ("long", 3) in read("her skirt is long").items[0].later_words
