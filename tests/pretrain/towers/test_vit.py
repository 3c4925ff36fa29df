"""The vision transformer: timm's, without its last blocks; drop path of the whole depth; sizes that cannot be."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from mals.errors import UserError
from pretrain.towers.vit import Vit

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


def test_checkpointing_recomputes_in_training_alone_with_the_same_gradients() -> None:
    torch.manual_seed(0)
    plain, images = Vit(32, 16, **SIZES), torch.randn(2, 3, 32, 16)
    saving = Vit(32, 16, **SIZES, checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    for vit in (plain, saving):
        vit(images).tokens.sin().sum().backward()
    for one, two in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)
    assert saving.train().grad_checkpointing and not saving.eval().grad_checkpointing and not plain.train().grad_checkpointing


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
