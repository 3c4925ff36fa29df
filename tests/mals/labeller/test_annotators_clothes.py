"""How real annotators name clothes and their colours, and the values that it says."""

from collections.abc import Callable

import pytest

Summary = Callable[[str], str]


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("a woman with short and black hair", "gender=woman age=adult hair_length=short upper:? lower:?"),
        ("a man with short, black hair", "gender=man age=adult hair_length=short upper:? lower:?"),
        ("a woman with long, dark brown hair", "gender=woman age=adult hair_length=long upper:? lower:?"),
        ("She has long, straight, dark hair.", "gender=woman hair_length=long upper:? lower:?"),
        ("a woman with short, curly, red hair", "gender=woman age=adult hair_length=short upper:? lower:?"),
        ("a woman with straight and long hair", "gender=woman age=adult hair_length=long upper:? lower:?"),
        ("he has short, neatly combed, black hair", "gender=man hair_length=short upper:? lower:?"),
        ("her long, black hair falls down her back", "gender=woman hair_length=long upper:? lower:?"),
        (
            "He has very short, dark hair and is wearing a white, short-sleeved, collared shirt",
            "gender=man hair_length=short sleeve_length=short upper:white lower:?",
        ),
        ("she has medium length, brown hair", "gender=woman upper:? lower:?"),
        ("Her hair, which is long and brown, is in a ponytail.", "gender=woman hair_length=long upper:? lower:?"),
        ("his/her hair is short and black. his/her shirt is yellow", "hair_length=short upper:yellow lower:?"),
        ("a man whose hair is shaved", "gender=man age=adult hair_length=short upper:? lower:?"),
        ("whose hair is dyed pink and cut short is dressed in white", "hair_length=short upper:white lower:white"),
        ("her blond hair braided tightly", "gender=woman hair_length=long upper:? lower:?"),
        ("her hair up in a bun", "gender=woman hair_length=long upper:? lower:?"),
        ("hair tied low behind her head in a ponytail", "gender=woman hair_length=long upper:? lower:?"),
    ],
)
def test_adjectives_joined_by_and_or_commas_describe_hair(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("a man in a white, floral shirt", "gender=man age=adult upper:white lower:?"),
        ("gray, print knee length pants", "lower_length=long lower_type=pants upper:? lower:gray"),
        ("a woman in a blue and gray, striped top", "gender=woman age=adult upper:blue+gray lower:?"),
        ("a grey and white, horizontally striped sweater", "sleeve_length=long upper:white+gray lower:?"),
        ("a red and black plaid, long sleeve shirt", "sleeve_length=long upper:black+red lower:?"),
        ("a navy-blue, v-neck sweater over a white, collared shirt", "sleeve_length=long upper:white+blue lower:?"),
        ("a white, button-down shirt with long sleeves", "sleeve_length=long upper:white lower:?"),
        ("a loose-fitting, black, short sleeve shirt", "sleeve_length=short upper:black lower:?"),
        ("a black, leather, knee-length coat", "sleeve_length=long upper:black lower:?"),
        ("wearing tight, black pants and a white, lacy blouse", "lower_length=long lower_type=pants upper:white lower:black"),
        (
            "She wears a very short, tight, red dress and black heels",
            "gender=woman lower_length=short lower_type=skirt upper:red lower:other",
        ),
        ("a man in a white/light shirt", "gender=man age=adult upper:white lower:?"),
        (
            "a white/black jacket and grey/blue pants",
            "sleeve_length=long lower_length=long lower_type=pants upper:black+white lower:blue+gray",
        ),
        ("red/white striped shirt w/ blue jeans", "lower_length=long lower_type=pants upper:white+red lower:blue"),
        ("a man in a black and striped shirt and jeans", "gender=man age=adult lower_length=long lower_type=pants upper:black lower:blue"),
        (
            "a light pink sun-protective jacket and a wedding-style long gown",
            "sleeve_length=long lower_length=long lower_type=skirt upper:other lower:?",
        ),
    ],
)
def test_adjectives_joined_by_and_or_commas_describe_clothes(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("in black, white shoes and a hat", "hat upper:black lower:black"),
        (
            "a black shirt, blue jeans, white shoes, and carrying a black bag",
            "bag lower_length=long lower_type=pants upper:black lower:blue",
        ),
        ("wearing black, red and white shoes", "upper:? lower:?"),
        ("a shirt, white with black stripes, and black shorts", "lower_length=short lower_type=pants upper:black+white lower:black"),
        (
            "a man in a cap and a vest, both gray, and jeans",
            "gender=man age=adult hat lower_length=long lower_type=pants upper:gray lower:blue",
        ),
        ("a woman in all black, striped socks", "gender=woman age=adult upper:black lower:black"),
    ],
)
def test_a_comma_between_garments_separates_them(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("a man in a black pair of trousers", "gender=man age=adult lower_length=long lower_type=pants upper:? lower:black"),
        ("a dark gray pair of shorts", "lower_length=short lower_type=pants upper:? lower:gray"),
        ("wearing a blue and white pair of shoes and a black pair of jeans", "lower_length=long lower_type=pants upper:? lower:black"),
        ("a matching pair of brown pants", "lower_length=long lower_type=pants upper:? lower:brown"),
        ("a black style of dress", "lower_type=skirt upper:black lower:black"),
    ],
)
def test_a_pair_of_stands_between_the_colour_and_the_noun(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        (
            "a woman wearing a red long sleeve and jeans",
            "gender=woman age=adult sleeve_length=long lower_length=long lower_type=pants upper:red lower:blue",
        ),
        (
            "a man in black long sleeve, gray long pants",
            "gender=man age=adult sleeve_length=long lower_length=long lower_type=pants upper:black lower:gray",
        ),
        ("a red short-sleeve with a white skirt", "sleeve_length=short lower_type=skirt upper:red lower:white"),
        (
            "he has a gray long-sleeved on and brown trousers",
            "gender=man sleeve_length=long lower_length=long lower_type=pants upper:gray lower:brown",
        ),
        (
            "a man with black long sleeves and gray pants",
            "gender=man age=adult sleeve_length=long lower_length=long lower_type=pants upper:black lower:gray",
        ),
        ("wearing a black hooded and blue jeans", "lower_length=long lower_type=pants upper:black lower:blue"),
        ("a blue shirt, short sleeved, and black pants", "sleeve_length=short lower_length=long lower_type=pants upper:blue lower:black"),
        ("a black dress with long sleeve", "sleeve_length=long lower_type=skirt upper:black lower:black"),
        ("She wears a yellow crop and white denim shorts", "gender=woman lower_length=short lower_type=pants upper:yellow lower:white"),
        (
            "a cropped black long sleeve, faded jeans and a white cap",
            "hat sleeve_length=long lower_length=long lower_type=pants upper:black lower:blue",
        ),
        (
            "a black spaghetti strap and short denim shorts",
            "sleeve_length=short lower_length=short lower_type=pants upper:black lower:blue",
        ),
        (
            "a woman in a blue floral and a pair of white shorts",
            "gender=woman age=adult lower_length=short lower_type=pants upper:blue lower:white",
        ),
        ("white upper and black lower", "upper:white lower:black"),
        ("wearing a light grey over a white shirt", "upper:white+gray lower:?"),
        ("a man wearing black on top and white on the bottom", "gender=man age=adult upper:black lower:white"),
    ],
)
def test_a_garment_without_its_noun_is_of_the_upper_body(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("Wearing black shirt, blue jean and white shoes", "lower_length=long lower_type=pants upper:black lower:blue"),
        (
            "She wears a sleeveless black and white top with blue short and black slippers",
            "gender=woman sleeve_length=short lower_length=short lower_type=pants upper:black+white lower:blue",
        ),
        (
            "short-sleeved white shirt and knee length denim short",
            "sleeve_length=short lower_length=short lower_type=pants upper:white lower:blue",
        ),
        ("a woman with black short, curly hair", "gender=woman age=adult hair_length=short upper:? lower:?"),
        ("his hair is black and short", "gender=man hair_length=short upper:? lower:?"),
        ("a short, black dress", "lower_length=short lower_type=skirt upper:black lower:black"),
    ],
)
def test_short_without_a_noun_is_a_pair_of_shorts_where_a_garment_stands(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("a woman wearing a black top with spaghetti straps", "gender=woman age=adult sleeve_length=short upper:black lower:?"),
        ("a woman in tank straps", "gender=woman age=adult sleeve_length=short upper:? lower:?"),
        ("a pink spaghetti-strap top", "sleeve_length=short upper:other lower:?"),
        (
            "a man in a gray wife beater shirt, a pair of brown pants",
            "gender=man age=adult sleeve_length=short lower_length=long lower_type=pants upper:gray lower:brown",
        ),
    ],
)
def test_straps_without_sleeves(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("jeans of a light grey colour", "lower_length=long lower_type=pants upper:? lower:gray"),
        (
            "She is wearing a t-shirt that is white in color and jeans that are blue in colour.",
            "gender=woman sleeve_length=short lower_length=long lower_type=pants upper:white lower:blue",
        ),
        ("a shirt of a dark blue colour and trousers in black colour", "lower_length=long lower_type=pants upper:blue lower:black"),
        (
            "He is wearing a shirt in white, pants in black, and shoes in brown",
            "gender=man lower_length=long lower_type=pants upper:white lower:black",
        ),
        ("a woman in a blouse in red and a skirt in white", "gender=woman age=adult lower_type=skirt upper:red lower:white"),
        ("a tee shirt in navy and grey track pants", "sleeve_length=short lower_length=long lower_type=pants upper:blue lower:gray"),
        ("Her shoes are red, shirt black and skirt white", "gender=woman lower_type=skirt upper:black lower:white"),
        (
            "Hair color is black and shirt color is white and pant color is blue",
            "lower_length=long lower_type=pants upper:white lower:blue",
        ),
        (
            "The color of his shirt is green, and the color of his trousers is black.",
            "gender=man lower_length=long lower_type=pants upper:green lower:black",
        ),
        (
            "white coloured half sleeve shirt and black coloured full pant",
            "sleeve_length=short lower_length=long lower_type=pants upper:white lower:black",
        ),
        ("a shirt that's black and white", "upper:black+white lower:?"),
        ("a shirt with a white colour", "upper:white lower:?"),
        ("the woman's pants have a brown hue", "gender=woman age=adult lower_length=long lower_type=pants upper:? lower:brown"),
        (
            "The gentleman's jumper is burgundy in colour, his cords a dark green.",
            "gender=man age=adult sleeve_length=long lower_length=long lower_type=pants upper:red lower:green",
        ),
        ("her coat is checked in black and grey", "gender=woman sleeve_length=long upper:black+gray lower:?"),
        (
            "The skirt she is wearing is red, and her blouse is black with a white collar.",
            "gender=woman lower_type=skirt upper:black lower:other",
        ),
        ("The top the man wears is black and grey", "gender=man age=adult upper:black+gray lower:?"),
        (
            "The pants of the man are black and his shirt is purple",
            "gender=man age=adult lower_length=long lower_type=pants upper:purple lower:black",
        ),
        ("a checked shirt in red and black, stone washed jeans", "lower_length=long lower_type=pants upper:black+red lower:blue"),
        (
            "the girl's t-shirt is white and green and so are her shorts",
            "gender=woman age=child sleeve_length=short lower_length=short lower_type=pants upper:white+green lower:white+green",
        ),
        ("a black turtleneck and a matching pair of slacks", "lower_length=long lower_type=pants upper:black lower:black"),
        ("a blouse in the same pink, loose white trousers", "lower_length=long lower_type=pants upper:other lower:white"),
        (
            "A boy wearing a t-shirt. It is green with a yellow number on the front.",
            "gender=man age=child sleeve_length=short upper:green lower:?",
        ),
        ("He wears pants. They are blue. It is sunny.", "gender=man lower_length=long lower_type=pants upper:? lower:blue"),
    ],
)
def test_colours_stand_behind_the_noun(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("a shirt that has black horizontal lines on white", "upper:black+white lower:?"),
        ("a shirt with white letters on it", "upper:? lower:?"),
        (
            "a man wearing a black t-shirt with white writing on the front and tan shorts",
            "gender=man age=adult sleeve_length=short lower_length=short lower_type=pants upper:black lower:brown",
        ),
        (
            "A man in a shirt with the number 23 in white and blue shorts",
            "gender=man age=adult lower_length=short lower_type=pants upper:? lower:blue",
        ),
        ("a black shirt with a white logo and the words just do it in red", "upper:black lower:?"),
        (
            "the lady wears a dress which is black with white polka dots",
            "gender=woman age=adult lower_type=skirt upper:black+white lower:black+white",
        ),
        ("football shirt (red/white stripes), blue shorts", "lower_length=short lower_type=pants upper:white+red lower:blue"),
        ("a yellow t-shirt with a black pattern printed in the middle", "sleeve_length=short upper:yellow lower:?"),
    ],
)
def test_stripes_colour_a_garment_and_letters_do_not(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        (
            "a woman in black capri and black and pink trainers",
            "gender=woman age=adult lower_length=long lower_type=pants upper:? lower:black",
        ),
        ("wearing white shoes and a shirt", "upper:? lower:?"),
        ("His shoes are white and his shirt is black", "gender=man upper:black lower:?"),
        ("black sneakers with white soles and jeans", "lower_length=long lower_type=pants upper:? lower:blue"),
        ("a woman with a red hat on, a purple bag and a skirt", "gender=woman age=adult hat bag lower_type=skirt upper:? lower:?"),
        ("The shoes are black. The pants are brown. The shirt is green.", "lower_length=long lower_type=pants upper:green lower:brown"),
        ("matching gray sweatpants and black and white high tops", "lower_length=long lower_type=pants upper:? lower:gray"),
        ("a skirt that is black and red shoes", "lower_type=skirt upper:? lower:black"),
        ("a man with brown boots and pants", "gender=man age=adult lower_length=long lower_type=pants upper:? lower:?"),
        ("a man with a black bag and shirt", "gender=man age=adult bag upper:? lower:?"),
        ("black shoes, shirt and pants", "lower_length=long lower_type=pants upper:? lower:?"),
        ("a red hat and coat", "hat sleeve_length=long upper:red lower:?"),
    ],
)
def test_shoes_bags_and_hats_do_not_colour_clothes(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values
