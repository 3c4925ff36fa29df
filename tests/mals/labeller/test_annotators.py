"""The English of real annotators: each kind of sentence with the values that it says, and no others."""

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
            "lower_length=long lower_type=pants upper:green lower:black",
        ),
        (
            "white coloured half sleeve shirt and black coloured full pant",
            "sleeve_length=short lower_length=long lower_type=pants upper:white lower:black",
        ),
        ("a shirt that's black and white", "upper:black+white lower:?"),
        ("a shirt with a white colour", "upper:white lower:?"),
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
    ],
)
def test_shoes_bags_and_hats_do_not_colour_clothes(summary: Summary, caption: str, values: str) -> None:
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
    ],
)
def test_real_words_are_no_typing_errors(summary: Summary, caption: str, values: str) -> None:
    assert summary(caption) == values
