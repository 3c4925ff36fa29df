"""Trains the decoder of the autoencoder further. The encoder stays the same, so that a generator trained on its latents stays valid."""

from pathlib import Path
from typing import Any

from mals.world.training.drawn_dataset import DrawnDataset
from mals.world.training.latents import encode_images, train_on_latents
from mals.world.training.optimization import seed_random_numbers


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, resume: bool) -> dict[str, Any]:
    """Train for so many minutes and save the autoencoder, its encoder unchanged, into `work`/autoencoder."""
    from diffusers import AutoencoderKL

    rng = seed_random_numbers(seed, resume)
    model: Any = AutoencoderKL.from_pretrained(work / "autoencoder")
    latents = encode_images(dataset, model, work / "latents.npy")
    model.encoder.requires_grad_(False)
    model.quant_conv.requires_grad_(False)
    scale = model.config.scaling_factor
    return train_on_latents(
        "decoder",
        model=model,
        dataset=dataset,
        latents=latents,
        scale=scale,
        minutes=minutes,
        rng=rng,
        folder=work / "autoencoder",
    )
