"""Text-guided image restoration (TIR): a gray image of which most patches were dropped is restored from its caption.

The names of the parameters in the authors' checkpoints are in THEIR_NAMES; their modules without use are left out.

Shapes: B images, N patches of a grid h x w, K patches that are kept, L tokens of a caption, D width of the tokens, P numbers of a patch.
"""

import torch
from open_clip.transformer import LayerNorm
from torch import Tensor, nn

from mals.errors import UserError
from pretrain.towers.clip import Transformer, attention, heads_of, initialise_attention
from pretrain.towers.micro_batches import MicroBatched

GRAY = (0.2989, 0.5870, 0.1140)  # weights of red, green and blue (ITU-R BT.601)
LOWEST_FREQUENCY = 10_000.0  # of the positions: wave lengths are 2 pi to 2 pi times this
THEIR_NAMES = {
    "norm_1": "norm_image",
    "decoder_embed": "narrow",
    "mask_token": "mask_token",
    "norm_4": "norm_query",
    "norm_2": "norm_text",
    "cross_attn_Text": "cross_attention",
    "norm_6": "norm_before",
    "cross_modal_transformer_mae": "cross_transformer",
    "norm_7": "norm_after",
    "decoder_pred": "predict",
}
UNUSED = r"(decoder_pos_embed|cross_attn_(Image|TextImage)|norm_(3|5))\b"  # in their checkpoints: fixed, or without gradient


class Restoration(MicroBatched, nn.Module):
    """The decoder of TIR: kept tokens of the gray image, mask tokens for the others, and one look at the caption."""

    positions: Tensor

    def __init__(
        self, grid: tuple[int, int], patch: int, embed: int, *, layers: int = 4, heads: int | None = None, checkpointing: bool = False
    ) -> None:
        """`grid` is h and w, `patch` pixels a side, `embed` D."""
        super().__init__()
        if embed % 4:
            raise UserError(f"positions of {embed} numbers do not divide into sines and cosines of rows and columns; 4 divides uit.embed")
        self.grid, self.patch = grid, patch
        self.norm_image, self.narrow = LayerNorm(embed), nn.Linear(embed, embed)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed))
        self.norm_query, self.norm_text = LayerNorm(embed), LayerNorm(embed)
        self.cross_attention = nn.MultiheadAttention(embed, heads_of(embed, heads), batch_first=True)
        self.norm_before, self.norm_after = LayerNorm(embed), LayerNorm(embed)
        self.cross_transformer = Transformer(embed, layers, heads, checkpointing)
        self.predict = nn.Linear(embed, 3 * patch * patch)
        self.register_buffer("positions", sine_positions(grid, embed), persistent=False)
        initialise_attention(self.cross_attention, layers)
        self.cross_transformer.initialise()

    def forward(self, kept: Tensor, order: Tensor, text: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens of a gray image [B, 1 + K, D], the global one first, and of its caption [B, L, D] -> all patches [B, N, P].

        `order` [B, N] are the patches' numbers, of which the first K are kept; with `mask` [B, L] padding is not looked at.
        """
        return self.in_parts(self._restore, kept, order, text, mask)

    def _restore(self, kept: Tensor, order: Tensor, text: Tensor, mask: Tensor | None) -> Tensor:
        bias = None if mask is None else torch.zeros_like(mask, dtype=text.dtype).masked_fill(~mask, float("-inf"))[:, None, None]
        query, source = self.norm_query(self.place(kept, order)), self.norm_text(text)
        attended, _ = attention(self.cross_attention, query, source, bias)
        restored, _ = self.cross_transformer(self.norm_before(attended))
        out: Tensor = self.predict(self.norm_after(restored)[:, 1:])
        return out

    def place(self, kept: Tensor, order: Tensor) -> Tensor:
        """The kept tokens at their places, mask tokens at the others, the global token first, with positions: [B, 1 + N, D]."""
        narrow = self.narrow(self.norm_image(kept))
        dropped = self.mask_token.to(narrow.dtype).expand(len(kept), order.shape[1] - kept.shape[1] + 1, -1)
        shuffled = torch.cat([narrow[:, 1:], dropped], 1)
        placed = shuffled.gather(1, order.argsort(1)[..., None].expand(-1, -1, narrow.shape[2]))
        return torch.cat([narrow[:, :1], placed], 1) + self.positions.to(narrow.dtype)


def gray(images: Tensor) -> Tensor:
    """Normalised images [B, 3, H, W] without colour: three equal channels."""
    weights = torch.tensor(GRAY, dtype=images.dtype, device=images.device)
    return (images * weights[:, None, None]).sum(1, keepdim=True).expand_as(images)


def patches(images: Tensor, size: int) -> Tensor:
    """[B, 3, H, W] -> [B, N, P]: row by row, in a patch the same, the channels of a pixel beside each other."""
    rows, columns = images.shape[2] // size, images.shape[3] // size
    cut = images.unflatten(2, (rows, size)).unflatten(4, (columns, size))
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def kept_count(count: int, drop: float) -> int:
    """How many of `count` patches stay when this share of all tokens, the global one among them, is dropped; at least one."""
    return max(1, int((1 + count) * (1 - drop)) - 1)


def sine_positions(grid: tuple[int, int], width: int) -> Tensor:
    """Fixed positions [1 + h * w, width]: sines and cosines of the column, then of the row (He et al., CVPR 2022); 0 for the first one."""
    frequencies = LOWEST_FREQUENCY ** -(torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in grid), indexing="ij")
    angles = [places.flatten()[:, None] * frequencies for places in (columns, rows)]
    table = torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], 1)
    return torch.cat([torch.zeros(1, width), table.float()])
