"""Trains the autoencoder's decoder further on latents that stay as they are, so that a generator trained on them stays right.

A little noise on the latents makes it forgive what a denoiser leaves.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mals.world.training.autoencoder import BATCH, distance, inside, levels, quality
from mals.world.training.drawn_dataset import DrawnDataset
from mals.world.training.generator import encoded
from mals.world.training.optimization import half, optimize

NOISE = 0.1  # deviation, of latents of deviation 1


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, go_on: bool) -> dict[str, Any]:
    """Train for so many minutes and save the autoencoder, its encoder unchanged, into `work`/autoencoder."""
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(seed + go_on)  # other pictures than those of the first steps
    rng = np.random.default_rng(seed + go_on)
    model: Any = AutoencoderKL.from_pretrained(work / "autoencoder")
    latents = encoded(dataset, model, work / "latents.npy")
    rows = dataset.sound
    model.encoder.requires_grad_(False)
    model.quant_conv.requires_grad_(False)

    def loss_of(step: int, gone: float) -> Any:
        at = np.sort(rng.choice(len(rows), BATCH, replace=False))
        pictures, weight = levels(dataset.pixels[rows[at]]), inside(dataset.boxes[rows[at], 0])
        mirror = int(rng.integers(2))
        if mirror:
            pictures, weight = pictures.flip(3), weight.flip(3)
        given = torch.from_numpy(latents[mirror, at]).float()
        with half():
            made = model.decode((given + NOISE * torch.randn_like(given)) / model.config.scaling_factor).sample.float()
        return distance(made, pictures, weight)

    facts = optimize("decoder", model.parameters(), loss_of, minutes, 1e-3)
    model.eval().save_pretrained(work / "autoencoder")
    return facts | {"psnr": quality(model, dataset)[0]}
