"""Forms, nouns left out, contractions and company in the English of real annotators, and the values that they say."""

from collections.abc import Callable

import pytest

Summary = Callable[[str], str]


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("top = hoodie; bag = rucksack", "backpack sleeve_length=long upper:? lower:?"),
        ("Shoes: sandals; Bag: purse; Bottom: black leggings", "handbag lower_length=long lower_type=pants upper:? lower:black"),
        ("Man: hat=no; bag=yes; shirt=white", "gender=man age=adult no-hat bag upper:white lower:?"),
        ("a girl with braids: a red coat", "gender=woman age=child hair_length=long sleeve_length=long upper:red lower:?"),
        ("She wears a brown leather outfit: a coat and boots", "gender=woman sleeve_length=long upper:other lower:brown"),
        ("Upper: red hoodie. Lower: blue.", "sleeve_length=long upper:red lower:blue"),
        ("His lower is green and his upper is white.", "gender=man upper:white lower:green"),
        ("The girl's lower is a light blue.", "gender=woman age=child upper:? lower:blue"),
        ("standing on the lower step in a red coat", "sleeve_length=long upper:red lower:?"),
        ("Blouse: yellow. Sex: F (female)", "gender=woman upper:yellow lower:?"),
        ("Sex: M. Hair: short. Upper: black", "gender=man hair_length=short upper:black lower:?"),
        ("hair: long; upper: red; gender = f", "gender=woman hair_length=long upper:red lower:?"),
        ("Gender: M/F, top: white", "upper:white lower:?"),  # that is not filled in
        ("the man wears a T-shirt size M", "gender=man age=adult sleeve_length=short upper:? lower:?"),
        ("upper black, lower dark blue", "upper:black lower:blue"),
        ("gender f, lower black and white, upper red", "gender=woman upper:red lower:black+white"),
        ("a man with short hair, upper black and lower blue", "gender=man age=adult hair_length=short upper:black lower:blue"),
        ("upper black and white shirt", "upper:black+white lower:?"),
        ("He stands on the upper, black step", "gender=man upper:? lower:?"),
        ("a man, tight black, curly hair", "gender=man age=adult upper:? lower:?"),
    ],
)
def test_the_field_names_of_a_form_are_the_garments_they_name(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        (
            "boy in a sleeveless, green in color, and shorts in red",
            "gender=man age=child sleeve_length=short lower_length=short lower_type=pants upper:green lower:other",
        ),
        (
            "a man wearing a polo, in grey, and black jeans",
            "gender=man age=adult sleeve_length=short lower_length=long lower_type=pants upper:gray lower:black",
        ),
        ("long sleeve in green, trousers in light brown", "sleeve_length=long lower_length=long lower_type=pants upper:green lower:brown"),
        ("a woman in a sleeveless of white", "gender=woman age=adult sleeve_length=short upper:white lower:?"),
        ("A boy whose short sleeve is green", "gender=man age=child sleeve_length=short upper:green lower:?"),
        (
            "shorts that have a green tint and a top that has a purple colour",
            "lower_length=short lower_type=pants upper:purple lower:green",
        ),
        ("a top that's purple and a skirt that's white", "lower_type=skirt upper:purple lower:white"),
        ("wearing a cardigan on, black, and a cap on, gray", "hat sleeve_length=long upper:black lower:?"),
        (
            "His jacket is black, as are his jeans.",
            "gender=man sleeve_length=long lower_length=long lower_type=pants upper:black lower:black",
        ),
        ("his shirt is a blue and white check", "gender=man upper:white+blue lower:?"),
        ("a man in black, in his forties", "gender=man age=adult upper:black lower:black"),
        ("A girl with a backpack, in pink, walks", "gender=woman age=child backpack upper:? lower:?"),
    ],
)
def test_colours_belong_to_the_garment_before_them(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("A man in a grey hoodie is chatting with the man in a red jacket.", "gender=man age=adult sleeve_length=long upper:gray lower:?"),
        (
            "A woman in white trousers listens to the woman in a green blouse",
            "gender=woman age=adult lower_length=long lower_type=pants upper:? lower:white",
        ),
        ("The man with the woman in a green dress wears a gray suit", "gender=man age=adult sleeve_length=long upper:gray lower:gray"),
        (
            "A girl is walking with the girl in a yellow dress. She wears a blue coat.",
            "gender=woman age=child sleeve_length=long upper:blue lower:?",
        ),
    ],
)
def test_the_clothes_of_company_of_the_same_name_are_not_the_subjects(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("The lady's in a purple dress", "gender=woman age=adult lower_type=skirt upper:purple lower:purple"),
        ("The boy's got a red cap", "gender=man age=child hat upper:? lower:?"),
        ("the woman's walking stick is brown and her coat is red", "gender=woman age=adult sleeve_length=long upper:red lower:?"),
        ("The coat worn by the gentleman is gray", "gender=man age=adult sleeve_length=long upper:gray lower:?"),
        ("She's a tall woman", "gender=woman age=adult upper:? lower:?"),
        ("He has short hair. He looks like an elderly man.", "gender=man age=adult hair_length=short upper:? lower:?"),
        ("A smartly dressed man in a gray suit", "gender=man age=adult sleeve_length=long upper:gray lower:gray"),
        ("A blue coat. A middle-aged lady.", "gender=woman age=adult sleeve_length=long upper:blue lower:?"),
        ("Her skirt is yellow. The lady's blouse is white.", "gender=woman age=adult lower_type=skirt upper:white lower:yellow"),
        ("Bald. Glasses. Blue shirt.", "hair_length=short upper:blue lower:?"),
        ("Red skirt. A man is behind her.", "gender=woman lower_type=skirt upper:? lower:other"),
    ],
)
def test_a_person_is_named_by_contractions_and_later_sentences(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        (
            "a man in a coat and what appears to be dark blue trousers",
            "gender=man age=adult sleeve_length=long lower_length=long lower_type=pants upper:? lower:blue",
        ),
        ("a cap, so the face cannot be seen, and a grey skirt", "hat lower_type=skirt upper:? lower:gray"),
        ("His long hair can be seen", "gender=man hair_length=long upper:? lower:?"),
        ("a woman with thinning, short hair", "gender=woman age=adult hair_length=short upper:? lower:?"),
        ("a lady with hair down to the middle of her back", "gender=woman age=adult hair_length=long upper:? lower:?"),
        ("a coat too large for her, black jeans", "gender=woman sleeve_length=long lower_length=long lower_type=pants upper:? lower:black"),
        ("A man in a trench coat tied at the waist", "gender=man age=adult sleeve_length=long upper:? lower:?"),
        ("a man with a jacket tied around his waist", "gender=man age=adult upper:? lower:?"),
        ("a lady in an ankle-length green sari", "gender=woman age=adult lower_length=long lower_type=skirt upper:green lower:green"),
    ],
)
def test_what_is_seen_tied_or_too_large_is_still_worn(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values
