"""Narrows the deepest level of the trained autoencoder, so that the embedded models stay under 30 MB, and trains the rest.

The narrow encoder learns the latents of the wide one, so that a generator trained on them stays valid; the decoder learns to decode them.
"""

from pathlib import Path
from typing import Any

from mals.world.training.autoencoder import build
from mals.world.training.drawn_dataset import DrawnDataset
from mals.world.training.latents import encode_images, train_on_latents
from mals.world.training.optimization import bfloat16, seed_random_numbers

WIDE, NARROW = 160, 112  # channels of the deepest level before and after
GROUPS = 8  # of channels that are normalised together, before and after


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, resume: bool) -> dict[str, Any]:
    """Train for so many minutes and save the narrow autoencoder into `work`/narrow."""
    import torch
    from diffusers import AutoencoderKL

    rng = seed_random_numbers(seed, resume)
    teacher: Any = AutoencoderKL.from_pretrained(work / "autoencoder")
    latents = encode_images(dataset, teacher, work / "latents.npy")
    model: Any = AutoencoderKL.from_pretrained(work / "narrow") if resume else narrowed(teacher)
    scale = teacher.config.scaling_factor

    def encoder_loss(step: int, images: Any, targets: Any) -> Any:
        if step % 4:  # the encoder has less to learn, and only image-to-image generation needs it
            return torch.zeros(())
        with bfloat16():
            mean = model.encode(images).latent_dist.mean.float() * scale
        return (mean - targets).pow(2).mean()

    return train_on_latents(
        "narrow",
        model=model,
        dataset=dataset,
        latents=latents,
        scale=scale,
        minutes=minutes,
        rng=rng,
        folder=work / "narrow",
        encoder_loss=encoder_loss,
    )


def narrowed(teacher: Any) -> Any:
    """The autoencoder with NARROW of its WIDE channels in the deepest level: the first ones of each group, with their weights."""
    import torch

    model = build(NARROW)
    model.register_to_config(scaling_factor=teacher.config.scaling_factor)
    kept = torch.arange(WIDE).view(GROUPS, -1)[:, : NARROW // GROUPS].flatten()
    wide_state = teacher.state_dict()
    for name, value in model.state_dict().items():
        wide = wide_state[name]
        for axis, size in enumerate(wide.shape[:2]):
            if size != value.shape[axis]:
                wide = wide.index_select(axis, kept)
        value.copy_(wide)
    return model
