import pytest

from mals.stages.captioning.slots import phrases, template


def test_the_phrases_of_a_caption_are_those_of_its_slots_with_articles():
    caption = (
        "The young woman with long black hair is wearing her red and white striped coat, dark blue jeans and a pair of white sneakers, "
        "a cap and glasses, carrying a brown handbag."
    )
    assert phrases(caption) == {
        "person": "a young woman",
        "hair": "long black hair",
        "upper": "a red and white striped coat",
        "lower": "dark blue jeans",
        "shoes": "white sneakers",
        "hat": "a cap",
        "accessories": "glasses",
        "carried": "a brown handbag",
        "clothes": "a red and white striped coat and dark blue jeans",
    }


def test_a_dress_is_clothes_and_stands_for_the_upper_half():
    assert phrases("a girl in a blue dress") == {"person": "a girl", "clothes": "a blue dress", "upper": "a blue dress"}


def test_what_a_caption_negates_or_does_not_say_is_in_no_phrase():
    assert phrases("a man without a hat") == {"person": "a man", "clothes": "clothes", "upper": ""}
    assert "hair" not in phrases("her hair is long and she wears a skirt")


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        (
            "A young woman with long black hair is wearing a red coat, blue jeans and white sneakers, carrying a brown handbag.",
            "{person} with {hair} is wearing {upper}, {lower} and {shoes}, carrying {carried}.",
        ),
        (
            "The man wears a black jacket over a grey t-shirt. He has short hair and holds a bag in his left hand.",
            "{person} wears {upper}. The person has {hair} and holds {carried} in their left hand.",
        ),
        ("Wearing a hat, this lady is dressed in a long skirt", "Wearing {hat}, {person} is dressed in {lower}."),
    ],
)
def test_a_caption_becomes_a_template_without_its_attributes_and_its_gender(caption, expected):
    assert template(caption) == expected


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a man",
        "a man with short hair",  # no clothes
        "A man without a hat in a red shirt.",
        "a girl in a blue dress walks on the street with a bag",
        "a man in a red shirt and jeans; the shirt is green",
        "a man in a [red] shirt and jeans",
        "A woman in a red coat and jeans with a child in her arms.",
        "zwei Frauen vor einem Haus",
    ],
)
def test_a_caption_that_keeps_facts_or_has_too_few_slots_gives_no_template(caption):
    assert template(caption) is None
