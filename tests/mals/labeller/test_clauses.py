"""Verbs, prepositions and stops decide whose the next words are."""

from collections.abc import Callable

import pytest

Worn = Callable[[str], list[str]]


@pytest.mark.parametrize(
    ("caption", "items"),
    [
        ("a girl beside a boy in boots wears a hat", ["hat"]),
        ("a girl talks to a boy in boots and carries a bag", ["bag"]),
        ("a girl with a boy who wears boots and a hat", []),
        ("a girl beside a boy, in a hat", ["hat"]),
        ("a girl while a boy in boots sleeps; her bag is brown", ["bag"]),
        ("a girl past whom a boy in boots walks", []),
    ],
)
def test_a_clause_belongs_to_the_bystander_until_it_returns_to_the_subject(worn: Worn, caption: str, items: list[str]) -> None:
    assert worn(caption) == items


@pytest.mark.parametrize(
    ("caption", "items"),
    [
        ("a man holding a jacket", []),
        ("a man holding a bag", ["bag"]),
        ("a man looking at a bag", []),
        ("a man with his hat off", []),
        ("a man in front of a rack of coats", []),
    ],
)
def test_what_is_held_looked_at_or_for_sale_is_not_worn(worn: Worn, caption: str, items: list[str]) -> None:
    assert worn(caption) == items
