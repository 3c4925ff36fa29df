"""Recast captions: parts left out and in another order, no claim that was not there, no word that was not there."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mals.labeller.labeller import Labeller
from pretrain.data.wordings.claims import claims_of
from pretrain.data.wordings.recast import recast
from tests.pretrain.data.wordings.captions import CAPTIONS, GOLD

LABELLERS = {name: Labeller(name) for name in ("market1501", "pa100k")}


def wordings(caption, count=60):
    return {recast(caption, np.random.default_rng(seed), LABELLERS["market1501"]) for seed in range(count)}


def words(text):
    return re.findall(r"[\w'-]+", text.lower())


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(CAPTIONS), st.integers(0, 2**32), st.sampled_from(sorted(LABELLERS)))
def test_a_recast_caption_claims_a_part_of_what_the_caption_claims_in_words_of_it(caption, seed, space):
    changed = recast(caption, np.random.default_rng(seed), LABELLERS[space])
    before, after = (claims_of(LABELLERS[space], text) for text in (caption, changed))
    assert after.items() <= before.items()
    assert set(words(changed)) <= {*words(caption), "and"} and len(words(changed)) <= len(words(caption)) + 4
    assert recast(caption, np.random.default_rng(seed), LABELLERS[space]) == changed and "  " not in changed.replace(caption, "")
    assert changed.strip() or not caption.strip()


def test_most_captions_of_captioners_have_other_wordings():
    changed = sum(len(wordings(caption, 12)) > 2 for caption in GOLD[:130])
    assert changed > 65


def test_lists_and_their_entries_are_left_out_and_change_places():
    seen = wordings("a woman with long hair wearing a green coat and a black skirt standing next to a parked silver car", 300)
    assert "a woman wearing a green coat" in seen and "a woman with long hair" in seen
    assert "a woman wearing a black skirt and a green coat, with long hair standing next to a parked silver car" in seen
    assert not any("silver" in text and "standing" not in text for text in seen)


def test_a_list_before_a_verb_or_before_what_is_held_is_one_too():
    seen = wordings("a toddler in a blue shirt and yellow pants is standing on a carpet", 200)
    assert {"a toddler is standing on a carpet", "a toddler in yellow pants and a blue shirt is standing on a carpet"} <= seen
    seen = wordings("a boy in a yellow shirt and purple shorts holding a soccer ball under his arm", 200)
    assert "a boy in purple shorts" in seen and "a boy in a yellow shirt holding a soccer ball under his arm" in seen


def test_the_parts_of_a_caption_of_key_words_are_left_out_and_change_places():
    seen = wordings("girl, brown ponytail, yellow long skirt, white sneakers, standing, room", 300)
    assert "girl, yellow long skirt" in seen and len(seen) > 50 and all(text.startswith("girl") for text in seen)


def test_further_sentences_about_the_person_are_left_out_and_change_places():
    seen = wordings("The man wears a red shirt and blue jeans. He has short hair. He is carrying a black bag.", 300)
    assert "The man wears a red shirt and blue jeans. He is carrying a black bag. He has short hair." in seen
    assert "The man wears a red shirt." in seen and all(text.startswith("The man wears") for text in seen)


@pytest.mark.parametrize(
    "caption",
    [
        "a man wearing a red shirt with black sleeves",  # the sleeves belong to the shirt
        "a man without a hat, wearing a red shirt and blue pants",
        "a woman wearing a red dress and a hat on her head",
    ],
)
def test_what_the_cuts_do_not_understand_stays(caption):
    assert wordings(caption) == {caption}
