"""Token selection: which tokens are chosen, what is pooled, and which tokens the norm sees. RDE's vectors: tests/pretrain/methods/rde."""

import torch

from pretrain.towers.token_selection import TokenSelection, select

ATTENTION = torch.tensor([[0.9, 0.2, 0.05, 0.4, 0.0], [0.1, 0.5, 0.3, 0.2, 0.0]])
LAST = torch.tensor([[True, False, False, False, False]] * 2)


def selection(frozen=False):
    torch.manual_seed(0)
    return TokenSelection(6, 8, 10, frozen)


def test_the_highest_attention_is_chosen_and_excluded_tokens_come_last():
    assert select(ATTENTION, LAST, 2).tolist() == [[3, 1], [1, 2]]
    assert select(ATTENTION, LAST, 9).shape == (2, 5) and select(ATTENTION, LAST, 9)[:, -1].tolist() == [0, 0]


def test_only_counted_tokens_are_pooled():
    tokens, tse = torch.randn(2, 5, 6), selection().eval()
    chosen = select(ATTENTION, LAST, 3)
    counted = torch.tensor([[True, True, False], [True, False, False]])
    pooled = tse(tokens, chosen, counted)
    first = tse(tokens[:1], chosen[:1, :2])
    torch.testing.assert_close(pooled[:1], first)
    torch.testing.assert_close(pooled[1:], tse(tokens[1:], chosen[1:, :1]))
    torch.testing.assert_close(tse(3 * tokens, chosen, counted), pooled)  # tokens are divided by their length


def test_the_norm_has_the_statistics_of_counted_tokens_or_of_all():
    tokens, chosen = torch.randn(2, 5, 6), select(ATTENTION, LAST, 3)
    counted = torch.tensor([[True, True, True], [True, False, False]])
    means = []
    for other in (tokens, tokens.clone()):
        other[1, chosen[1, 1:]] = torch.randn(2, 6)
        for all_in_norm in (False, True):
            tse = selection().train()
            tse(other, chosen, counted, all_in_norm)
            means.append(tse.norm.mean.clone())
    assert means[0].equal(means[2]) and not means[1].allclose(means[3])


def test_counted_tokens_alone_have_the_result_and_the_slopes_of_all_where_all_are_counted():
    tokens, chosen = torch.randn(2, 5, 6), select(ATTENTION, LAST, 3)
    results = []
    for counted in (None, torch.ones(2, 3, dtype=torch.bool)):
        leaf, tse = tokens.clone().requires_grad_(), selection().train()
        embedded = tse(leaf, chosen, counted)
        embedded.square().sum().backward()
        results.append((embedded.detach(), leaf.grad, tse.first.weight.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_a_frozen_norm_keeps_its_statistics():
    tse = selection(frozen=True).train()
    assert tse.training and not tse.norm.training
    tse(torch.randn(2, 5, 6), select(ATTENTION, LAST, 3))
    assert (tse.norm.mean == 0).all() and (tse.norm.variance == 1).all()
