"""The vision transformer: timm's, without its last blocks; drop path of the whole depth; sizes that cannot be."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from mals.errors import UserError
from pretrain.towers.vit import Vit, resize_positions

SIZES = {"patch": 8, "channels": 24, "layers": 4, "heads": 2, "inter": 48}


def test_tokens_are_timms_after_the_blocks_that_are_run() -> None:
    torch.manual_seed(0)
    timm = VisionTransformer((32, 16), 8, num_classes=0, embed_dim=24, depth=4, num_heads=2, mlp_ratio=2, final_norm=False).eval()
    vit, images = Vit(32, 16, **SIZES, blocks=3).eval(), torch.randn(2, 3, 32, 16)
    vit.load_state_dict({name: value for name, value in timm.state_dict().items() if "blocks.3." not in name})
    del timm.blocks[3]
    encoded = vit(images)
    torch.testing.assert_close(encoded.tokens, timm.forward_features(images))
    assert encoded.grid == (4, 2) and encoded.tokens.shape == (2, 9, 24) and torch.equal(encoded.pooled, encoded.tokens[:, 0])


def test_drop_path_is_that_of_the_whole_depth() -> None:
    whole, part = Vit(32, 16, **SIZES, drop_path=0.3), Vit(32, 16, **SIZES, drop_path=0.3, blocks=3)
    rates = [[getattr(block.drop_path1, "drop_prob", 0.0) for block in vit.blocks] for vit in (whole, part)]
    assert rates[0] == pytest.approx([0.0, 0.1, 0.2, 0.3]) and rates[1] == pytest.approx([0.0, 0.1, 0.2])


def test_positions_are_resized_along_rows_and_columns() -> None:
    rows = torch.arange(4.0)[:, None].expand(4, 4)
    table = torch.cat([torch.full((1, 1, 2), 9.0), torch.stack([rows, rows.T], 2).flatten(0, 1)[None]], 1)
    resized = resize_positions(table, (4, 4), (8, 2))
    assert resized.shape == (1, 17, 2) and torch.equal(resized[:, 0], table[:, 0])
    down, across = resized[0, 1:].view(8, 2, 2).unbind(2)
    torch.testing.assert_close(down[:, 0], torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]))
    torch.testing.assert_close(across[0], torch.tensor([0.5, 2.5]))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"patch": 7}, "images of 32x16 do not divide into patches of 7x7"),
        ({"heads": 5}, "24 channels of the vision encoder do not divide into 5 heads"),
        ({"blocks": 5}, "5 of 4 blocks of the vision encoder cannot be run"),
    ],
)
def test_impossible_sizes_are_one_sentence(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        Vit(32, 16, **SIZES | sizes)
