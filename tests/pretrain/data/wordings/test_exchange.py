"""Wrong captions: they contradict the caption, in one attribute word, in good English."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mals.labeller.labeller import Labeller
from pretrain.data.wordings.claims import claims_of, contradict
from pretrain.data.wordings.exchange import exchange_sexes, exchanged, replace_words
from tests.pretrain.data.wordings.captions import CAPTIONS, GOLD

LABELLER = Labeller()


def wrong(caption, count=60):
    return {exchanged(caption, np.random.default_rng(seed), LABELLER) for seed in range(count)}


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(CAPTIONS), st.integers(0, 2**32))
def test_an_exchanged_caption_contradicts_the_caption_and_has_the_right_articles(caption, seed):
    changed = exchanged(caption, np.random.default_rng(seed), LABELLER)
    assert changed == exchanged(caption, np.random.default_rng(seed), LABELLER)
    if changed is None:
        return
    assert contradict(claims_of(LABELLER, caption), claims_of(LABELLER, changed))
    new = set(re.findall(r"\ban? [a-z]+", changed.lower())) - set(re.findall(r"\ban? [a-z]+", caption.lower()))
    assert all(text.startswith("an ") == (text.split()[1][0] in "aeiou") for text in new), new


def test_most_captions_have_a_wrong_one():
    assert sum(wrong(caption, 3) != {None} for caption in GOLD) > 0.8 * len(GOLD)


def test_a_color_a_garment_or_the_sex_is_exchanged():
    seen = wrong("A woman in a red jacket, her hair long", 200)
    assert "A man in a red jacket, his hair long" in seen and "A woman in an orange jacket, her hair long" in seen
    assert "A woman in a red t-shirt, her hair long" in seen
    assert wrong("somebody in the street") == {None}


def test_a_shade_stays_before_a_color_that_has_shades():
    seen = wrong("a person in a faded green coat", 200)
    assert "a person in a faded blue coat" in seen and not {"a person in a faded white coat", "a person in a faded black coat"} & seen


@pytest.mark.parametrize(
    ("caption", "other"),
    [
        ("She holds her bag. A man looks at her.", "He holds his bag. A woman looks at him."),
        ("He and his dog; the lady is with him.", "She and her dog; the gentleman is with her."),
        ("two girls", "two boys"),
    ],
)
def test_pronouns_go_with_the_nouns(caption, other):
    assert exchange_sexes(caption) == other


def test_an_article_fits_the_word_behind_it():
    assert replace_words("A red coat", 2, 5, "orange") == "An orange coat"
    assert replace_words("an orange coat", 3, 9, "red") == "a red coat"
    assert replace_words("Red coat", 0, 3, "blue") == "Blue coat"
