"""Trains the autoencoder of the embedded generator: images of 128 x 64 pixels into latents of 16 x 8 and back."""

from pathlib import Path
from typing import Any

import numpy as np

from mals.world.training.drawn_dataset import HEIGHT, WIDTH, DrawnDataset
from mals.world.training.optimization import bfloat16, optimize, seed_random_numbers

CHANNELS = 8  # of a latent
BATCH = 12


def build(deepest_channels: int = 160) -> Any:
    """The untrained autoencoder, with so many channels in its deepest level."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[16, 32, 96, deepest_channels],
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
    )


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, resume: bool) -> dict[str, Any]:
    """Train for so many minutes and save into `work`/autoencoder, with a scaling factor that gives latents a standard deviation of 1."""
    from diffusers import AutoencoderKL

    rng = seed_random_numbers(seed, resume)
    model = AutoencoderKL.from_pretrained(work / "autoencoder") if resume else build()
    sound_rows = dataset.sound_rows

    def compute_loss(step: int) -> Any:
        rows = np.sort(rng.choice(sound_rows, BATCH, replace=False))
        images, weight = to_tensor(dataset.pixels[rows]), pixel_weights(dataset.boxes[rows, 0])
        with bfloat16():
            latent = model.encode(images).latent_dist
            decoded = model.decode(latent.sample()).sample.float()
        mean = latent.mean.float()
        divergence = mean.pow(2).mean() + latent.var.float().mean() - latent.logvar.float().mean()
        return image_distance(decoded, images, weight) + 1e-4 * divergence

    results = optimize("autoencoder", model.parameters(), compute_loss, minutes, 1.5e-3)
    psnr, deviation = measure(model.eval(), dataset)
    model.register_to_config(scaling_factor=1 / deviation)
    model.save_pretrained(work / "autoencoder")
    return results | {"psnr": psnr, "scaling_factor": round(1 / deviation, 4)}


def measure(model: Any, dataset: DrawnDataset) -> tuple[float, float]:
    """Mean PSNR of reconstructed images in dB, and the standard deviation of their latents."""
    import torch

    with torch.inference_mode():
        images = to_tensor(dataset.pixels[dataset.sound_rows[:512]])
        latents = torch.cat([model.encode(batch).latent_dist.mean for batch in images.split(64)])
        decoded = torch.cat([model.decode(batch).sample for batch in latents.split(64)]).clamp(-1, 1)
    error = ((decoded - images) / 2).pow(2).mean((1, 2, 3))
    return round(float((-10 * error.log10()).mean()), 2), float(latents.std())


def pixel_weights(boxes: np.ndarray) -> Any:
    """[B, 1, 128, 64]: the loss weight of each pixel, larger within the person's box [B, 4] than around it."""
    import torch

    x, y = np.arange(WIDTH), np.arange(HEIGHT)
    columns = (x >= boxes[:, :1]) & (x <= boxes[:, 2:3])
    rows = (y >= boxes[:, 1:2]) & (y <= boxes[:, 3:])
    return torch.from_numpy(np.where(rows[:, :, None] & columns[:, None], 1.6, 0.6).astype(np.float32))[:, None]


def image_distance(decoded: Any, images: Any, weight: Any) -> Any:
    """Mean absolute and squared error of the pixels, and half the mean absolute error of their differences to neighbours (edges)."""
    error = decoded - images
    across, down = error.diff(dim=3).abs() * weight[..., 1:], error.diff(dim=2).abs() * weight[..., 1:, :]
    return (error.abs() * weight).mean() + (error.pow(2) * weight).mean() + 0.5 * (across.mean() + down.mean())


def to_tensor(pixels: np.ndarray) -> Any:
    """[B, H, W, 3] uint8 as the tensor [B, 3, H, W] in [-1, 1] that diffusers works with."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
