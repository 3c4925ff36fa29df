"""The Swin Transformer (Liu et al., ICCV 2021) for images of one fixed size.

If the smaller side of a stage's map is not larger than the window, the window shrinks to that side and is not shifted: at 384x128 with
window 8, stage 3 has three windows of 8x8 and stage 4 three of 4x4, which only share information in the mean of the tokens.
Shapes: B images, W windows of n = window² tokens, h heads, C channels of the stage.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear
from torch.utils.checkpoint import checkpoint

from mals.errors import UserError
from pretrain.method import Encoded
from pretrain.towers import attention
from pretrain.towers.attention import attend, in_product_type
from pretrain.towers.micro_batches import MicroBatched

PATCH = 4  # pixels a side
MASKED_SCORE = -100.0  # added to the scores of tokens that only the shift brought into one window (Liu et al.)
STD, WIDTH = 0.02, 128  # standard deviation of initial weights at this embed_dim (Liu et al.); others keep the scale of the outputs


def relative_index(window: int) -> Tensor:
    """The row of the bias table for each pair of tokens in a window, row-major in (dy, dx): [n, n]."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    y, x = y.flatten(), x.flatten()
    return (y[:, None] - y + window - 1) * (2 * window - 1) + x[:, None] - x + window - 1


def shift_mask(grid: tuple[int, int], window: int, shift: int) -> Tensor:
    """The bias of the scores of a rolled map, which separates tokens from opposite edges: [W, n, n]."""
    region = torch.zeros(1, *grid, 1)
    for axis, size in ((1, grid[0]), (2, grid[1])):
        position = torch.arange(size)
        band = (position >= size - window).float() + (position >= size - shift).float()
        region = 3 * region + band.reshape([-1 if i == axis else 1 for i in range(4)])
    regions = split(region, window).squeeze(-1).squeeze(0)
    return torch.where(regions[:, :, None] == regions[:, None, :], 0.0, MASKED_SCORE)


