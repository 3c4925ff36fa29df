"""Trains the autoencoder of the embedded generator: pictures of 128 x 64 pixels into latents of 16 x 8 and back."""

from pathlib import Path
from typing import Any

import numpy as np

from mals.world.training.drawn_dataset import HEIGHT, WIDTH, DrawnDataset
from mals.world.training.optimization import half, optimize

CHANNELS = 8  # of a latent
BATCH = 12


def build(deepest: int = 160) -> Any:
    """The untrained autoencoder, with so many channels in its deepest level."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[16, 32, 96, deepest],
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
    )


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, go_on: bool) -> dict[str, Any]:
    """Train for so many minutes and save into `work`/autoencoder, with a scaling factor that gives latents of deviation 1."""
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(seed + go_on)  # other pictures than those of the first steps
    rng = np.random.default_rng(seed + go_on)
    model = AutoencoderKL.from_pretrained(work / "autoencoder") if go_on else build()
    rows = dataset.sound

    def loss_of(step: int, gone: float) -> Any:
        chosen = np.sort(rng.choice(rows, BATCH, replace=False))
        pictures, weight = levels(dataset.pixels[chosen]), inside(dataset.boxes[chosen, 0])
        with half():
            latent = model.encode(pictures).latent_dist
            made = model.decode(latent.sample()).sample.float()
        kept = latent.mean.float()
        return distance(made, pictures, weight) + 1e-4 * (kept.pow(2).mean() + latent.var.float().mean() - latent.logvar.float().mean())

    facts = optimize("autoencoder", model.parameters(), loss_of, minutes, 1.5e-3)
    psnr, deviation = quality(model.eval(), dataset)
    model.register_to_config(scaling_factor=1 / deviation)
    model.save_pretrained(work / "autoencoder")
    return facts | {"psnr": psnr, "scaling_factor": round(1 / deviation, 4)}


def quality(model: Any, dataset: DrawnDataset) -> tuple[float, float]:
    """The mean PSNR in dB of pictures that went through, and the deviation of their latents."""
    import torch

    with torch.inference_mode():
        sample = levels(dataset.pixels[dataset.sound[:512]])
        latents = torch.cat([model.encode(part).latent_dist.mean for part in sample.split(64)])
        back = torch.cat([model.decode(part).sample for part in latents.split(64)]).clamp(-1, 1)
    error = ((back - sample) / 2).pow(2).mean((1, 2, 3))
    return round(float((-10 * error.log10()).mean()), 2), float(latents.std())


def inside(boxes: np.ndarray) -> Any:
    """[B, 1, 128, 64]: what a pixel counts, more within the person's box [B, 4] than around it."""
    import torch

    x, y = np.arange(WIDTH), np.arange(HEIGHT)
    across = (x >= boxes[:, :1]) & (x <= boxes[:, 2:3])
    down = (y >= boxes[:, 1:2]) & (y <= boxes[:, 3:])
    return torch.from_numpy(np.where(down[:, :, None] & across[:, None], 1.6, 0.6).astype(np.float32))[:, None]


def distance(made: Any, wanted: Any, weight: Any) -> Any:
    """Mean difference of the pixels, absolute and squared, and of their neighbours' differences: edges count."""
    off = made - wanted
    across, down = off.diff(dim=3).abs() * weight[..., 1:], off.diff(dim=2).abs() * weight[..., 1:, :]
    return (off.abs() * weight).mean() + (off.pow(2) * weight).mean() + 0.5 * (across.mean() + down.mean())


def levels(pixels: np.ndarray) -> Any:
    """[B, H, W, 3] uint8 as the tensor [B, 3, H, W] in [-1, 1] that diffusers works with."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
