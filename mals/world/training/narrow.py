"""Narrows the deepest level of the trained autoencoder, so that all models that ship stay under 30 MB, and trains what is left.

The narrow encoder learns the latents of the wide one, so that a generator trained on them stays right; the decoder learns to read them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mals.world.training.autoencoder import BATCH, build, distance, inside, levels, quality
from mals.world.training.decoder import NOISE
from mals.world.training.drawn_dataset import DrawnDataset
from mals.world.training.generator import encoded
from mals.world.training.optimization import half, optimize

WIDE, KEPT, GROUPS = 160, 112, 8  # channels of the deepest level before and after, and of both the groups that are normed together


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, go_on: bool) -> dict[str, Any]:
    """Train for so many minutes and save the narrow autoencoder into `work`/narrow."""
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(seed + go_on)
    rng = np.random.default_rng(seed + go_on)
    teacher: Any = AutoencoderKL.from_pretrained(work / "autoencoder")
    latents = encoded(dataset, teacher, work / "latents.npy")
    model: Any = AutoencoderKL.from_pretrained(work / "narrow") if go_on else narrowed(teacher)
    rows, scale = dataset.sound, teacher.config.scaling_factor

    def loss_of(step: int, gone: float) -> Any:
        at = np.sort(rng.choice(len(rows), BATCH, replace=False))
        pictures, weight = levels(dataset.pixels[rows[at]]), inside(dataset.boxes[rows[at], 0])
        mirror = int(rng.integers(2))
        if mirror:
            pictures, weight = pictures.flip(3), weight.flip(3)
        given = torch.from_numpy(latents[mirror, at]).float()
        learns = step % 4 == 0  # the encoder has less to learn, and only pictures to start from need it
        with half():
            made = model.decode((given + NOISE * torch.randn_like(given)) / scale).sample.float()
            mean = model.encode(pictures).latent_dist.mean.float() * scale if learns else None
        off = distance(made, pictures, weight)
        return off if mean is None else off + (mean - given).pow(2).mean()

    facts = optimize("narrow", model.parameters(), loss_of, minutes, 1e-3)
    model.eval().save_pretrained(work / "narrow")
    return facts | {"psnr": quality(model, dataset)[0]}


def narrowed(teacher: Any) -> Any:
    """The autoencoder with KEPT of WIDE channels in its deepest level, weights of the channels that stay; of each group the first ones."""
    import torch

    model = build(KEPT)
    model.register_to_config(scaling_factor=teacher.config.scaling_factor)
    kept = torch.arange(WIDE).view(GROUPS, -1)[:, : KEPT // GROUPS].flatten()
    state = teacher.state_dict()
    for name, value in model.state_dict().items():
        given = state[name]
        for axis, size in enumerate(given.shape[:2]):
            if size != value.shape[axis]:
                given = given.index_select(axis, kept)
        value.copy_(given)
    return model
