"""Mean similarity distribution: what the formula says, and what the published function computes."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from pytest import approx

from pretrain import similarity_distribution
from pretrain.similarity_distribution import distributions


def by_formula(cosines: list[float], persons: list[int], person: int) -> float:
    """The similarity distribution of one query, image after image."""
    order = sorted(range(len(cosines)), key=lambda image: (-cosines[image], image))
    ranked = [(cosines[image] / 2 + 0.5, persons[image] == person) for image in order]
    matches = [s for s, is_match in ranked if is_match]
    others = [s for s, is_match in ranked if not is_match]
    if not matches:
        return 0.0
    shares, all_until, matches_until = [], 0.0, 0.0
    for s, is_match in ranked:
        all_until += s
        matches_until += s * is_match
        if is_match:
            shares.append(matches_until / all_until if all_until else 0.0)
    mean_match, mean_other = sum(matches) / len(matches), sum(others) / max(1, len(others))
    if not mean_match:
        return 0.0
    return sum(shares) / len(shares) * (1 - math.exp(-mean_match / mean_other if mean_other else -math.inf))


@st.composite
def searches(draw):
    """Cosines in steps of an eighth, full of ties, [Q, G]; the persons of queries and images, some queries without a match."""
    queries, gallery = draw(st.integers(0, 5)), draw(st.integers(1, 12))
    cosines = draw(st.lists(st.lists(st.integers(-8, 8), min_size=gallery, max_size=gallery), min_size=queries, max_size=queries))
    persons = draw(st.lists(st.integers(0, 3), min_size=gallery, max_size=gallery))
    own = draw(st.lists(st.integers(0, 4), min_size=queries, max_size=queries))
    return [[cosine / 8 for cosine in row] for row in cosines], own, persons


@settings(max_examples=150, deadline=None)
@given(searches(), st.integers(1, 40))
def test_the_similarity_distribution_equals_a_brute_force(search, cells):
    cosines, own, persons = search
    matches = torch.tensor(own)[:, None] == torch.tensor(persons)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity_distribution, "CELLS", cells)
        values = distributions(torch.tensor(cosines, dtype=torch.float32).reshape(len(own), len(persons)), matches)
    expected = [by_formula(row, persons, person) for row, person in zip(cosines, own, strict=True)]
    assert values[:, 0].tolist() == approx(expected, abs=1e-9)
    assert ((values >= 0) & (values <= 1)).all()


def test_as_published_is_what_the_published_function_computes_by_hand():
    # gallery: persons 1, 2, 1, cosines 0, 0.6, 0.2, so s = 0.5, 0.8, 0.6; by rank the images 2, 3, 1: no match, a match, a match.
    values = distributions(torch.tensor([[0.0, 0.6, 0.2]]), torch.tensor([[True, False, True]]))
    # By rank s = 0.8, 0.6, 0.5. Shares at the matches: 0.6 / 1.4 = 0.428571 and (0.6 + 0.5) / 1.9 = 0.578947, mean 0.503759.
    # Ratio: ((0.6 + 0.5) / 2) / 0.8 = 0.6875, and 1 - exp(-0.6875) = 0.497168. 0.503759 x 0.497168 = 0.250453.
    assert values[0, 0].item() == approx(0.250453, abs=2e-6)
    # As published the second and the third s of the gallery, 0.8 and 0.6, are taken for those of the matches.
    # Shares: 0.8 / (0.5 + 0.8) = 0.615385 and (0.8 + 0.6) / 1.9 = 0.736842, mean 0.676113.
    # Ratio: ((0.8 + 0.6) / 2) / 0.5 = 1.4, and 1 - exp(-1.4) = 0.753403. 0.676113 x 0.753403 = 0.509386.
    assert values[0, 1].item() == approx(0.509386, abs=2e-6)


def test_a_gallery_in_the_order_of_the_ranking_has_the_same_value_as_published():
    cosines = torch.tensor([[0.9, 0.4, 0.1, -0.5]])
    sd, as_published = distributions(cosines, torch.tensor([[True, False, True, False]]))[0].tolist()
    assert sd == as_published > 0


def test_a_gallery_of_one_person_alone_has_the_distribution_one():
    assert distributions(torch.tensor([[0.3, -0.2]]), torch.ones(1, 2, dtype=torch.bool))[0].tolist() == [1, 1]
