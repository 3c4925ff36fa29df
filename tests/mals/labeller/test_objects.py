"""Objects and parts of the body tell what is carried and not worn."""

from collections.abc import Callable

import pytest

from mals.labeller.reading import Reading


@pytest.mark.parametrize(
    ("caption", "items"),
    [
        ("a man with a coat over his arm", []),
        ("a man with a coat over his shoulders", ["coat"]),
        ("a man with a sweater tied around his waist", []),
        ("a man with a bag over his arm", ["bag"]),
        ("a man near a coat on a hook", []),
        ("a man with a hat on his head", ["hat"]),
    ],
)
def test_clothes_over_an_arm_or_on_a_hook_are_not_worn(worn: Callable[[str], list[str]], caption: str, items: list[str]) -> None:
    assert worn(caption) == items


def test_the_background_is_not_the_subjects(worn: Callable[[str], list[str]]) -> None:
    assert worn("a man in a hat. The background shows a coat and boots.") == ["hat"]


def test_hair_that_reaches_the_waist_is_long(read: Callable[[str], Reading]) -> None:
    assert "long" in [word for word, _ in read("her hair falls past her shoulders").hair]
    assert "long" not in [word for word, _ in read("her hair falls over her ears").hair]
