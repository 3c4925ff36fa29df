"""The two towers of CLIP (Radford et al., ICML 2021), with all tokens of an image and a text, for images of any size.

The blocks are those of open_clip, whose parameters have OpenAI's names; attention is computed as in the other towers. CLIP's own image
tower projects the first token alone: here the last norm and the projection are applied to every token, as in IRRA (Jiang and Ye, CVPR
2023). Weights for square images are read by `pretrain.towers.clip_weights`, which resizes the table of positions.

Shapes: B images or texts, N patches of an image, K patches that are kept, L tokens of a text, C channels of a tower, D width of the
embeddings, h heads.
"""

from typing import cast

import torch
from open_clip.transformer import LayerNorm, QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from mals.errors import UserError
from pretrain.method import Encoded
from pretrain.towers.attention import attend
from pretrain.towers.micro_batches import MicroBatched

HEAD = 64  # channels of an attention head in all of OpenAI's models
TOKEN_STD, POSITION_STD = 0.02, 0.01  # standard deviations of initial embeddings of tokens and of positions (Radford et al.)


def heads_of(width: int, heads: int | None) -> int:
    """The number of attention heads, by default one for each 64 channels; UserError where the width does not divide into them."""
    number = max(1, width // HEAD) if heads is None else heads
    if width % number:
        raise UserError(f"a tower of {width} channels does not divide into {number} attention heads")
    return number


def attention(
    layer: nn.MultiheadAttention, query: Tensor, source: Tensor | None = None, bias: Tensor | None = None, scores: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Attention of [B, L, C] to a source [B, N, C], by default to itself, with a bias of the scores [L, N] -> [B, L, C].

    With `scores` also the probabilities [B, L, N], the mean over the heads.
    """
    assert layer.in_proj_weight is not None and layer.in_proj_bias is not None
    if source is None:
        projected = linear(query, layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1)
    else:
        width = layer.embed_dim
        own = linear(query, layer.in_proj_weight[:width], layer.in_proj_bias[:width])
        projected = (own, *linear(source, layer.in_proj_weight[width:], layer.in_proj_bias[width:]).chunk(2, -1))
    q, k, v = (part.unflatten(2, (layer.num_heads, -1)).transpose(1, 2) for part in projected)
    if scores:
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        probabilities = (logits if bias is None else logits + bias.to(logits.dtype)).softmax(-1)
        heads, mean = probabilities.to(v.dtype) @ v, probabilities.mean(1)
    else:
        heads, mean = attend(q, k, v, bias), None
    return cast(Tensor, layer.out_proj(heads.transpose(1, 2).flatten(2))), mean


def initialise_attention(layer: nn.MultiheadAttention, depth: int) -> None:
    """Normal weights of an attention among `depth` layers (Radford et al.); its biases are 0."""
    width = layer.embed_dim
    assert layer.in_proj_weight is not None
    nn.init.normal_(layer.in_proj_weight, std=width**-0.5)
    nn.init.normal_(layer.out_proj.weight, std=width**-0.5 * (2 * depth) ** -0.5)


class Block(ResidualAttentionBlock):
    """Attention and a feed-forward part, each after a layer norm and with a residual."""

    def forward(self, x: Tensor, bias: Tensor | None = None, scores: bool = False) -> tuple[Tensor, Tensor | None]:
        """[B, L, C] -> [B, L, C], and with `scores` the attention [B, L, L], the mean over the heads."""
        attended, probabilities = attention(self.attn, self.ln_1(x), bias=bias, scores=scores)
        x = x + attended
        return x + self.mlp(self.ln_2(x)), probabilities


class Transformer(nn.Module):
    """Blocks one after the other."""

    def __init__(self, width: int, layers: int, heads: int | None = None, checkpointing: bool = False) -> None:
        """`heads` None: one for each 64 channels; `checkpointing`: backward runs each block again instead of keeping its activations."""
        super().__init__()
        self.width, self.checkpointing = width, checkpointing
        number = heads_of(width, heads)
        self.resblocks = nn.ModuleList(Block(width, number, act_layer=QuickGELU) for _ in range(layers))

    def forward(
        self, x: Tensor, bias: Tensor | None = None, last_attention: bool = False, blocks: slice = slice(None)
    ) -> tuple[Tensor, Tensor | None]:
        """[B, L, C] and a bias of the scores [L, L] -> [B, L, C], and with `last_attention` the last block's attention [B, L, L].

        `blocks` are those that compute, all by default.
        """
        scores = None
        for block in list(self.resblocks)[blocks]:
            last = last_attention and block is self.resblocks[-1]
            if self.checkpointing and self.training and torch.is_grad_enabled():
                x, scores = checkpoint(block, x, bias, last, use_reentrant=False)
            else:
                x, scores = block(x, bias, last)
        return x, scores

    def initialise(self) -> None:
        """Normal weights whose scale depends on the width and on the number of layers (Radford et al.)."""
        width, depth = self.width, len(self.resblocks)
        for block in self.resblocks:
            assert isinstance(block, Block)
            initialise_attention(block.attn, depth)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=width**-0.5 * (2 * depth) ** -0.5)


class ClipVision(MicroBatched, nn.Module):
    """Images [B, 3, height, width] as the projected tokens of their patches, the global token first."""

    def __init__(
        self,
        height: int,
        width: int,
        *,
        patch: int = 16,
        channels: int = 768,
        layers: int = 12,
        heads: int | None = None,
        embed: int = 512,
        checkpointing: bool = False,
    ) -> None:
        """Sizes are in pixels; the defaults are ViT-B/16. UserError where the image does not divide into patches."""
        super().__init__()
        if height % patch or width % patch:
            raise UserError(
                f"images of {height}x{width} do not divide into patches of {patch}x{patch}; "
                f"{max(1, round(height / patch)) * patch}x{max(1, round(width / patch)) * patch} do (data.height, data.width)"
            )
        self.grid, self.patch, self.width = (height // patch, width // patch), patch, channels
        self.conv1 = nn.Conv2d(3, channels, patch, patch, bias=False)
        scale = channels**-0.5
        self.class_embedding = nn.Parameter(scale * torch.randn(channels))
        self.positional_embedding = nn.Parameter(scale * torch.randn(1 + self.grid[0] * self.grid[1], channels))
        self.ln_pre, self.ln_post = LayerNorm(channels), LayerNorm(channels)
        self.transformer = Transformer(channels, layers, heads, checkpointing)
        self.proj = nn.Parameter(scale * torch.randn(channels, embed))

    def forward(self, images: Tensor, keep: Tensor | None = None, last_attention: bool = False, inner: int | None = None) -> Encoded:
        """[B, 3, height, width] -> tokens [B, 1 + N, D], the first of which is global and also `pooled`.

        `keep` [B, K] are the numbers 0 ... N-1 of the patches that stay, in the order of the tokens [B, 1 + K, D]; their positions are
        those in the image. With `last_attention` the attention [B, 1 + N, 1 + N] of the last block, with `inner` the tokens after so many
        blocks, normed and projected as the last ones are, see `Encoded`.
        """
        return self.in_parts(lambda part, kept: self._encode(part, kept, last_attention, inner), images, keep)

    def _encode(self, images: Tensor, keep: Tensor | None, last_attention: bool, inner: int | None) -> Encoded:
        patches = self.conv1(images).flatten(2).transpose(1, 2) + self.positional_embedding[1:]
        if keep is not None:
            patches = patches.gather(1, keep[..., None].expand(-1, -1, patches.shape[2]))
        first = (self.class_embedding + self.positional_embedding[0]).to(patches.dtype).expand(patches.shape[0], 1, -1)
        x, early = self.ln_pre(torch.cat([first, patches], 1)), None
        if inner is not None:
            x, _ = self.transformer(x, blocks=slice(inner))
            early = x
        x, scores = self.transformer(x, last_attention=last_attention, blocks=slice(inner, None))
        tokens = self.ln_post(x) @ self.proj
        if early is not None:
            with torch.no_grad():  # after the line above: autocast keeps the first cast of a weight, which must have a gradient
                early = self.ln_post(early) @ self.proj
        return Encoded(tokens, pooled=tokens[:, 0], grid=self.grid if keep is None else None, inner=early, attention=scores)


class ClipText(MicroBatched, nn.Module):
    """Token ids as projected states, each of which depends on the tokens before it alone."""

    causal: Tensor

    def __init__(
        self,
        *,
        vocabulary: int = 49408,
        end: int | None = None,
        context: int = 77,
        channels: int = 512,
        layers: int = 12,
        heads: int | None = None,
        embed: int = 512,
        checkpointing: bool = False,
    ) -> None:
        """`end` is the id of the end token, None: the highest of a text, as in CLIP; `context` the tokens of the longest text."""
        super().__init__()
        self.end, self.context = end, context
        self.token_embedding = nn.Embedding(vocabulary, channels)
        self.positional_embedding = nn.Parameter(torch.empty(context, channels))
        self.transformer = Transformer(channels, layers, heads, checkpointing)
        self.ln_final = LayerNorm(channels)
        self.text_projection = nn.Parameter(torch.empty(channels, embed))
        self.register_buffer("causal", torch.full((context, context), float("-inf")).triu(1), persistent=False)
        nn.init.normal_(self.token_embedding.weight, std=TOKEN_STD)
        nn.init.normal_(self.positional_embedding, std=POSITION_STD)
        nn.init.normal_(self.text_projection, std=channels**-0.5)
        self.transformer.initialise()

    def forward(self, ids: Tensor, last_attention: bool = False, layers: int | None = None) -> Encoded:
        """[B, L] -> tokens [B, L, D]; `pooled` is that of the first end token, or the first token of a text that has none.

        With `last_attention` the attention [B, L, L] of the last block; with `layers` the first so many blocks
        alone. UserError if a text is longer than `context`.
        """
        length = ids.shape[1]
        if length > self.context:
            raise UserError(f"a text of {length} tokens is longer than the {self.context} positions of the text encoder")
        return self.in_parts(lambda part: self._read(part, last_attention, layers), ids)

    def _read(self, ids: Tensor, last_attention: bool, layers: int | None) -> Encoded:
        length = ids.shape[1]
        x = self.token_embedding(ids) + self.positional_embedding[:length]
        x, scores = self.transformer(x, self.causal[:length, :length], last_attention, slice(layers))
        tokens = self.ln_final(x) @ self.text_projection
        end = self.ends(ids)
        pooled = tokens.gather(1, end[:, None, None].expand(-1, 1, tokens.shape[2])).squeeze(1)
        return Encoded(tokens, pooled=pooled, attention=scores)

    def ends(self, ids: Tensor) -> Tensor:
        """The places [B] of the first end tokens of texts [B, L], 0 for a text that has none."""
        return (ids if self.end is None else (ids == self.end).long()).argmax(1)


class Clip(ClipText):
    """Both towers with OpenAI's parameter names: those of the image tower begin with `visual.`. CLIP's learnt temperature is left out."""

    def __init__(self, visual: ClipVision, *, embed: int = 512, **text: int | bool | None) -> None:
        """`text` are the arguments of `ClipText`."""
        super().__init__(embed=embed, **text)  # type: ignore[arg-type]
        self.visual = visual

    def encode_image(self, images: Tensor, keep: Tensor | None = None, last_attention: bool = False, inner: int | None = None) -> Encoded:
        """See `ClipVision`."""
        return cast(Encoded, self.visual(images, keep, last_attention, inner))

    def encode_text(self, ids: Tensor, last_attention: bool = False, layers: int | None = None) -> Encoded:
        """See `ClipText`."""
        return cast(Encoded, self(ids, last_attention, layers))
