"""GA-DMS's score of a token equals its equations, computed anew for one caption at a time; padding and other rows do not matter."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, normalize

from pretrain.towers.clip import ClipText
from pretrain.towers.gradient_attention import gradient_attention_scores

PLAIN, CHANNELS, END = 1, 16, 29


@pytest.fixture
def tower() -> ClipText:
    torch.manual_seed(0)
    tower = ClipText(vocabulary=30, end=END, context=14, channels=CHANNELS, layers=3, heads=2, embed=8)
    for block in tower.transformer.resblocks:
        torch.nn.init.normal_(block.attn.in_proj_weight, std=0.5)
        torch.nn.init.normal_(block.attn.in_proj_bias, std=0.1)
    return tower


def captions(width: int) -> Tensor:
    rows = [[28, 3, 7, 11, 2, 9, END], [28, 5, 6, END], [28, 8, 1, 4, 2, 13, 17, 21, 4, END]]
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])


def by_hand(tower: ClipText, ids: Tensor, image: Tensor, by_importance: bool) -> Tensor:
    """The scores of one caption without padding, by loops."""
    end, x = len(ids) - 1, tower.token_embedding(ids) + tower.positional_embedding[: len(ids)]
    causal = torch.full((len(ids), len(ids)), float("-inf")).triu(1)
    for block in tower.transformer.resblocks[:PLAIN]:
        x = block(x[None], causal)[0][0]
    parts, x = [], x.detach()
    for block in tower.transformer.resblocks[PLAIN:]:
        normed = layer_norm(x, (CHANNELS,), block.ln_1.weight, block.ln_1.bias)
        q, k, v = (normed @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).chunk(3, 1)
        attention = (q @ k.T / CHANNELS**0.5 + causal).softmax(1)
        output = attention @ v
        x = x + output @ block.attn.out_proj.weight.T + block.attn.out_proj.bias
        x = x + block.mlp(block.ln_2(x))
        parts.append((output, q[end], k, v, attention[end]))
    cosine = normalize(tower.ln_final(x[end]) @ tower.text_projection, dim=0) @ normalize(image, dim=0)
    total = torch.zeros(len(ids))
    for (_, query, keys, values, attention), gradient in zip(parts, torch.autograd.grad(cosine, [part[0] for part in parts]), strict=True):
        longer = [*keys, keys[end], keys[end], keys[end]]
        means = [(longer[2 * pair] + longer[2 * pair + 1]) / 2 for pair in range(len(longer) // 2)]
        likeness = []
        for at, key in enumerate(keys):
            nearest = at // 2
            other = max(nearest - 1, 0) if at % 2 == 0 else nearest + 1
            likeness.append(normalize((key + 0.75 * means[nearest] + 0.25 * means[other]) / 2, dim=0) @ normalize(query, dim=0))
        scaled = (torch.stack(likeness) - min(likeness)) / (max(likeness) - min(likeness))
        importance = torch.stack([(gradient[end] * values[at]).sum() * scaled[at] for at in range(len(ids))])
        total += importance * attention / (importance.sum() if by_importance else attention.sum())
    return torch.cat([torch.zeros(1), total[1:end].clamp(min=0), torch.zeros(1)]).detach()


@pytest.mark.parametrize("by_importance", [False, True])
@pytest.mark.parametrize("width", [10, 13, 14])
def test_scores_are_those_of_each_caption_alone(tower: ClipText, width: int, by_importance: bool) -> None:
    ids, image = captions(width), torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    scores = gradient_attention_scores(tower, ids, tower.ends(ids), image, PLAIN, by_importance)
    assert scores.shape == ids.shape and not scores.requires_grad and (scores > 0).sum() > 3
    for row, caption in enumerate(ids):
        length = int(tower.ends(ids)[row]) + 1
        expected = by_hand(tower, caption[:length], image[row], by_importance)
        torch.testing.assert_close(scores[row, :length], expected, rtol=1e-4, atol=1e-6)
        assert not scores[row, length:].any()


def test_parameters_get_no_gradient_from_scores_also_without_gradients_around(tower: ClipText) -> None:
    ids, image = captions(10), torch.randn(3, 8)
    with torch.no_grad():
        quiet = gradient_attention_scores(tower, ids, tower.ends(ids), image, PLAIN)
    assert quiet.equal(gradient_attention_scores(tower, ids, tower.ends(ids), image, PLAIN))
    assert all(parameter.grad is None for parameter in tower.parameters())