def split(x: Tensor, window: int) -> Tensor:
    """A map [B, H, W, C] as windows [B, HW / n, n, C]."""
    b, h, w, c = x.shape
    x = x.view(b, h // window, window, w // window, window, c)
    return x.transpose(2, 3).reshape(b, -1, window * window, c)


def join(x: Tensor, window: int, grid: tuple[int, int]) -> Tensor:
    """Windows [B, HW / n, n, C] as a map [B, H, W, C]; the inverse of `split`."""
    b, c = x.shape[0], x.shape[-1]  # not len(), which an ONNX export would make a constant
    x = x.view(b, grid[0] // window, grid[1] // window, window, window, c)
    return x.transpose(2, 3).reshape(b, *grid, c)


class WindowAttention(nn.Module):
    """Self-attention inside each window, with a learned bias for each offset between two tokens."""

    mask: Tensor | None
    index: Tensor

    def __init__(self, width: int, heads: int, window: int, mask: Tensor | None) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        self.out = nn.Linear(width, width)
        self.register_buffer("index", relative_index(window), persistent=False)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, W, n, C] -> [B, W, n, C]."""
        if self.mask is not None and attention.on_gpu(x.device):
            return self.windows_as_heads(x)
        b, windows, n, width = x.shape
        qkv = self.qkv(x).view(b * windows, n, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        bias = self.bias(query.dtype)
        if self.mask is not None:  # each window has its own bias, and all images have the same
            query, key, value = (each.unflatten(0, (b, windows)) for each in (query, key, value))
        x = attend(query, key, value, bias)
        return self.out(x.transpose(-3, -2).reshape(b, windows, n, width))

    def bias(self, dtype: torch.dtype) -> Tensor:
        """What is added to the scores, [1, h, n, n], with a mask [W, h, n, n]."""
        bias = self.bias_table[self.index].permute(2, 0, 1).to(dtype)[None]
        return bias if self.mask is None else bias + self.mask[:, None].to(dtype)

    def windows_as_heads(self, x: Tensor) -> Tensor:
        """[B, W, n, C] -> [B, W, n, C], with a mask: the heads of all windows are heads of the image.

        GPUs' kernels take four dimensions. So their bias is [1, W h, n, n], which no image repeats; queries, keys and values are laid out
        so that they need no copies.
        """
        b, windows, n, width = x.shape
        tokens = x.transpose(1, 2).contiguous()
        layers = zip(self.qkv.weight.chunk(3), self.qkv.bias.chunk(3), strict=True)
        projected = [linear(tokens, *layer).view(b, n, windows * self.heads, width // self.heads).transpose(1, 2) for layer in layers]
        x = attend(projected[0], projected[1], projected[2], self.bias(projected[0].dtype).flatten(0, 1)[None])
        return self.out(x.transpose(1, 2).reshape(b, n, windows, width)).transpose(1, 2)


class Block(nn.Module):
    """Attention in (shifted) windows, then an MLP on each token; stochastic depth drops each for a share `drop` of the images."""

    def __init__(self, width: int, heads: int, grid: tuple[int, int], window: int, shift: int, drop: float) -> None:
        super().__init__()
        self.window, self.shift, self.drop = window, shift, drop
        self.attention_norm = nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, window, shift_mask(grid, window, shift) if shift else None)
        self.mlp_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, H, W, C]."""
        x = x + self.stochastic_depth(self.attend(in_product_type(self.attention_norm(x))))
        return x + self.stochastic_depth(self.down(gelu(self.up(self.mlp_norm(x)))))

    def attend(self, x: Tensor) -> Tensor:
        """Attention on the map [B, H, W, C], rolled before and back after in a shifted block."""
        grid = (x.shape[1], x.shape[2])
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        x = join(self.attention(split(x, self.window)), self.window, grid)
        return x.roll((self.shift, self.shift), (1, 2)) if self.shift else x

    def stochastic_depth(self, x: Tensor) -> Tensor:
        """Stochastic depth (Huang et al., 2016): zero for some images, scaled up for the others to keep the mean."""
        if not self.training or self.drop == 0:
            return x
        return x * x.new_empty(len(x), 1, 1, 1).bernoulli_(1 - self.drop).div_(1 - self.drop)


class Merge(nn.Module):
    """Merge each 2x2 tokens into one of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduce = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, H/2, W/2, 2C]."""
        b, h, w, c = x.shape
        x = x.view(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 4, 2, 5)  # rows first, then columns, as in the published weights
        return self.reduce(self.norm(x.reshape(b, h // 2, w // 2, 4 * c)))


class Stage(nn.Module):
    """Blocks on one map, every second one with shifted windows if the map is larger than a window; then optionally a merge."""

    def __init__(self, width: int, heads: int, grid: tuple[int, int], window: int, drops: Sequence[float], merge: bool) -> None:
        super().__init__()
        shift = window // 2 if min(grid) > window else 0
        window = min(window, *grid)
        if grid[0] % window or grid[1] % window:
            raise UserError(
                f"a map of {grid[0]}x{grid[1]} tokens does not divide into windows of {window}x{window}; choose another size or window"
            )
        if merge and (grid[0] % 2 or grid[1] % 2):
            raise UserError(f"a map of {grid[0]}x{grid[1]} tokens cannot be halved; choose another image size")
        self.blocks = nn.ModuleList(Block(width, heads, grid, window, i % 2 * shift, drop) for i, drop in enumerate(drops))
        self.merge = Merge(width) if merge else None

    def forward(self, x: Tensor, checkpointing: bool) -> Tensor:
        """[B, H, W, C] -> [B, H, W, C], or [B, H/2, W/2, 2C] with a merge."""
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if checkpointing else block(x)
        return x if self.merge is None else self.merge(x)


class Swin(MicroBatched, nn.Module):
    """Encodes images [B, 3, height, width] as the mean of the tokens and the tokens, of embed_dim * 2^(stages - 1) channels."""

    def __init__(
        self,
        height: int,
        width: int,
        embed_dim: int = 128,
        depths: Sequence[int] = (2, 2, 18, 2),
        heads: Sequence[int] = (4, 8, 16, 32),
        window: int = 8,
        drop_path: float = 0.1,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if height % PATCH or width % PATCH:
            raise UserError(f"images of {height}x{width} do not divide into patches of {PATCH}x{PATCH}")
        if len(depths) != len(heads):
            raise UserError(f"depths {list(depths)} and heads {list(heads)} of the vision encoder differ in number")
        self.checkpointing = checkpointing
        self.patch = nn.Conv2d(3, embed_dim, PATCH, PATCH)
        self.patch_norm = nn.LayerNorm(embed_dim)
        drops = [drop_path * i / max(1, sum(depths) - 1) for i in range(sum(depths))]  # deeper blocks drop more
        self.stages = nn.ModuleList()
        for i, h in enumerate(heads):
            self.grid = (height // PATCH >> i, width // PATCH >> i)
            self.width = embed_dim << i
            stage_drops = drops[sum(depths[:i]) : sum(depths[: i + 1])]
            self.stages.append(Stage(self.width, h, self.grid, window, stage_drops, merge=i + 1 < len(depths)))
        self.norm = nn.LayerNorm(self.width)
        self.apply(partial(_initialise, std=STD * (WIDTH / embed_dim) ** 0.5))

    def forward(self, images: Tensor) -> Encoded:
        """[B, 3, height, width] -> tokens [B, 1 + N, C], the first of which is the mean of the others and also `pooled`."""
        return self.in_parts(self._encode, images)

    def _encode(self, images: Tensor) -> Encoded:
        checkpointing = self.checkpointing and self.training and torch.is_grad_enabled()
        x = self.patch_norm(self.patch(images).permute(0, 2, 3, 1))
        for stage in self.stages:
            x = stage(x, checkpointing)
        x = self.norm(x).flatten(1, 2)
        mean = x.mean(1)
        return Encoded(torch.cat([mean[:, None], x], 1), pooled=mean, grid=self.grid)


def _initialise(module: nn.Module, std: float) -> None:
    """Truncated normal weights and bias tables, zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, WindowAttention):
        nn.init.trunc_normal_(module.bias_table, std=std)
