"""Trains the embedded Swin, which the preset tiny starts from as the paper's Swin starts from ImageNet, to segment parts of people.

From a thousand small images alone a Swin learns colours but no shapes, such as bare arms. Here a layer predicts from each of its last
tokens the parts of people at 8 x 8 points of the token's patch, another the colours at 4 x 4 points. Both layers are not saved. Background
does not count in the loss.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, grid_sample, mse_loss

from mals.world.parts import PARTS
from mals.world.training.drawn_dataset import DrawnDataset
from mals.world.training.optimization import WeightAverage, optimize, seed_random_numbers

BATCH = 48
PATCH = 16  # pixels: side of the patch that a last token stands for
PART_POINTS, COLOR_POINTS = 8, 4  # points along a side of a patch where parts and colours are predicted
SMALLER, LARGER = 0.3, 0.15  # largest shares by which a side of an image is shrunk, as in the preset, or enlarged
LIGHT = 0.2  # largest change of a channel's contrast; the brightness varies by half as much
COLOR_LOSS_WEIGHT = 2.0
LEARNING_RATE = 1e-3


class PartSegmenter(nn.Module):
    """A Swin with a layer that predicts parts, and one that predicts colours, from its last tokens."""

    def __init__(self, swin: Any) -> None:
        super().__init__()
        self.swin = swin
        self.part_head = nn.Linear(swin.width, len(PARTS) * PART_POINTS**2)
        self.color_head = nn.Linear(swin.width, 3 * COLOR_POINTS**2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images [B, 3, H, W] -> logits of the parts [B, parts, H / 2, W / 2] and colours [B, 3, H / 4, W / 4]."""
        tokens = self.swin(images).tokens[:, 1:]
        return self._to_map(self.part_head(tokens), PART_POINTS), self._to_map(self.color_head(tokens), COLOR_POINTS)

    def _to_map(self, predicted: Tensor, side: int) -> Tensor:
        """[B, N, side² K] -> [B, K, side height, side width]."""
        height, width = self.swin.grid
        predicted = predicted.view(len(predicted), height, width, side, side, -1).permute(0, 5, 1, 3, 2, 4)
        return predicted.reshape(len(predicted), -1, height * side, width * side)


def build() -> Any:
    """The untrained Swin in the sizes of the preset tiny, and mean and standard deviation [3, 1, 1] that normalise its images."""
    from pretrain import settings
    from pretrain.towers.swin import Swin

    config: Any = settings.check({"preset": "tiny"})
    data, vision = config.data, config.aptm.vision
    swin = Swin(data.height, data.width, vision.embed, vision.depths, vision.heads, vision.window, vision.drop_path)
    return swin, *(torch.tensor(values)[:, None, None] for values in (data.mean, data.std))


def draw_batch(dataset: DrawnDataset, rows: np.ndarray, rng: Generator, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Images [B, 3, H, W] in [0, 1], randomly mirrored, shifted and resized, and their parts [B, H / 2, W / 2]."""
    count, (height, width) = len(rows), grid
    zoom = rng.uniform(1 - LARGER, 1 / (1 - SMALLER), (count, 2)).astype(np.float32)  # above 1 a window has a grey border
    shift = rng.uniform(-1, 1, (count, 2)).astype(np.float32) * np.abs(zoom - 1)
    zoom[:, 0] *= np.where(rng.random(count) < 0.5, -1, 1)
    images = torch.from_numpy(np.ascontiguousarray(dataset.pixels[rows])).permute(0, 3, 1, 2).float() / 255
    parts = torch.from_numpy(np.ascontiguousarray(dataset.parts[rows])).unsqueeze(1).float()
    windows = grid_sample(images - 0.5, _window(zoom, shift, height * PATCH, width * PATCH), align_corners=False)
    labels = grid_sample(parts, _window(zoom, shift, height * PART_POINTS, width * PART_POINTS), mode="nearest", align_corners=False)
    contrast = torch.from_numpy(1 + rng.uniform(-LIGHT, LIGHT, (count, 3, 1, 1)).astype(np.float32))
    brightness = torch.from_numpy(rng.uniform(-LIGHT, LIGHT, (count, 1, 1, 1)).astype(np.float32)) / 2
    return (windows * contrast + 0.5 + brightness).clamp(0, 1), labels.squeeze(1).long()


def _window(zoom: np.ndarray, shift: np.ndarray, height: int, width: int) -> Tensor:
    """[B, height, width, 2]: the coordinates of the pixels of each window in its image, whose borders are -1 and 1."""
    y, x = ((np.arange(side, dtype=np.float32) * 2 + 1) / side - 1 for side in (height, width))
    across, down = x * zoom[:, :1] + shift[:, :1], y * zoom[:, 1:] + shift[:, 1:]
    return torch.from_numpy(np.stack(np.broadcast_arrays(across[:, None, :], down[:, :, None]), 3))


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, resume: bool) -> dict[str, Any]:
    """Train for so many minutes and save into `work`/swin, under the names of Microsoft's Swin, which `vision.start` reads."""
    from pretrain.methods.aptm import published_weights

    rng = seed_random_numbers(seed, resume)
    folder = work / "swin"
    swin, mean, deviation = build()
    if resume:
        published_weights.start_swin(swin, str(folder))
    segmenter = PartSegmenter(swin)
    known_rows = dataset.rows_of_own_world  # no person of the world of the next seed, which tests are drawn from
    average = WeightAverage(swin, 0.999)

    def compute_loss(step: int) -> Tensor:
        images, parts = draw_batch(dataset, np.sort(rng.choice(known_rows, BATCH)), rng, swin.grid)
        part_logits, colors = segmenter((images - mean) / deviation)
        part_loss = cross_entropy(part_logits, parts, ignore_index=PARTS.index("background"))
        return part_loss + COLOR_LOSS_WEIGHT * mse_loss(colors, adaptive_avg_pool2d(images, colors.shape[2:]))

    results = optimize("swin", segmenter.parameters(), compute_loss, minutes, LEARNING_RATE, lambda step: average.update(swin))
    folder.mkdir(exist_ok=True)
    state = {f"swin.{name}": value.half().contiguous() for name, value in average.model.state_dict().items()}
    published_names = {name.removeprefix("vision_encoder."): value for name, value in published_weights.to_theirs(state).items()}
    save_file(published_names, folder / "model.safetensors", {"format": "pt"})
    return results
