"""Lists without verbs, typing errors and slips of real annotators, and the values that they say."""

from collections.abc import Callable

import pytest

Summary = Callable[[str], str]


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        (
            "Man with short, dark hair, white t-shirt, black shorts, carrying black bag, white shoes.",
            "gender=man age=adult hair_length=short bag sleeve_length=short lower_length=short lower_type=pants upper:white lower:black",
        ),
        ("Boy, blue shirt, black pant, school bag.", "gender=man age=child bag lower_length=long lower_type=pants upper:blue lower:black"),
        ("White shirt black pants black shoes.", "lower_length=long lower_type=pants upper:white lower:black"),
        (
            "Woman facing the camera. Hair long and black. Top red. Pants blue.",
            "gender=woman age=adult hair_length=long lower_length=long lower_type=pants upper:red lower:blue",
        ),
        (
            "gender: male, hair: short, top: red t-shirt, bottom: black pants",
            "gender=man hair_length=short sleeve_length=short lower_length=long lower_type=pants upper:red lower:black",
        ),
        (
            "Hair: black, short. Shirt: white. Pants: navy blue. Shoes: black. No bag.",
            "hair_length=short no-bag lower_length=long lower_type=pants upper:white lower:blue",
        ),
        ("Older man - flat cap, brown coat, walking stick", "gender=man age=adult hat sleeve_length=long upper:other lower:?"),
        (
            "teen boy, black hoodie hood up, grey joggers",
            "gender=man age=child hat sleeve_length=long lower_length=long lower_type=pants upper:black lower:gray",
        ),
        (
            "Upper: black puffer jacket; lower: dark blue jeans; bag: none",
            "no-bag sleeve_length=long lower_length=long lower_type=pants upper:black lower:blue",
        ),
        ("man black jacket jeans", "gender=man age=adult sleeve_length=long lower_length=long lower_type=pants upper:black lower:blue"),
        ("man white t-shirt shorts", "gender=man age=adult sleeve_length=short lower_length=short lower_type=pants upper:white lower:?"),
        ("a jean jacket and flannel pants", "sleeve_length=long lower_length=long lower_type=pants upper:blue lower:?"),
        ("white top, black bottom, red shoes", "upper:white lower:black"),
        ("short hair,white shirt,blue jeans,black bag", "hair_length=short bag lower_length=long lower_type=pants upper:white lower:blue"),
    ],
)
def test_lists_without_verbs_and_with_labels(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("She has a black top on and her pants are grey.", "gender=woman lower_length=long lower_type=pants upper:black lower:gray"),
        ("She is wearing a black top and her pants are grey.", "gender=woman lower_length=long lower_type=pants upper:black lower:gray"),
        ("his shirt and pants are black", "gender=man lower_length=long lower_type=pants upper:black lower:black"),
    ],
)
def test_topics_of_joined_clauses_are_their_own(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        (
            "a womna in a blakc jaket and blu jeens",
            "gender=woman age=adult sleeve_length=long lower_length=long lower_type=pants upper:black lower:blue",
        ),
        (
            "a man wearng a whit tshit and grey trowsers",
            "gender=man age=adult sleeve_length=short lower_length=long lower_type=pants upper:white lower:gray",
        ),
        (
            "a man in t'shirt and darkblue pants with tanktop",
            "gender=man age=adult sleeve_length=short lower_length=long lower_type=pants upper:? lower:blue",
        ),
        (
            "a lady wth long blond hiar and a purpel drss",
            "gender=woman age=adult hair_length=long lower_type=skirt upper:purple lower:purple",
        ),
        ("a man wiht blackpants and a ablack shirt", "gender=man age=adult lower_length=long lower_type=pants upper:black lower:black"),
        ("The mans shirt is red. shes wearing a hat", "gender=man age=adult upper:red lower:?"),
        ("a woman in a greyish top and blueish skirt", "gender=woman age=adult lower_type=skirt upper:gray lower:blue"),
        ("a woman carying a handbg and a backpak", "gender=woman age=adult backpack handbag upper:? lower:?"),
        ("a woman in a pink over shirt", "gender=woman age=adult upper:other lower:?"),
        ("a woman in a blueish dress", "gender=woman age=adult lower_type=skirt upper:blue lower:blue"),
        ("the girl has her hair in a pony tial", "gender=woman age=child hair_length=long upper:? lower:?"),
        ("maroon leggins and a long gray tunnic", "lower_length=long lower_type=pants upper:gray lower:other"),
        ("she is weared a blue skirt", "gender=woman lower_type=skirt upper:? lower:blue"),
        (
            "a yung man with spikey hair weers a grean hoody and bleu jeans",
            "gender=man age=adult sleeve_length=long lower_length=long lower_type=pants upper:green lower:blue",
        ),
        ("wearing ablue shirt", "upper:blue lower:?"),
    ],
)
def test_typing_errors_of_words_that_mean_nothing_are_mended(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("a white shirt with a lack stripe", "upper:black+white lower:?"),
        ("her shorts or white", "gender=woman lower_length=short lower_type=pants upper:? lower:white"),
        ("her shirt is red and her shorts or white.", "gender=woman lower_length=short lower_type=pants upper:red lower:white"),
        ("his shirt it white, his pants ar black", "gender=man lower_length=long lower_type=pants upper:white lower:black"),
        (
            "a man wearing a back shirt and back pants with a back pocket",
            "gender=man age=adult lower_length=long lower_type=pants upper:black lower:black",
        ),
        ("a woman in a while blouse and blue plants", "gender=woman age=adult lower_length=long lower_type=pants upper:white lower:blue"),
        ("a man wearing a white skit", "gender=man age=adult lower_type=skirt upper:? lower:white"),
        ("a man wearing a black cost and brow shoes", "gender=man age=adult sleeve_length=long upper:black lower:?"),
        ("a women in a black an white dress", "gender=woman age=adult lower_type=skirt upper:black+white lower:black+white"),
        ("a pair of whites jeans", "lower_length=long lower_type=pants upper:? lower:white"),
        ("man in grey suite", "gender=man age=adult sleeve_length=long upper:gray lower:gray"),
        ("a boy in a read shirt", "gender=man age=child upper:red lower:?"),
        ("blue shirt, blacks pants", "lower_length=long lower_type=pants upper:blue lower:black"),
    ],
)
def test_words_that_make_no_sense_where_they_stand_are_mended(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("a woman in a mink coat and a blank shirt", "gender=woman age=adult sleeve_length=long upper:? lower:?"),
        ("a person in yellow shrts", "upper:? lower:?"),
        ("a woman in a red boat", "gender=woman age=adult upper:? lower:?"),
        ("a man with white on the back, pants", "gender=man age=adult lower_length=long lower_type=pants upper:? lower:?"),
        ("a man looks at his phone while jeans are sold", "gender=man age=adult lower_length=long lower_type=pants upper:? lower:blue"),
        ("Greek woman with a link bracelet in a glee club shirt", "gender=woman age=adult upper:? lower:?"),
        ("her shorts or white pants", "gender=woman lower_length=long lower_type=pants upper:? lower:white"),
        ("a dressy black top", "upper:black lower:?"),
        ("a man in a large suite", "gender=man age=adult upper:? lower:?"),
    ],
)
def test_real_words_are_no_typing_errors(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values
