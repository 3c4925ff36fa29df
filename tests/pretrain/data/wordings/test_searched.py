"""Sentences as people search: short, about a row's labels, and a function of these and of random numbers."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from mals.attributes import FOLDER, load_space
from mals.errors import UserError
from mals.labeller.labeller import Labeller
from pretrain.data.wordings.claims import claims_of
from pretrain.data.wordings.searched import SearchSentences, words
from tests.pretrain.data.wordings.captions import GOLD

LABELLER = Labeller()
SPACE = load_space("market1501")
GARMENTS = ("sleeve_length", "lower_length", "lower_type")  # which names of garments express
LABELS = LABELLER.label(GOLD[:200]).values.astype(np.int64)


def draw(seed: int = 0, made: SearchSentences = SearchSentences("market1501", 2), rows: int = 200) -> tuple[list[str], np.ndarray]:
    return made(LABELS[:rows], [np.random.default_rng((seed, row)) for row in range(rows)])


def test_a_sentence_about_a_row_never_contradicts_its_labels():
    for number, text in enumerate(draw()[0]):
        row = LABELS[number // 2]
        for attribute, value in claims_of(LABELLER, text).items():
            assert row[attribute] in (value, -1), (text, SPACE.names[attribute])


def test_sentences_follow_from_labels_and_random_numbers_in_any_process_and_their_claims_are_the_labellers_but_for_garments():
    texts, claims = draw()
    again, same = draw(made=pickle.loads(pickle.dumps(SearchSentences("market1501", 2))))
    assert texts == again and np.array_equal(claims, same) and claims.shape == (400, len(SPACE.names))
    assert texts[:40] == draw(rows=20)[0] and texts != draw(seed=1)[0]
    for text, row in zip(texts, claims.tolist(), strict=True):
        judged = {attribute: value for attribute, value in claims_of(LABELLER, text).items() if SPACE.names[attribute] not in GARMENTS}
        assert {attribute: value for attribute, value in enumerate(row) if value >= 0} == judged


def test_sentences_name_one_half_of_the_body_both_or_none_in_the_plans_words():
    texts, claims = draw(made=SearchSentences("market1501", 5))
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
    texts, claims = draw(made=SearchSentences(str(own), 2))
    shipped, same = draw()
    assert texts == shipped and np.array_equal(claims, same)


def test_a_space_without_colours_of_clothes_is_refused():
    with pytest.raises(UserError, match="the attribute space pa100k has none; set its weight to 0"):
        SearchSentences("pa100k", 4)
