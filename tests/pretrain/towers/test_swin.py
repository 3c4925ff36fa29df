"""The vision encoder: equal to the published one, with windows where they should be."""

import pytest
import torch
from torch.nn.functional import normalize

from mals.errors import UserError
from pretrain.towers import swin
from pretrain.towers.swin import MASKED_SCORE, Block, Swin, WindowAttention, join, relative_index, shift_mask, split
from tests.pretrain.towers.towers import count, full, golden, near


def tiny(**extra) -> Swin:
    torch.manual_seed(0)
    return Swin(64, 32, embed_dim=8, depths=(2, 2), heads=(1, 2), window=4, **extra)


@pytest.mark.golden
def test_tokens_and_features_equal_the_published_ones():
    towers, vectors = golden()
    with torch.no_grad():
        encoded = towers.swin(vectors["in.image"])
        features = normalize(towers.vision_proj(encoded.pooled), dim=-1)
    near(encoded.tokens, vectors["out.image_embeds"])
    near(features, vectors["out.image_feat"])
    assert encoded.grid == (6, 2)


def test_full_size():
    swin = full().swin
    assert count(swin) == 86_753_016 and swin.grid == (12, 4) and swin.width == 1024
    geometry = [[(block.window, block.shift) for block in stage.blocks] for stage in swin.stages]
    assert geometry == [[(8, 0), (8, 4)], [(8, 0), (8, 4)], [(8, 0)] * 18, [(4, 0)] * 2]
    assert [tuple(stage.blocks[0].attention.bias_table.shape) for stage in swin.stages] == [(225, 4), (225, 8), (225, 16), (49, 32)]


def test_drop_path_grows_linearly():
    drops = [block.drop for stage in full().swin.stages for block in stage.blocks]
    torch.testing.assert_close(torch.tensor(drops), torch.linspace(0, 0.1, 24))


def test_global_token_is_the_mean_of_the_others():
    encoded = tiny().eval()(torch.randn(2, 3, 64, 32))
    assert encoded.tokens.shape == (2, 1 + 8 * 4, 16) and encoded.grid == (8, 4)
    torch.testing.assert_close(encoded.tokens[:, 0], encoded.tokens[:, 1:].mean(1))
    torch.testing.assert_close(encoded.tokens[:, 0], encoded.pooled)


def test_join_undoes_split_and_windows_are_squares():
    x = torch.arange(2 * 8 * 4 * 3.0).view(2, 8, 4, 3)
    windows = split(x, 4)
    assert windows.shape == (2, 2, 16, 3)
    torch.testing.assert_close(windows[1, 1].view(4, 4, 3), x[1, 4:, :])
    torch.testing.assert_close(join(windows, 4, (8, 4)), x)


def test_relative_index_numbers_offsets():
    index = relative_index(3)
    for a in range(9):
        for b in range(9):
            dy, dx = a // 3 - b // 3, a % 3 - b % 3
            assert index[a, b] == (dy + 2) * 5 + dx + 2


@pytest.mark.parametrize("half", [False, True])
def test_windows_as_heads_have_the_outputs_and_gradients_of_windows_alone(half):
    torch.manual_seed(0)
    attention = WindowAttention(16, 2, 4, shift_mask((12, 8), 4, 2))
    x, results = torch.randn(3, 6, 16, 16, requires_grad=True), []
    torch.nn.init.normal_(attention.bias_table)
    for way in (attention, attention.windows_as_heads):
        attention.zero_grad()
        x.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            y = way(x)
        y.float().sin().sum().backward()
        results.append([y.float(), x.grad, *(p.grad for p in attention.parameters())])
    scale = 0.03 if half else 1e-5
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=scale * float(first.detach().abs().max()))


def test_no_image_repeats_the_bias_of_the_windows(monkeypatch):
    """Neither on a CPU nor as laid out for a GPU, whose kernels take four dimensions."""
    attention, shapes = WindowAttention(16, 2, 4, shift_mask((12, 8), 4, 2)), []
    torch.nn.init.zeros_(attention.bias_table)
    attend = swin.attend
    monkeypatch.setattr(swin, "attend", lambda *args: (shapes.append(tuple(args[3].shape)), attend(*args))[1])
    for way in (attention, attention.windows_as_heads):
        way(torch.randn(3, 6, 16, 16))
    assert shapes == [(6, 2, 16, 16), (1, 12, 16, 16)]


def test_shifted_windows_see_only_true_neighbours():
    height, width, window, shift = 12, 8, 4, 2
    position = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1)
    rolled = split(position.roll((-shift, -shift), (0, 1))[None], window)[0]  # where each token of a window comes from
    plain = split(position[None], window)[0]
    separated = (rolled[:, :, None] - rolled[:, None]) != (plain[:, :, None] - plain[:, None])
    mask = shift_mask((height, width), window, shift)
    assert torch.equal(mask == MASKED_SCORE, separated.any(-1)) and set(mask.unique().tolist()) == {MASKED_SCORE, 0.0}


def reach(block: Block, grid: tuple[int, int]) -> torch.Tensor:
    """Which positions of the map influence the token in its middle."""
    x = torch.randn(1, *grid, 8, requires_grad=True)
    block(x)[0, grid[0] // 2, grid[1] // 2].sum().backward()
    return x.grad.abs().sum(-1)[0] > 0


def test_a_window_as_wide_as_the_map_is_not_shifted_and_attends_to_no_other():
    swin = Swin(96, 32, embed_dim=8, depths=(2,), heads=(1,), window=8)
    for block in swin.eval().stages[0].blocks:
        reached = reach(block, (24, 8))
        assert reached[8:16].all() and reached.sum() == 64


def test_shifted_windows_cross_the_borders_of_plain_ones():
    plain, shifted = tiny().eval().stages[0].blocks
    assert reach(plain, (16, 8)).nonzero().amin(0).tolist() == [8, 4]
    assert reach(shifted, (16, 8)).nonzero().amin(0).tolist() == [6, 2]


def test_stochastic_depth_is_zero_or_scaled_up():
    block = tiny(drop_path=0.5).train().stages[1].blocks[1]
    assert block.drop == 0.5
    factors = block.stochastic_depth(torch.ones(4000, 1, 1, 1)).flatten()
    assert set(factors.tolist()) == {0.0, 2.0} and 0.95 < factors.mean() < 1.05
    assert torch.equal(block.eval().stochastic_depth(torch.ones(9, 1, 1, 1)), torch.ones(9, 1, 1, 1))


def test_checkpointing_changes_no_number():
    images, results = torch.randn(4, 3, 64, 32), []
    for checkpointing in (False, True):
        swin = tiny(drop_path=0.5, checkpointing=checkpointing).train()
        torch.manual_seed(1)
        tokens = swin(images).tokens
        tokens.square().sum().backward()
        results.append([tokens.detach(), *(p.grad for p in swin.parameters())])
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


def test_every_parameter_learns():
    swin = tiny(drop_path=0.0).train()
    swin(torch.randn(2, 3, 64, 32)).tokens.square().mul(torch.rand(16)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in swin.parameters())


def test_half_precision_is_near():
    swin, images = tiny().eval(), torch.randn(2, 3, 64, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = swin(images).tokens.float()
    assert (half - swin(images).tokens).abs().max() < 0.1


@pytest.mark.parametrize(("sizes", "message"), [((62, 32), "patches"), ((64, 40), "windows"), ((40, 20), "halved")])
def test_sizes_that_do_not_divide_are_refused(sizes, message):
    with pytest.raises(UserError, match=message):
        Swin(*sizes, embed_dim=8, depths=(1, 1), heads=(1, 1), window=4 if message != "halved" else 5)
