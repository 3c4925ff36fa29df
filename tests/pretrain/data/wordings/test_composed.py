"""Sentences made from labels state what the labels hold and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mals.attributes import load_space
from mals.errors import UserError
from mals.labeller.labeller import Labeller
from pretrain.data.wordings.composed import LabelSentences
from tests.pretrain.data.wordings.captions import GOLD

LABELLER = Labeller()
SENTENCES = LabelSentences(load_space("market1501"))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(GOLD), st.integers(0, 2**32))
def test_what_a_sentence_says_is_what_the_labels_hold(caption, seed):
    labels = LABELLER.label([caption]).values[0].tolist()
    sentence = SENTENCES.sentence(labels, np.random.default_rng(seed))
    if sentence is None:
        return
    labelled = LABELLER.label([sentence])
    for attribute, (value, source) in enumerate(zip(labelled.values[0].tolist(), labelled.sources[0].tolist(), strict=True)):
        if source == "explicit":
            assert labels[attribute] == value, (sentence, LABELLER.space.names[attribute])
    assert sentence == SENTENCES.sentence(labels, np.random.default_rng(seed))
    known = {word for text in SENTENCES.words() for word in text.replace(",", " ").split()}
    assert set(sentence.replace(",", " ").split()) <= known


def test_sentences_state_few_labels_or_many():
    caption = "a woman with long hair in a red long-sleeved shirt and blue jeans with a hat and a backpack"
    labels = LABELLER.label([caption]).values[0].tolist()
    seen = {SENTENCES.sentence(labels, np.random.default_rng(seed)) for seed in range(500)}
    assert "a person in a red top" in seen and "a person wearing blue pants" in seen and len(seen) > 100
    assert max(len(text.split()) for text in seen) > 15 and not any("jacket" in text or "street" in text for text in seen)


def test_without_a_label_there_is_no_sentence():
    unknown = [-1] * len(LABELLER.space.names)
    assert {SENTENCES.sentence(unknown, np.random.default_rng(seed)) for seed in range(20)} == {None}


def test_a_space_without_words_for_it_is_refused():
    with pytest.raises(UserError, match="the attribute space pa100k has none of them"):
        LabelSentences(load_space("pa100k"))
