"""The latents of the drawn images, and the training of a decoder on them: what the trainings after the autoencoder share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mals.world.training.autoencoder import BATCH, CHANNELS, image_distance, measure, pixel_weights, to_tensor
from mals.world.training.drawn_dataset import DrawnDataset
from mals.world.training.optimization import bfloat16, optimize

NOISE = 0.1  # standard deviation of the noise on latents, whose own is 1: the decoder learns to forgive the errors of a denoiser


def encode_images(dataset: DrawnDataset, vae: Any, file: Path) -> np.ndarray:
    """[2, S, C, 16, 8] float16: scaled latents of the sound images and of their mirror images, kept in `file`."""
    import torch

    rows = dataset.sound_rows
    scale = np.float32(vae.config.scaling_factor)  # differs between encoders: it tells whether `file` is of this one
    scale_file = file.with_suffix(".scale")
    if not scale_file.is_file() or scale_file.read_text(encoding="utf-8") != str(scale):
        latents = np.zeros((2, len(rows), CHANNELS, 16, 8), np.float16)
        with torch.inference_mode():
            for start in range(0, len(rows), 128):
                images = to_tensor(dataset.pixels[rows[start : start + 128]])
                for mirrored, batch in enumerate((images, images.flip(3))):
                    scaled = vae.encode(batch).latent_dist.mean * vae.config.scaling_factor
                    latents[mirrored, start : start + 128] = scaled.numpy()
        np.save(file, latents)
        scale_file.write_text(str(scale), encoding="utf-8")
    return np.load(file)


def train_on_latents(
    name: str,
    *,
    model: Any,
    dataset: DrawnDataset,
    latents: np.ndarray,
    scale: float,
    minutes: float,
    rng: np.random.Generator,
    folder: Path,
    encoder_loss: Callable[[int, Any, Any], Any] | None = None,
) -> dict[str, Any]:
    """Train the decoder of an autoencoder on the latents of `encode_images` for so many minutes and save the autoencoder into `folder`.

    `scale` is the scaling factor of the latents; `encoder_loss(step, images, latents)` is added to the loss of the decoder.
    """
    import torch

    sound_rows = dataset.sound_rows

    def compute_loss(step: int) -> Any:
        indices = np.sort(rng.choice(len(sound_rows), BATCH, replace=False))
        rows = sound_rows[indices]
        images, weight = to_tensor(dataset.pixels[rows]), pixel_weights(dataset.boxes[rows, 0])
        mirrored = int(rng.integers(2))
        if mirrored:
            images, weight = images.flip(3), weight.flip(3)
        targets = torch.from_numpy(latents[mirrored, indices]).float()
        with bfloat16():
            decoded = model.decode((targets + NOISE * torch.randn_like(targets)) / scale).sample.float()
        loss = image_distance(decoded, images, weight)
        return loss + encoder_loss(step, images, targets) if encoder_loss else loss

    results = optimize(name, model.parameters(), compute_loss, minutes, 1e-3)
    model.eval().save_pretrained(folder)
    return results | {"psnr": measure(model, dataset)[0]}
