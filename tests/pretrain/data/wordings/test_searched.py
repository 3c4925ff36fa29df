"""Sentences as people search: short, about a row's labels, and a function of the seed, the step and the labels."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mals.attributes import FOLDER, load_space
from mals.errors import UserError
from mals.labeller.labeller import Labeller
from pretrain.data.wordings.claims import claims_of
from pretrain.data.wordings.searched import SearchSentences, words
from tests.pretrain.data.wordings.captions import GOLD

LABELLER = Labeller()
SPACE = load_space("market1501")
LABELS = torch.from_numpy(LABELLER.label(GOLD[:200]).values.astype(np.int64))


def sentences(seed: int = 0, count: int = 200) -> SearchSentences:
    return SearchSentences(LABELLER, LABELS, count, seed)


def test_a_sentence_about_a_row_never_contradicts_its_labels():
    drawn = sentences()
    for number, row in enumerate(LABELS.numpy()):
        text = drawn._sentence(row, np.random.default_rng(number))
        for attribute, value in claims_of(LABELLER, text).items():
            assert row[attribute] in (value, -1), (text, SPACE.names[attribute])


def test_sentences_follow_from_seed_step_and_labels_and_their_claims_are_the_labellers():
    texts, claims = sentences()(7)
    again, same = sentences()(7)
    assert texts == again and np.array_equal(claims, same) and claims.shape == (200, len(SPACE.names))
    assert texts != sentences()(8)[0] and texts != sentences(seed=1)(7)[0]
    for text, row in zip(texts, claims.tolist(), strict=True):
        assert {attribute: value for attribute, value in enumerate(row) if value >= 0} == claims_of(LABELLER, text)


def test_sentences_name_one_half_of_the_body_both_or_none_in_the_plans_words():
    texts, claims = sentences(count=1000)(0)
    colors = [[claims[:, SPACE.names.index(name)] == 0 for name in group.colors.values()] for group in SPACE.color_groups.values()]
    above, below = (np.any(half, axis=0) for half in colors)
    for share in ((above & ~below).mean(), (below & ~above).mean(), (above & below).mean(), (~above & ~below).mean()):
        assert 0.05 < share < 0.6
    assert any(" jacket" in text for text in texts) and any(" top" in text for text in texts) and any("navy blue" in text for text in texts)
    assert np.mean([len(text.split()) for text in texts]) < 10
    known = {word for text in words() for word in text.replace(",", " ").split()}
    assert {word for text in texts for word in text.replace(",", " ").split()} <= known


def test_the_space_may_be_a_file_of_ones_own(tmp_path: Path):
    own = tmp_path / "clothes.yaml"
    own.write_bytes((FOLDER / "market1501.yaml").read_bytes())
    texts, claims = SearchSentences(Labeller(own), LABELS, 20, 0)(3)
    shipped, same = sentences(count=20)(3)
    assert texts == shipped and np.array_equal(claims, same)


def test_a_space_without_colours_of_clothes_is_refused():
    with pytest.raises(UserError, match="the attribute space pa100k has none; set it to 0"):
        SearchSentences(Labeller("pa100k"), torch.zeros(1, 26), 4, 0)
