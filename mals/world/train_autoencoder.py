"""Trains the autoencoder of the embedded generator: pictures of 128 x 64 pixels into latents of 16 x 8 and back.

python -m mals.world.train_autoencoder --work DIR --minutes 15
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from mals.world.corpus import HEIGHT, WIDTH, Corpus, draw_corpus
from mals.world.training import half, optimize

CHANNELS = 8  # of a latent
BATCH = 12


def build() -> Any:
    """The untrained autoencoder."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[16, 32, 96, 160],
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
    )


def train(corpus: Corpus, minutes: float, seed: int, to: Path, go_on: bool = False) -> dict[str, Any]:
    """Train for so many minutes and save into `to` with a scaling factor that gives latents of deviation 1; `go_on` from what is there."""
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(seed + go_on)
    rng = np.random.default_rng(seed + go_on)
    model = AutoencoderKL.from_pretrained(to) if go_on else build()
    rows = corpus.sound

    def loss_of(step: int, gone: float) -> Any:
        chosen = np.sort(rng.choice(rows, BATCH, replace=False))
        pictures, weight = levels(corpus.pixels[chosen]), inside(corpus.boxes[chosen, 0])
        with half():
            latent = model.encode(pictures).latent_dist
            made = model.decode(latent.sample()).sample.float()
        kept = latent.mean.float()
        return distance(made, pictures, weight) + 1e-4 * (kept.pow(2).mean() + latent.var.float().mean() - latent.logvar.float().mean())

    facts = optimize("autoencoder", model.parameters(), loss_of, minutes, 1.5e-3)
    model.eval()
    with torch.inference_mode():
        sample = levels(corpus.pixels[rows[:512]])
        latents = torch.cat([model.encode(part).latent_dist.mean for part in sample.split(64)])
        back = torch.cat([model.decode(part).sample for part in latents.split(64)]).clamp(-1, 1)
    error = ((back - sample) / 2).pow(2).mean((1, 2, 3))
    model.register_to_config(scaling_factor=float(1 / latents.std()))
    model.save_pretrained(to)
    return facts | {"psnr": round(float((-10 * error.log10()).mean()), 2), "scaling_factor": round(float(1 / latents.std()), 4)}


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="the folder of the corpus and of what trainings keep")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--pictures", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--go-on", action="store_true")
    given = parser.parse_args()
    corpus = draw_corpus(given.work / "corpus", given.seed, given.pictures)
    facts = train(corpus, given.minutes, given.seed, given.work / "vae", given.go_on)
    (given.work / "vae.json").write_text(json.dumps(facts))
    print(json.dumps({"model": "autoencoder", **facts}))


if __name__ == "__main__":
    main()
