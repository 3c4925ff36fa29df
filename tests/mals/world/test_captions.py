"""Captions of the world's people are true, and the labeller reads in them the labels that they come with."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mals.labeller.labeller import Labeller
from mals.world.captions import MAX_WORDS, STYLES, Caption, write_caption
from mals.world.person import Garment, Person, create_person

PLACES = (None, "street", "park", "plaza", "shop", "station", "room", "old office")
WALKING = (None, True, False)
PEOPLE = [create_person(0, number) for number in range(400)]
ITEMS = {
    "hat": ("cap", "beanie", "hat"),
    "backpack": ("backpack", "rucksack"),
    "handbag": ("handbag", "purse"),
    "bag": ("bag",),
}


def captions(style: str | None = None, complete: bool = False) -> list[Caption]:
    """A caption of each of PEOPLE, with all combinations of place and gait."""
    rng = np.random.default_rng(5)
    settings = itertools.cycle(itertools.product(WALKING, PLACES))
    return [write_caption(person, rng, style, complete, place, walking) for person, (walking, place) in zip(PEOPLE, settings, strict=False)]


def laden() -> Person:
    """A person about whom a caption has as much to say as possible."""

    def striped(kind: str) -> Garment:
        return Garment(kind, "black", (28, 28, 32), "striped", "white", (238, 238, 234))

    person = create_person(0, 0, hat="blue", backpack="blue", handbag="blue", bag="blue")
    upper, lower = striped("long-sleeved shirt"), striped("short skirt")
    return replace(person, gender="man", age="adult", beard=True, upper=upper, lower=lower, sleeves="long")


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("style", STYLES)
def test_the_labeller_reads_the_labels_of_every_caption(style: str, complete: bool) -> None:
    written = captions(style, complete)
    labels = Labeller().label([caption.text for caption in written]).values.tolist()
    read = [(caption.text, row) for caption, row in zip(written, labels, strict=True)]
    assert [(caption.text, caption.labels) for caption in written] == read


@pytest.mark.parametrize("style", STYLES)
def test_a_complete_caption_mentions_every_attribute(style: str) -> None:
    assert [caption.labels for caption in captions(style, complete=True)] == [person.attributes() for person in PEOPLE]


def test_captions_are_true_and_most_omit_an_attribute() -> None:
    written = captions()
    for caption, person in zip(written, PEOPLE, strict=True):
        assert all(label in (-1, value) for label, value in zip(caption.labels, person.attributes(), strict=True))
    assert 0.4 < np.mean([-1 in caption.labels for caption in written]) < 0.9
    assert np.mean([label >= 0 for caption in written for label in caption.labels]) > 0.85


def test_the_same_random_numbers_give_the_same_text_and_others_another() -> None:
    assert captions() == captions()
    rng = np.random.default_rng(0)
    assert len({write_caption(PEOPLE[0], rng).text for _ in range(100)}) > 60


def test_every_style_occurs_and_a_caption_names_its_style() -> None:
    counts = Counter(caption.style for caption in captions())
    assert set(counts) == set(STYLES) and min(counts.values()) > 50
    assert all(caption.style == style for style in STYLES for caption in captions(style))


@pytest.mark.parametrize("style", STYLES)
def test_captions_mention_exactly_the_hats_and_bags_that_there_are(style: str) -> None:
    for caption, person in zip(captions(style), PEOPLE, strict=True):
        words = caption.text.lower().replace(",", "").replace(".", "").split()
        for name, nouns in ITEMS.items():
            assert any(noun in words for noun in nouns) == (getattr(person, name) is not None), caption.text


@pytest.mark.parametrize("style", STYLES)
def test_captions_are_short_and_clean_even_if_there_is_much_to_say(style: str) -> None:
    rng = np.random.default_rng(1)
    written = captions(style) + [write_caption(laden(), rng, style, complete=True, place="street", walking=True) for _ in range(200)]
    for caption in written:
        assert caption.text.isascii() and "  " not in caption.text and caption.text == caption.text.strip()
        assert len(caption.text.split()) <= MAX_WORDS
        assert (caption.text != caption.text.lower()) == (style in ("annotator", "long"))
    assert all(caption.labels == laden().attributes() for caption in written[len(PEOPLE) :])


def test_captions_mention_place_and_gait_if_they_are_given() -> None:
    rng = np.random.default_rng(2)
    plain = replace(PEOPLE[0], hat=None, backpack=None, handbag=None, bag=None)
    for style in STYLES:
        text = write_caption(plain, rng, style, place="park", walking=True).text
        assert "walking" in text and "park" in text
        text = write_caption(plain, rng, style, walking=False).text
        assert "standing" in text or "waiting" in text
        text = write_caption(plain, rng, style).text
        assert "walking" not in text and "standing" not in text


def test_colours_without_an_attribute_deny_all_others() -> None:
    rng = np.random.default_rng(3)
    person = create_person(0, 1, upper="t-shirt", upper_color="pink", lower="shorts", lower_color="orange")
    assert all(write_caption(person, rng, complete=True).labels[10:27] == [1] * 17 for _ in range(50))


def test_jeans_are_blue_whether_the_caption_says_so_or_not() -> None:
    rng = np.random.default_rng(4)
    written = [write_caption(create_person(0, 1, upper="t-shirt", lower="jeans"), rng) for _ in range(300)]
    colorless = [caption for caption in written if "blue" not in caption.text and "navy" not in caption.text and caption.labels[9] >= 0]
    assert len(colorless) > 20 and all(caption.labels[22] == 0 for caption in colorless)
    black = create_person(0, 1, upper="t-shirt", lower="jeans", lower_color="black")
    assert all(caption.labels[18] == 0 for _ in range(100) if (caption := write_caption(black, rng)).labels[9] >= 0)


def test_captions_say_dark_and_light_only_of_shades_that_are() -> None:
    rng = np.random.default_rng(6)
    coat, pants = Garment("coat", "blue", (32, 72, 190)), Garment("pants", "red", (200, 28, 34))
    medium = replace(PEOPLE[0], upper=coat, sleeves="long", lower=pants)
    bare = replace(medium, hat=None, backpack=None, handbag=None, bag=None, shoes=Garment("shoes", "black", (28, 28, 32)))
    texts = [write_caption(bare, rng, complete=True).text for _ in range(200)]
    assert not any(word in text for text in texts for word in ("dark", "light", "navy"))
    navy = replace(bare, upper=Garment("coat", "blue", (16, 56, 174)))
    assert any("dark blue" in write_caption(navy, rng, complete=True).text for _ in range(200))


def test_a_caption_changes_with_the_attributes_that_it_mentions() -> None:
    for name, values in {
        "gender": ("woman", "man"),
        "age": ("child", "adult"),
        "hat": ("red", None),
        "upper_color": ("red", "blue"),
    }.items():
        for number in range(10):
            texts = [
                write_caption(create_person(9, number, **{name: value}), np.random.default_rng(number), complete=True).text
                for value in values
            ]
            assert texts[0] != texts[1]
