"""Removes the middle block of the trained denoiser, so that the embedded models stay under 30 MB, and trains the rest.

The text encoder stays as it is.
"""

from pathlib import Path
from typing import Any

from mals.world.training.drawn_dataset import DrawnDataset
from mals.world.training.generator import load_trained, train_denoiser
from mals.world.training.optimization import seed_random_numbers
from mals.world.training.vocabulary import build_vocabulary, clip_tokenizer


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, resume: bool) -> dict[str, Any]:
    """Train for so many minutes and save the pipeline into `work`/light."""
    seed_random_numbers(seed, resume)
    text_encoder, unet = load_trained(work / ("light" if resume else "generator"))
    text_encoder.requires_grad_(False)
    return train_denoiser(
        name="light",
        dataset=dataset,
        work=work,
        minutes=minutes,
        seed=seed + 1 + resume,
        tokenizer=clip_tokenizer(build_vocabulary(seed)),
        text_encoder=text_encoder,
        unet=unet if resume else without_middle(unet),
        learning_rate=6e-4,
        average_decay=0.998,
    )


def without_middle(unet: Any) -> Any:
    """The denoiser without the block between its downward and its upward blocks; all other weights stay."""
    from diffusers import UNet2DConditionModel

    light: Any = UNet2DConditionModel.from_config({**unet.config, "mid_block_type": None})
    light.load_state_dict({name: value for name, value in unet.state_dict().items() if not name.startswith("mid_block.")})
    return light
