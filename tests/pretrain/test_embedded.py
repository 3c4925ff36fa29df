"""The Swin that comes with mals, which the preset tiny starts from."""

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mals.errors import UserError
from mals.models import WEIGHTS
from mals.world.parts import PARTS, part_map
from mals.world.scene import draw_image
from mals.world.training.swin import build
from pretrain import settings
from pretrain.methods.aptm import published_weights
from pretrain.methods.aptm.initial_weights import EMBEDDED, start_vision
from pretrain.towers.swin import Swin

SEED, ROWS, LEARNT = 77, 160, 120  # a world that it has not seen


def shares(number: int, side: int) -> np.ndarray:
    """[side², parts]: how much of each token's patch shows what."""
    shown = np.eye(len(PARTS), dtype=np.float32)[part_map(SEED, number, number % 6)]
    patches = np.stack([cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA) for one in np.moveaxis(shown, 2, 0)], 2)
    return patches.reshape(side * side, -1)


def error(swin: Swin, images: Tensor, targets: Tensor) -> float:
    """Squared error of the best linear map of the tokens on images that it was not fitted to, as a share of the variance."""
    with torch.no_grad():
        tokens = swin.eval()(images).tokens[:, 1:]
    tokens = torch.cat([tokens, torch.ones_like(tokens[..., :1])], 2)
    known, held_tokens = (part.flatten(0, 1) for part in (tokens[:LEARNT], tokens[LEARNT:]))
    fitted_targets, true = (part.flatten(0, 1) for part in (targets[:LEARNT], targets[LEARNT:]))
    read = torch.linalg.solve(known.T @ known + torch.eye(known.shape[1]), known.T @ fitted_targets)
    return float((held_tokens @ read - true).pow(2).mean() / true.var(0).mean())


def test_the_embedded_swin_tells_the_parts_of_people() -> None:
    (swin, mean, deviation), untrained = build(), build()[0]
    start_vision(swin, EMBEDDED)
    side = swin.grid[0]
    shown = [cv2.resize(draw_image(SEED, n, n % 6).pixels, (side * 16, side * 16), interpolation=cv2.INTER_AREA) for n in range(ROWS)]
    images = (torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).float() / 255 - mean) / deviation
    targets = torch.from_numpy(np.stack([shares(n, side) for n in range(ROWS)]))
    after, before = error(swin, images, targets), error(untrained, images, targets)
    assert after < 0.6 * before, (after, before)


def test_tiny_starts_from_the_embedded_swin_and_other_sizes_say_how() -> None:
    config = settings.check({"preset": "tiny"})
    assert config.aptm.vision.start == EMBEDDED
    swin = build()[0]
    start_vision(swin, EMBEDDED)
    file = load_file(WEIGHTS / "swin" / "model.safetensors")
    for name, value in swin.state_dict().items():
        assert torch.equal(value, file[str(published_weights.theirs(f"swin.{name}")).removeprefix("vision_encoder.")].float()), name
    with pytest.raises(UserError, match=r"sizes; for others --set aptm\.vision\.start=null"):
        start_vision(Swin(64, 32, 16, (2, 2, 2), (1, 2, 4), 4), EMBEDDED)
