"""The losses of image re-identification: triplets with the hardest examples, and the diversity of parts."""

import pytest
import torch

from pretrain.losses import part_diversity, triplet_hard


def test_the_triplets_are_those_of_the_farthest_and_the_nearest():
    draw = torch.Generator().manual_seed(3)
    features, persons = torch.randn(7, 5, generator=draw), [0, 0, 0, 1, 1, 2, 3]
    terms = []
    for at, person in enumerate(persons):
        distances = [float((features[at] - other).norm()) for other in features]
        farthest = max(d for d, other in zip(distances, persons, strict=True) if other == person)
        nearest = min(d for d, other in zip(distances, persons, strict=True) if other != person)
        terms.append(max(0.0, 0.3 + farthest - nearest))
    same = torch.tensor(persons)[:, None] == torch.tensor(persons)[None]
    assert 0.0 in terms and sum(terms) > 0
    assert triplet_hard(features, features, same, 0.3).item() == pytest.approx(sum(terms) / 7, rel=1e-5)
    parts = [triplet_hard(features[at : at + 1], features, same[at : at + 1], 0.3).item() for at in range(7)]  # as on seven ranks
    assert parts == pytest.approx(terms, abs=1e-5)


def test_rows_of_one_person_have_no_triplet_and_equal_rows_a_finite_gradient():
    features = torch.randn(4, 3, requires_grad=True)
    loss = triplet_hard(features, features, torch.ones(4, 4, dtype=torch.bool), 0.3)
    loss.backward()
    assert loss.item() == 0 and features.grad.abs().max() == 0
    equal = torch.ones(4, 3, requires_grad=True)
    loss = triplet_hard(equal, equal, torch.eye(4, dtype=torch.bool), 0.3)
    loss.backward()
    assert loss.item() == pytest.approx(0.3) and equal.grad.isfinite().all()


def test_the_diversity_of_parts_is_a_share_and_has_the_closed_values():
    parts = torch.sin(0.3 * torch.arange(64.0)).view(2, 4, 8)
    values = [part_diversity(parts[at : at + 1]).item() for at in range(2)]
    assert values == pytest.approx([0.33932393, 0.33935498], abs=1e-6)  # by the definition, in float64
    assert part_diversity(parts).item() == pytest.approx(sum(values) / 2, abs=1e-6)
    assert part_diversity(torch.eye(6)[None] * 3).item() == 0
    assert part_diversity(torch.tensor([[[1.0, 2], [-2, -4], [3, 6]]])).item() == pytest.approx(1)
    assert part_diversity(parts[:, :1]).item() == 0
    assert 0 < part_diversity(torch.randn(3, 5, 4)).item() < 1


@pytest.mark.parametrize("rows", [2, 5])
def test_gradients_of_the_losses_of_parts_and_triplets_equal_finite_differences(rows):
    draw = torch.Generator().manual_seed(rows)
    features = torch.randn(rows, 4, dtype=torch.float64, generator=draw, requires_grad=True)
    same = torch.arange(rows)[:, None] // 2 == torch.arange(rows)[None] // 2
    triplets, diversity = triplet_hard.__wrapped__, part_diversity.__wrapped__  # in float64
    assert torch.autograd.gradcheck(lambda x: triplets(x, x, same, 5.0), features)
    parts = torch.randn(rows, 3, 4, dtype=torch.float64, generator=draw, requires_grad=True)
    assert torch.autograd.gradcheck(diversity, parts)
