"""Takes the middle out of the trained denoiser, so that all models that ship stay under 30 MB, and trains what is left.

The prompts are read as before: the text encoder stays as it is.
"""

from pathlib import Path
from typing import Any

from mals.world.training.drawn_dataset import DrawnDataset
from mals.world.training.generator import fit, trained
from mals.world.training.vocabulary import clip_tokenizer, vocabulary


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, go_on: bool) -> dict[str, Any]:
    """Train for so many minutes and save the pipeline into `work`/light."""
    import torch

    torch.manual_seed(seed + go_on)
    text_encoder, unet = trained(work / ("light" if go_on else "generator"))
    text_encoder.requires_grad_(False)
    light = unet if go_on else without_middle(unet)
    return fit("light", dataset, work, minutes, seed + 1 + go_on, clip_tokenizer(vocabulary(seed)), (text_encoder, light), 6e-4, 0.998)


def without_middle(unet: Any) -> Any:
    """The denoiser without the block between its way down and its way up; the other weights stay."""
    from diffusers import UNet2DConditionModel

    light: Any = UNet2DConditionModel.from_config({**unet.config, "mid_block_type": None})
    light.load_state_dict({name: value for name, value in unet.state_dict().items() if not name.startswith("mid_block.")})
    return light
