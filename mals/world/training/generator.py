"""Trains the denoiser and the text encoder of the embedded generator on the latents of the trained autoencoder, and saves the pipeline.

v-prediction (Salimans & Ho 2022) with min-SNR weights (Hang et al. 2023, gamma 5) on a cosine schedule; one prompt in ten is empty, for
classifier-free guidance. The text encoder has an auxiliary task, whose layer is not saved: to predict from its pooled state which
attributes a person has.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mals.world.captions import write_caption
from mals.world.training.autoencoder import CHANNELS
from mals.world.training.drawn_dataset import DrawnDataset
from mals.world.training.latents import encode_images
from mals.world.training.optimization import WeightAverage, bfloat16, optimize, seed_random_numbers
from mals.world.training.vocabulary import TOKENS, build_vocabulary, clip_tokenizer, write_prompts

BATCH = 64
PROMPTS = 6  # of an image: half are captions of the world, half prompts of the attribute grammar
EMPTY_SHARE = 0.1  # of prompts
GAMMA = 5.0
HIDDEN = 128  # width of the text encoder


def build(tokenizer: Any) -> tuple[Any, Any]:
    """The untrained text encoder and denoiser."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=4 * HIDDEN,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    unet = UNet2DConditionModel(
        sample_size=[16, 8],
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=[96, 192],
        layers_per_block=1,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        cross_attention_dim=HIDDEN,
        attention_head_dim=4,
        use_linear_projection=True,
    )
    return CLIPTextModel(text), unet


def scheduler() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )


def prompts_and_attributes(dataset: DrawnDataset, seed: int) -> tuple[list[list[str]], np.ndarray]:
    """For each sound row PROMPTS prompts and its attributes [S, 27]."""
    rng = np.random.default_rng((seed, 0x7E87))
    rows = dataset.sound_rows.tolist()
    people = [dataset.person(row) for row in rows]
    prompts: list[list[str]] = [[] for _ in people]
    for turn in range(PROMPTS):
        if turn % 2:
            texts = write_prompts(people, rng)
        else:
            texts = [
                write_caption(person, rng, place=dataset.place(row), walking=dataset.walking(row)).text
                for person, row in zip(people, rows, strict=True)
            ]
        for row_prompts, text in zip(prompts, texts, strict=True):
            row_prompts.append(text)
    return prompts, np.array([person.attributes() for person in people], np.int8)


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, resume: bool) -> dict[str, Any]:
    """Train for so many minutes and save the pipeline into `work`/generator."""
    seed_random_numbers(seed, resume)
    tokenizer = clip_tokenizer(build_vocabulary(seed))
    text_encoder, unet = load_trained(work / "generator") if resume else build(tokenizer)
    return train_denoiser(
        name="generator",
        dataset=dataset,
        work=work,
        minutes=minutes,
        seed=seed + resume,
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        unet=unet,
        learning_rate=1e-3,
        average_decay=0.9995,
    )


def load_trained(folder: Path) -> tuple[Any, Any]:
    """Text encoder and denoiser of a saved pipeline in float32, to be trained further."""
    import torch
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    return CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32), unet


def train_denoiser(
    *,
    name: str,
    dataset: DrawnDataset,
    work: Path,
    minutes: float,
    seed: int,
    tokenizer: Any,
    text_encoder: Any,
    unet: Any,
    learning_rate: float,
    average_decay: float,
) -> dict[str, Any]:
    """Train the parameters of text encoder and denoiser that require a gradient; save the averages of their weights into `work`/`name`."""
    import torch
    from diffusers import AutoencoderKL

    rng = np.random.default_rng(seed)
    vae = AutoencoderKL.from_pretrained(work / "autoencoder").eval()
    latents = encode_images(dataset, vae, work / "latents.npy")
    prompts, attributes = prompts_and_attributes(dataset, seed)
    token_ids = np.stack([np.array(tokenizer(row, padding="max_length", truncation=True).input_ids, np.int16) for row in prompts])
    empty_ids = np.array(tokenizer("", padding="max_length").input_ids, np.int16)
    attribute_head = torch.nn.Linear(HIDDEN, attributes.shape[1])
    alphas = scheduler().alphas_cumprod

    def compute_loss(step: int) -> Any:
        indices = rng.integers(0, latents.shape[1], BATCH)
        clean = torch.from_numpy(latents[rng.integers(0, 2, BATCH), indices]).float()
        ids = token_ids[indices, rng.integers(0, PROMPTS, BATCH)]
        is_empty = rng.random(BATCH) < EMPTY_SHARE
        ids[is_empty] = empty_ids
        noise, times = torch.randn_like(clean), torch.randint(0, 1000, (BATCH,))
        alpha = alphas[times].view(-1, 1, 1, 1)
        noisy, velocity = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        with bfloat16():
            states = text_encoder(torch.from_numpy(ids.astype(np.int64)))
            predicted = unet(noisy, times, states.last_hidden_state).sample.float()
        ratio = (alpha / (1 - alpha)).flatten()
        weight = ratio.clamp(max=GAMMA) / (ratio + 1)
        error = ((predicted - velocity).pow(2).mean((1, 2, 3)) * weight).mean() / 0.3
        present = torch.from_numpy((attributes[indices] == 0).astype(np.float32))
        logits = attribute_head(states.pooler_output.float())
        attribute_loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, present, reduction="none")
        return error + 0.1 * attribute_loss[torch.from_numpy(~is_empty)].mean()

    text_average, unet_average = WeightAverage(text_encoder, average_decay), WeightAverage(unet, average_decay)

    def after_step(step: int) -> None:
        text_average.update(text_encoder)
        unet_average.update(unet)
        if step % 1000 == 999:
            save(vae, text_average.model, unet_average.model, tokenizer, work / name)

    parameters = [parameter for module in (text_encoder, unet, attribute_head) for parameter in module.parameters()]
    results = optimize(name, iter(parameters), compute_loss, minutes, learning_rate, after_step)
    save(vae, text_average.model, unet_average.model, tokenizer, work / name)
    return results


def save(vae: Any, text_encoder: Any, unet: Any, tokenizer: Any, folder: Path) -> None:
    """Save the pipeline in float16, as it ships."""
    import copy

    import torch
    from diffusers import StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline(
        vae=copy.deepcopy(vae).to(torch.float16),
        text_encoder=copy.deepcopy(text_encoder).to(torch.float16),
        tokenizer=tokenizer,
        unet=copy.deepcopy(unet).to(torch.float16),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True, max_shard_size="8MB")  # no file of the repository is over 10 MB
