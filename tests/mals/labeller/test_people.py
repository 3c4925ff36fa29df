"""Who is the subject, and what belongs to bystanders and non-persons."""

from collections.abc import Callable

import pytest

from mals.labeller.reading import Reading

Worn = Callable[[str], list[str]]


@pytest.mark.parametrize(
    ("caption", "items"),
    [
        ("a woman beside a man in a hat", []),
        ("a woman beside a man in a hat. She wears boots.", ["boot"]),
        ("a woman beside a man in a hat. He wears boots.", []),
        ("a woman walks with a man. The woman wears a coat.", ["coat"]),
        ("people walk past a man in a hat", ["hat"]),
        ("a group of women in coats", ["coat"]),
        ("a man and his mother in a coat", []),
        ("a woman next to another woman in a hat", []),
    ],
)
def test_clothes_belong_to_the_person_before_them(worn: Worn, caption: str, items: list[str]) -> None:
    assert worn(caption) == items


def test_animals_and_mannequins_own_what_they_directly_wear(worn: Worn) -> None:
    assert worn("a woman with a dog in a coat") == []
    assert worn("a man behind a mannequin in a suit, wearing a hat") == ["hat"]
    assert worn("a woman with a dog wearing jeans") == ["jeans"]  # which no dog wears


def test_pronouns_give_the_gender_where_no_noun_does(read: Callable[[str], Reading]) -> None:
    assert read("someone with her bag").pronoun_gender == "woman"
    assert read("a child with his mother").pronoun_gender == "man"
    assert read("a woman in his coat").pronouns == []
