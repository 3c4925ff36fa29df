"""A latent diffusion pipeline of Stable Diffusion's class with random weights: coloured noise of 128 x 64 pixels, in seconds on one core.

Its vocabulary has the words that people are described with, so that a caption has about as many tokens as with a real text encoder.
"""

from pathlib import Path
from typing import Any

from mals.world.training.vocabulary import TOKENS, WORDS, clip_tokenizer

VERSION = 1
SEED = 1501


def build(folder: Path) -> None:
    """Write the pipeline into `folder` as save_pretrained does; the same bytes each time."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokens = tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        vae = AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            block_out_channels=[8, 8, 16, 16],
            norm_num_groups=4,
            latent_channels=4,
            sample_size=128,
        )
        unet = UNet2DConditionModel(
            sample_size=[16, 8],
            block_out_channels=[16, 32],
            layers_per_block=1,
            down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
            cross_attention_dim=32,
            attention_head_dim=8,
            norm_num_groups=8,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokens),
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=TOKENS,
                bos_token_id=tokens.bos_token_id,
                eos_token_id=tokens.eos_token_id,
                pad_token_id=tokens.pad_token_id,
            )
        )
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
    )
    pipeline: Any = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokens,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


def tokenizer() -> Any:
    """A CLIPTokenizer over single bytes and WORDS: any text can be encoded, and a word of WORDS is one token."""
    return clip_tokenizer(sorted(set(WORDS.split())))
