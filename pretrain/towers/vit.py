"""A vision transformer of timm whose last blocks and last norm may be left out, as LGUR uses DeiT-small (Touvron et al., 2021).

Shapes: B images, N patches of an image, C channels of a token.
"""

from collections.abc import Mapping
from typing import Self

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from mals.errors import UserError
from pretrain.method import Encoded
from pretrain.towers.micro_batches import MicroBatched
from pretrain.towers.positions import resize_positions

POSITIONS = "pos_embed"


class Vit(MicroBatched, VisionTransformer):
    """Encodes images [B, 3, height, width] as all tokens after the last block; parameters have the names of timm, TransReID and MAE.

    `blocks` of the `layers` blocks are built and run. `drop_path` is the probability that an image skips block `layers`; for the blocks
    before it is lower, linearly, so that leaving out the last blocks does not change that of the others.
    """

    def __init__(
        self,
        height: int,
        width: int,
        *,
        patch: int = 16,
        channels: int = 384,
        layers: int = 12,
        blocks: int | None = None,
        heads: int = 6,
        inter: int = 1536,
        drop_path: float = 0.0,
        norm: bool = False,
        checkpointing: bool = False,
    ) -> None:
        """`channels` is C, `inter` the channels inside an MLP; `norm` adds a layer norm behind the last block. UserError for bad sizes."""
        if height % patch or width % patch:
            raise UserError(f"images of {height}x{width} do not divide into patches of {patch}x{patch}")
        if channels % heads:
            raise UserError(f"{channels} channels of the vision encoder do not divide into {heads} heads")
        built = layers if blocks is None else blocks
        if not 0 < built <= layers:
            raise UserError(f"{built} of {layers} blocks of the vision encoder cannot be run")
        super().__init__(
            img_size=(height, width),
            patch_size=patch,
            num_classes=0,
            embed_dim=channels,
            depth=built,
            num_heads=heads,
            mlp_ratio=inter / channels,
            drop_path_rate=drop_path * (built - 1) / max(1, layers - 1),
            final_norm=norm,
        )
        self.grid = (height // patch, width // patch)
        self.width, self.checkpointing = channels, checkpointing
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Activations are recomputed in training alone."""
        self.set_grad_checkpointing(self.checkpointing and mode)
        return super().train(mode)

    def forward(self, images: Tensor) -> Encoded:  # type: ignore[override]  # timm's returns the class token's projection
        """[B, 3, height, width] -> tokens [B, 1 + N, C], the first of which is the class token and also `pooled`."""
        return self.in_parts(self._encode, images)

    def _encode(self, images: Tensor) -> Encoded:
        tokens = self.forward_features(images)
        return Encoded(tokens, pooled=tokens[:, 0], grid=self.grid)

    def adapt(self, state: Mapping[str, Tensor], source: str, grid: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Weights with timm's names, read for this encoder: the position table is resized to its grid, once.

        `grid` are the rows and columns of the table in `source` (None: those of this encoder where the numbers agree, else a square). A
        distillation token (`dist_token`) and its position are left out.
        """
        state = dict(state)
        if POSITIONS in state:
            table, tokens = state[POSITIONS].float(), 2 if "dist_token" in state else 1
            rest = table.shape[1] - tokens
            old = grid or (self.grid if rest == self.grid[0] * self.grid[1] else (round(max(rest, 0) ** 0.5),) * 2)
            if old[0] * old[1] != rest:
                raise UserError(f"{source} has {rest:,} positions of patches, which are no grid of {old[0]}x{old[1]}")
            state[POSITIONS] = resize_positions(torch.cat([table[0, :1], table[0, tokens:]]), old, self.grid)[None]
        return {name: value for name, value in state.items() if name != "dist_token"}
