"""The gradient-attention similarity score of the tokens of captions (GASS; Zheng et al., EMNLP 2025, equations 1 to 4; docs/noise.md).

Shapes: B captions, L tokens, C channels of the text tower, D width of the embeddings.
"""

import torch
from torch import Tensor
from torch.nn.functional import interpolate, linear, normalize

from pretrain.towers.clip import Block, ClipText


def gradient_attention_scores(
    tower: ClipText, ids: Tensor, ends: Tensor, image: Tensor, plain: int, divide_by_importance: bool = False
) -> Tensor:
    """Scores [B, L], not negative, of the tokens between the start and the end token, 0 elsewhere, for captions [B, L] and images [B, D].

    `ends` [B] are the places of the end tokens. After the first `plain` blocks the others are computed with one attention head. In each,
    the importance of a token is the sum over channels of its value times the gradient, by the attention's output at the end token, of
    the cosine with the image, times the likeness of the token's key and the end token's query. It is multiplied with the end token's
    attention to the token; the score is the sum over these blocks. `divide_by_importance` divides the attention by the sum of the
    importance, as the authors' code does; their paper divides it by its own sum, which is 1.
    """
    length, rows = ids.shape[1], torch.arange(len(ids), device=ids.device)
    with torch.no_grad():
        x = tower.token_embedding(ids) + tower.positional_embedding[:length]
        x, _ = tower.transformer(x, tower.causal[:length, :length], blocks=slice(plain))
        goal = normalize(image.float(), dim=-1)
    outputs, tokens = [], []
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        for block in list(tower.transformer.resblocks)[plain:]:
            assert isinstance(block, Block)
            x, output, token = _one_head(block, x, tower.causal[:length, :length], ends)
            outputs.append(output)
            tokens.append(token)
        embedding = normalize((tower.ln_final(x[rows, ends]) @ tower.text_projection).float(), dim=-1)
        gradients = torch.autograd.grad((embedding * goal).sum(), outputs)
    with torch.no_grad():
        total = x.new_zeros(ids.shape, dtype=torch.float32)
        for gradient, (value, likeness, attention) in zip(gradients, tokens, strict=True):
            importance = (gradient[rows, ends].float()[:, None] * value.float()).sum(2) * likeness
            sums = importance.sum(1, keepdim=True) if divide_by_importance else attention.sum(1, keepdim=True)
            total += importance * attention / torch.where(sums == 0, 1, sums)
        position = torch.arange(length, device=ids.device)
        return total.clamp(min=0) * ((position > 0) & (position < ends[:, None]))


def _one_head(block: Block, x: Tensor, bias: Tensor, ends: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """A block with one attention head: [B, L, C], the output of its attention [B, L, C] before the projection, and for each token its
    value [B, L, C], the likeness [B, L] of its key and the end token's query, and the end token's attention to it [B, L]; both without
    gradient, and 0 behind the end token."""
    rows, layer = torch.arange(len(x), device=x.device), block.attn
    query, key, value = linear(block.ln_1(x), layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1)
    attention = ((query * query.shape[-1] ** -0.5) @ key.transpose(1, 2) + bias.to(query.dtype)).softmax(-1)
    output = attention.to(value.dtype) @ value
    result = x + layer.out_proj(output)
    result = result + block.mlp(block.ln_2(result))
    seen = torch.arange(x.shape[1], device=x.device) <= ends[:, None]
    with torch.no_grad():
        likeness = _likeness(query[rows, ends].float(), key.float(), ends).where(seen, 0)
        return result, output, (value.detach(), likeness, attention[rows, ends].float().where(seen, 0))


def _likeness(query: Tensor, keys: Tensor, ends: Tensor) -> Tensor:
    """Cosines [B, L] of a query [B, C] and keys [B, L, C] that see their neighbours, scaled to 0 ... 1 over the tokens up to the end.

    A key is the mean of itself and of the means of two adjacent keys each, interpolated linearly to its place; behind the end token its
    own key is repeated, so that padding does not matter.
    """
    length = keys.shape[1]
    place = torch.arange(length + 2 + length % 2, device=keys.device).minimum(ends[:, None])
    repeated = keys.gather(1, place[..., None].expand(-1, -1, keys.shape[2]))
    pairs = repeated.unflatten(1, (-1, 2)).mean(2)
    smooth = interpolate(pairs.transpose(1, 2), scale_factor=2, mode="linear", align_corners=False).transpose(1, 2)
    cosines = (normalize((repeated + smooth)[:, :length] / 2, dim=-1) @ normalize(query, dim=-1)[..., None])[..., 0]
    seen = torch.arange(length, device=keys.device) <= ends[:, None]
    lowest = cosines.masked_fill(~seen, torch.inf).amin(1, keepdim=True)
    highest = cosines.masked_fill(~seen, -torch.inf).amax(1, keepdim=True)
    return (cosines - lowest) / torch.where(highest > lowest, highest - lowest, 1)
