"""The English of real annotators: each kind of sentence with the values that it says, and no others."""

from collections.abc import Callable

import pytest

Summary = Callable[[str], str]


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("young adult male", "gender=man age=adult upper:? lower:?"),
        ("a young adult female in a red coat", "gender=woman age=adult sleeve_length=long upper:red lower:?"),
        (
            "A young adult Asian male wearing black trousers and a blue shirt.",
            "gender=man age=adult lower_length=long lower_type=pants upper:blue lower:black",
        ),
        ("A young adult Nepalese woman with a long skirt", "gender=woman age=adult lower_length=long lower_type=skirt upper:? lower:?"),
        ("An adult Asian man", "gender=man age=adult upper:? lower:?"),
        ("an adult white male with a beard in a black coat", "gender=man age=adult sleeve_length=long upper:black lower:?"),
        ("A male adult with short hair", "gender=man age=adult hair_length=short upper:? lower:?"),
        ("A teen aged boy", "gender=man age=child upper:? lower:?"),
        ("a female child in yellow", "gender=woman age=child upper:yellow lower:yellow"),
        ("a school aged child in a blue uniform", "age=child upper:blue lower:?"),
        ("a college-aged man wearing a gray hoodie", "gender=man age=adult sleeve_length=long upper:gray lower:?"),
        (
            "The subject is a young adult Caucasian male with short brown hair. The subject wears a grey polo and khaki shorts.",
            "gender=man age=adult hair_length=short sleeve_length=short lower_length=short lower_type=pants upper:gray lower:brown",
        ),
        ("young adult, female, long hair, red blouse", "gender=woman age=adult hair_length=long upper:red lower:?"),
    ],
)
def test_adults_and_children_with_an_adjective_between_two_nouns(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("The subject rides a bicycle. He or she wears a white shirt", "upper:white lower:?"),
        ("He/she has a backpack and his or her pants are gray", "backpack lower_length=long lower_type=pants upper:? lower:gray"),
        ("S/he wears a cap", "hat upper:? lower:?"),
        ("The person walks. She or he carries a purse.", "handbag upper:? lower:?"),
    ],
)
def test_he_or_she_is_the_subject_without_a_gender(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        (
            "The man in the white shirt and black pants is holding something in his hands.",
            "gender=man age=adult lower_length=long lower_type=pants upper:white lower:black",
        ),
        (
            "A woman in a red jacket and blue jeans is carrying a cup in her hand",
            "gender=woman age=adult sleeve_length=long lower_length=long lower_type=pants upper:red lower:blue",
        ),
        ("The girl in the yellow dress holds her phone in both hands", "gender=woman age=child lower_type=skirt upper:yellow lower:yellow"),
        ("a man with a jacket carried in his hand", "gender=man age=adult upper:? lower:?"),
        ("a man with a coat slung over his arm", "gender=man age=adult upper:? lower:?"),
    ],
)
def test_what_the_hands_hold_does_not_take_the_clothes_away(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("carrying a black backpack and dark jeans", "backpack lower_length=long lower_type=pants upper:? lower:blue"),
        (
            "a woman carrying a white handbag, black skirt, and pink blouse",
            "gender=woman age=adult handbag lower_type=skirt upper:other lower:black",
        ),
        ("holding a cup of coffee, white shirt, gray pants", "lower_length=long lower_type=pants upper:white lower:gray"),
        ("carrying a bag and a jacket", "bag upper:? lower:?"),
        ("carrying a suitcase, backpack and wearing shorts", "backpack lower_length=short lower_type=pants upper:? lower:?"),
        ("holding a bag and coat", "bag upper:? lower:?"),
    ],
)
def test_a_list_of_what_is_carried_can_end_with_what_is_worn(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("a man with a hat hanging on its strap", "gender=man age=adult upper:? lower:?"),
        (
            "a woman with a straw hat hanging down her back and a white dress",
            "gender=woman age=adult lower_type=skirt upper:white lower:white",
        ),
        ("a cap clipped to his backpack", "gender=man backpack upper:? lower:?"),
        ("a girl with a cap on her head", "gender=woman age=child hat upper:? lower:?"),
        ("a man with his helmet on his arm", "gender=man age=adult upper:? lower:?"),
        ("a bag hanging on its strap", "bag upper:? lower:?"),
    ],
)
def test_a_hat_that_hangs_is_not_on_the_head(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        (
            "Male wearing a black shirt. Male is carrying a bag. Male has long dark hair.",
            "gender=man hair_length=long bag upper:black lower:?",
        ),
        ("A woman walks. Woman wears a coat.", "gender=woman age=adult sleeve_length=long upper:? lower:?"),
        ("Man in a red shirt. Man next to another man in a hat.", "gender=man age=adult upper:red lower:?"),
        ("Female. Long brown hair. Blue dress.", "gender=woman hair_length=long lower_type=skirt upper:blue lower:blue"),
    ],
)
def test_the_bare_noun_again_is_the_same_person(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        (
            "A woman is holding a baby, and is also wearing a dark top and black pants",
            "gender=woman age=adult lower_length=long lower_type=pants upper:? lower:black",
        ),
        (
            "A woman holding a child, who is wearing a red dress, is dressed in black pants and white top",
            "gender=woman age=adult lower_length=long lower_type=pants upper:white lower:black",
        ),
        ("a woman is carrying a baby and wearing a blue top", "gender=woman age=adult upper:blue lower:?"),
    ],
)
def test_the_subject_comes_back_after_a_child(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("A woman in a jumpsuit. The suit is black.", "gender=woman age=adult upper:black lower:black"),
        ("A man carries a backpack. The bag is black.", "gender=man age=adult backpack upper:? lower:?"),
        ("a woman in a swimsuit; the suit is red", "gender=woman age=adult upper:red lower:other"),
        ("a man in a suit. The suit is gray.", "gender=man age=adult sleeve_length=long upper:gray lower:gray"),
    ],
)
def test_the_general_word_takes_up_the_garment_before_it(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values
