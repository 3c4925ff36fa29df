"""Trains the embedded Swin that the preset tiny starts from, as the paper's starts from ImageNet: it tells the parts of people.

A thousand small pictures teach a Swin from scratch colours but no shapes, such as bare arms. Each of its last tokens here names the parts
of people at 8 x 8 places of its patch, and the colours at 4 x 4; the layers that do so are thrown away. Places with nobody do not count.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, grid_sample, mse_loss

from mals import settings
from mals.world.parts import PARTS
from mals.world.training.drawn_dataset import DrawnDataset
from mals.world.training.optimization import Average, optimize

BATCH = 48
PATCH = 16  # pixels of a picture that a side of a last token stands for
PLACES, TONES = 8, 4  # a side of a token's patch where parts are told, and colours
SMALLER, LARGER = 0.3, 0.15  # shares by which a side of a picture is shown smaller, as the preset does, or larger
LIGHT = 0.2  # by how much a colour's contrast, and half as much the light, vary
COLOUR_LOSS = 2.0  # weight of the colours' squared error
RATE = 1e-3


class Teller(nn.Module):
    """A Swin whose tokens tell what they show."""

    def __init__(self, swin: Any) -> None:
        super().__init__()
        self.swin = swin
        self.parts = nn.Linear(swin.width, len(PARTS) * PLACES**2)
        self.tones = nn.Linear(swin.width, 3 * TONES**2)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised [B, 3, H, W] -> scores of the parts [B, parts, H / 2, W / 2] and colours [B, 3, H / 4, W / 4]."""
        tokens = self.swin(pictures).tokens[:, 1:]
        return self._map(self.parts(tokens), PLACES), self._map(self.tones(tokens), TONES)

    def _map(self, told: Tensor, side: int) -> Tensor:
        """[B, N, side² K] -> [B, K, side height, side width]."""
        height, width = self.swin.grid
        told = told.view(len(told), height, width, side, side, -1).permute(0, 5, 1, 3, 2, 4)
        return told.reshape(len(told), -1, height * side, width * side)


def build() -> Any:
    """The untrained Swin, in the sizes of the preset tiny, and the mean and deviation of what it is shown."""
    from pretrain.config import TRAINING
    from pretrain.towers.swin import Swin

    config: Any = settings.check_kind({"preset": "tiny"}, "tiny", TRAINING)
    data, vision = config.data, config.vision
    swin = Swin(data.height, data.width, vision.embed, vision.depths, vision.heads, vision.window, vision.drop_path)
    return swin, *(torch.tensor(values)[:, None, None] for values in (data.mean, data.std))


def batch(dataset: DrawnDataset, rows: np.ndarray, rng: Generator, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Pictures [B, 3, H, W] in 0 ... 1, mirrored, moved and resized by chance, and the parts [B, H / 2, W / 2] that they show."""
    count, (height, width) = len(rows), grid
    zoom = rng.uniform(1 - LARGER, 1 / (1 - SMALLER), (count, 2)).astype(np.float32)  # of the window looked at; above 1 it sees grey around
    shift = rng.uniform(-1, 1, (count, 2)).astype(np.float32) * np.abs(zoom - 1)
    zoom[:, 0] *= np.where(rng.random(count) < 0.5, -1, 1)
    pictures = torch.from_numpy(np.ascontiguousarray(dataset.pixels[rows])).permute(0, 3, 1, 2).float() / 255
    parts = torch.from_numpy(np.ascontiguousarray(dataset.parts[rows])).unsqueeze(1).float()
    shown = grid_sample(pictures - 0.5, _window(zoom, shift, height * PATCH, width * PATCH), align_corners=False)
    told = grid_sample(parts, _window(zoom, shift, height * PLACES, width * PLACES), mode="nearest", align_corners=False)
    contrast = torch.from_numpy(1 + rng.uniform(-LIGHT, LIGHT, (count, 3, 1, 1)).astype(np.float32))
    level = torch.from_numpy(rng.uniform(-LIGHT, LIGHT, (count, 1, 1, 1)).astype(np.float32)) / 2
    return (shown * contrast + 0.5 + level).clamp(0, 1), told.squeeze(1).long()


def _window(zoom: np.ndarray, shift: np.ndarray, height: int, width: int) -> Tensor:
    """[B, height, width, 2]: where pixels of windows lie in their pictures, which go from -1 to 1."""
    y, x = ((np.arange(side, dtype=np.float32) * 2 + 1) / side - 1 for side in (height, width))
    across, down = x * zoom[:, :1] + shift[:, :1], y * zoom[:, 1:] + shift[:, 1:]
    return torch.from_numpy(np.stack(np.broadcast_arrays(across[:, None, :], down[:, :, None]), 3))


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, go_on: bool) -> dict[str, Any]:
    """Train for so many minutes and save into `work`/swin, under the names of Microsoft's Swin, which `vision.start` reads."""
    from pretrain.methods.aptm import published_weights

    torch.manual_seed(seed + go_on)  # other pictures than those of the first steps
    rng = np.random.default_rng(seed + go_on)
    to = work / "swin"
    swin, mean, deviation = build()
    if go_on:
        published_weights.start_swin(swin, str(to))
    teller, known = Teller(swin), dataset.own  # nobody of whom a benchmark of the next world asks
    average = Average(swin, 0.999)

    def loss_of(step: int, gone: float) -> Tensor:
        pictures, parts = batch(dataset, np.sort(rng.choice(known, BATCH)), rng, swin.grid)
        told, tones = teller((pictures - mean) / deviation)
        named = cross_entropy(told, parts, ignore_index=PARTS.index("background"))
        return named + COLOUR_LOSS * mse_loss(tones, adaptive_avg_pool2d(pictures, tones.shape[2:]))

    facts = optimize("swin", teller.parameters(), loss_of, minutes, RATE, lambda step: average.take(swin))
    to.mkdir(exist_ok=True)
    state = {f"swin.{name}": value.half().contiguous() for name, value in average.model.state_dict().items()}
    named = {name.removeprefix("vision_encoder."): value for name, value in published_weights.to_theirs(state).items()}
    save_file(named, to / "model.safetensors", {"format": "pt"})
    return facts
