"""Captions of the world's people: what they say is true, and the labeller reads in them what they claim to say."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mals.labeller.labeller import Labeller
from mals.world.captions import MAX_WORDS, STYLES, Caption, write_caption
from mals.world.person import Garment, Person, create_person

SCENES = (None, "street", "park", "plaza", "shop", "station", "room", "old office")
WALKING = (None, True, False)
PEOPLE = [create_person(0, number) for number in range(400)]
THINGS = {
    "hat": ("cap", "beanie", "hat"),
    "backpack": ("backpack", "rucksack"),
    "handbag": ("handbag", "purse"),
    "bag": ("bag",),
}


def captions(style: str | None = None, complete: bool = False) -> list[Caption]:
    """A caption of each of PEOPLE, in every place and gait."""
    rng = np.random.default_rng(5)
    return [
        write_caption(who, rng, style, complete, SCENES[at % len(SCENES)], WALKING[at // len(SCENES) % len(WALKING)])
        for at, who in enumerate(PEOPLE)
    ]


def laden() -> Person:
    """Somebody of whom there is as much to say as there can be."""

    def striped(kind: str) -> Garment:
        return Garment(kind, "black", (28, 28, 32), "striped", "white", (238, 238, 234))

    who = create_person(0, 0, hat="blue", backpack="blue", handbag="blue", bag="blue")
    upper, lower = striped("long-sleeved shirt"), striped("short skirt")
    return replace(who, gender="man", age="adult", beard=True, upper=upper, lower=lower, sleeves="long")


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("style", STYLES)
def test_the_labeller_reads_in_every_caption_what_it_claims_to_say(style: str, complete: bool) -> None:
    told = captions(style, complete)
    labels = Labeller().label([one.text for one in told]).values.tolist()
    assert [(one.text, one.labels) for one in told] == [(one.text, label) for one, label in zip(told, labels, strict=True)]


@pytest.mark.parametrize("style", STYLES)
def test_a_full_caption_leaves_no_attribute_open(style: str) -> None:
    assert [one.labels for one in captions(style, complete=True)] == [who.attributes() for who in PEOPLE]


def test_a_caption_says_nothing_untrue_and_mostly_leaves_something_open() -> None:
    told = captions()
    for one, who in zip(told, PEOPLE, strict=True):
        assert all(said in (-1, value) for said, value in zip(one.labels, who.attributes(), strict=True))
    assert 0.4 < np.mean([-1 in one.labels for one in told]) < 0.9
    assert np.mean([value >= 0 for one in told for value in one.labels]) > 0.85


def test_the_same_draws_give_the_same_text_and_others_another() -> None:
    assert captions() == captions()
    rng = np.random.default_rng(0)
    assert len({write_caption(PEOPLE[0], rng).text for _ in range(100)}) > 60


def test_every_voice_occurs_and_says_which_it_is() -> None:
    drawn = Counter(one.style for one in captions())
    assert set(drawn) == set(STYLES) and min(drawn.values()) > 50
    assert all(one.style == style for style in STYLES for one in captions(style))


@pytest.mark.parametrize("style", STYLES)
def test_no_hat_and_no_bag_is_left_out_or_invented(style: str) -> None:
    for one, who in zip(captions(style), PEOPLE, strict=True):
        words = one.text.lower().replace(",", "").replace(".", "").split()
        for name, nouns in THINGS.items():
            assert any(noun in words for noun in nouns) == (getattr(who, name) is not None), one.text


@pytest.mark.parametrize("style", STYLES)
def test_captions_are_short_and_clean_even_of_those_of_whom_there_is_much_to_say(style: str) -> None:
    rng = np.random.default_rng(1)
    told = captions(style) + [write_caption(laden(), rng, style, complete=True, place="street", walking=True) for _ in range(200)]
    for one in told:
        assert one.text.isascii() and "  " not in one.text and one.text == one.text.strip()
        assert len(one.text.split()) <= MAX_WORDS
        assert (one.text != one.text.lower()) == (style in ("annotator", "long"))
    assert all(one.labels == laden().attributes() for one in told[len(PEOPLE) :])


def test_the_place_and_the_gait_are_told_where_they_are_given() -> None:
    rng = np.random.default_rng(2)
    plain = replace(PEOPLE[0], hat=None, backpack=None, handbag=None, bag=None)
    for style in STYLES:
        text = write_caption(plain, rng, style, place="park", walking=True).text
        assert "walking" in text and "park" in text
        text = write_caption(plain, rng, style, walking=False).text
        assert "standing" in text or "waiting" in text
        text = write_caption(plain, rng, style).text
        assert "walking" not in text and "standing" not in text


def test_colours_without_a_column_are_known_colours() -> None:
    rng = np.random.default_rng(3)
    who = create_person(0, 1, upper="t-shirt", upper_color="pink", lower="shorts", lower_color="orange")
    assert all(write_caption(who, rng, complete=True).labels[10:27] == [1] * 17 for _ in range(50))


def test_jeans_are_blue_whether_it_is_said_or_not() -> None:
    rng = np.random.default_rng(4)
    texts = [write_caption(create_person(0, 1, upper="t-shirt", lower="jeans"), rng) for _ in range(300)]
    silent = [one for one in texts if "blue" not in one.text and "navy" not in one.text and one.labels[9] >= 0]
    assert len(silent) > 20 and all(one.labels[22] == 0 for one in silent)
    black = create_person(0, 1, upper="t-shirt", lower="jeans", lower_color="black")
    assert all(one.labels[18] == 0 for _ in range(100) if (one := write_caption(black, rng)).labels[9] >= 0)


def test_dark_and_light_are_said_only_of_shades_that_are() -> None:
    rng = np.random.default_rng(6)
    middle = replace(PEOPLE[0], upper=Garment("coat", "blue", (32, 72, 190)), sleeves="long", lower=Garment("pants", "red", (200, 28, 34)))
    bare = replace(middle, hat=None, backpack=None, handbag=None, bag=None, shoes=Garment("shoes", "black", (28, 28, 32)))
    assert not any(word in write_caption(bare, rng, complete=True).text for _ in range(200) for word in ("dark", "light", "navy"))
    navy = replace(bare, upper=Garment("coat", "blue", (16, 56, 174)))
    assert any("dark blue" in write_caption(navy, rng, complete=True).text for _ in range(200))
