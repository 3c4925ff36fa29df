"""Trains the denoiser and the text encoder of the embedded generator on the latents of a trained autoencoder, and saves the pipeline.

v-prediction (Salimans & Ho 2022) with min-SNR weights (Hang et al. 2023, gamma 5) on a cosine schedule, one prompt in ten left empty for
guidance. The text encoder has a second task that is thrown away afterwards: to tell from its last state the attributes that a prompt says.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mals.world.captions import write_caption
from mals.world.training.autoencoder import CHANNELS, levels
from mals.world.training.drawn_dataset import DrawnDataset
from mals.world.training.optimization import Average, half, optimize
from mals.world.training.vocabulary import TOKENS, clip_tokenizer, prompts, vocabulary

BATCH = 64
TEXTS = 6  # prompts a picture: half from the captions' voices, half from the grammar
EMPTY = 0.1  # share of prompts left empty
GAMMA = 5.0
WIDE = 128  # of the text encoder


def build(tokenizer: Any) -> tuple[Any, Any]:
    """The untrained text encoder and denoiser."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDE,
        intermediate_size=4 * WIDE,
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
        cross_attention_dim=WIDE,
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


def encoded(dataset: DrawnDataset, vae: Any, file: Path) -> np.ndarray:
    """[2, S, C, 16, 8] float16: scaled latents of the sound pictures and of their mirror images, kept in `file`."""
    import torch

    rows = dataset.sound
    scale = np.float32(vae.config.scaling_factor)  # another encoder has another
    known = file.with_suffix(".scale")
    if not known.is_file() or known.read_text(encoding="utf-8") != str(scale):
        found = np.zeros((2, len(rows), CHANNELS, 16, 8), np.float16)
        with torch.inference_mode():
            for start in range(0, len(rows), 128):
                pictures = levels(dataset.pixels[rows[start : start + 128]])
                for mirror, shown in enumerate((pictures, pictures.flip(3))):
                    latents = vae.encode(shown).latent_dist.mean * vae.config.scaling_factor
                    found[mirror, start : start + 128] = latents.numpy()
        np.save(file, found)
        known.write_text(str(scale), encoding="utf-8")
    return np.load(file)


def texts(dataset: DrawnDataset, seed: int) -> tuple[list[list[str]], np.ndarray]:
    """TEXTS prompts a sound row, and [S, 27] its attributes."""
    rng = np.random.default_rng((seed, 0x7E87))
    people = [dataset.person(row) for row in dataset.sound.tolist()]
    told: list[list[str]] = [[] for _ in people]
    for turn in range(TEXTS):
        if turn % 2:
            said = prompts(people, rng)
        else:
            facts = [(dataset.place(row), dataset.walking(row)) for row in dataset.sound.tolist()]
            said = [write_caption(one, rng, place=place, walking=walk).text for one, (place, walk) in zip(people, facts, strict=True)]
        for row, text in zip(told, said, strict=True):
            row.append(text)
    return told, np.array([one.attributes() for one in people], np.int8)


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, go_on: bool) -> dict[str, Any]:
    """Train for so many minutes and save the pipeline into `work`/generator."""
    import torch

    torch.manual_seed(seed + go_on)  # other pictures than those of the first steps
    tokenizer = clip_tokenizer(vocabulary(seed))
    parts = trained(work / "generator") if go_on else build(tokenizer)
    return fit("generator", dataset, work, minutes, seed + go_on, tokenizer, parts, 1e-3)


def trained(folder: Path) -> tuple[Any, Any]:
    """Text encoder and denoiser of a saved pipeline, to be trained further."""
    import torch
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    return CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32), unet


def fit(
    name: str,
    dataset: DrawnDataset,
    work: Path,
    minutes: float,
    seed: int,
    tokenizer: Any,
    parts: tuple[Any, Any],
    rate: float,
    decay: float = 0.9995,
) -> dict[str, Any]:
    """Train text encoder and denoiser, of them what wants a gradient, and save the averages of their weights into `work`/`name`."""
    import torch
    from diffusers import AutoencoderKL

    rng = np.random.default_rng(seed)
    vae = AutoencoderKL.from_pretrained(work / "autoencoder").eval()
    latents = encoded(dataset, vae, work / "latents.npy")
    told, attributes = texts(dataset, seed)
    ids = np.stack([np.array(tokenizer(row, padding="max_length", truncation=True).input_ids, np.int16) for row in told])
    empty = np.array(tokenizer("", padding="max_length").input_ids, np.int16)
    text_encoder, unet = parts
    tells = torch.nn.Linear(WIDE, attributes.shape[1])
    alphas = scheduler().alphas_cumprod

    def loss_of(step: int, gone: float) -> Any:
        at = rng.integers(0, latents.shape[1], BATCH)
        clean = torch.from_numpy(latents[rng.integers(0, 2, BATCH), at]).float()
        given = ids[at, rng.integers(0, TEXTS, BATCH)]
        blank = rng.random(BATCH) < EMPTY
        given[blank] = empty
        noise, times = torch.randn_like(clean), torch.randint(0, 1000, (BATCH,))
        share = alphas[times].view(-1, 1, 1, 1)
        noisy, target = share.sqrt() * clean + (1 - share).sqrt() * noise, share.sqrt() * noise - (1 - share).sqrt() * clean
        with half():
            states = text_encoder(torch.from_numpy(given.astype(np.int64)))
            made = unet(noisy, times, states.last_hidden_state).sample.float()
        ratio = (share / (1 - share)).flatten()
        weight = ratio.clamp(max=GAMMA) / (ratio + 1)
        error = ((made - target).pow(2).mean((1, 2, 3)) * weight).mean() / 0.3
        wanted = torch.from_numpy((attributes[at] == 0).astype(np.float32))
        guess = torch.nn.functional.binary_cross_entropy_with_logits(tells(states.pooler_output.float()), wanted, reduction="none")
        return error + 0.1 * guess[torch.from_numpy(~blank)].mean()

    averages = [Average(part, decay) for part in parts]

    def after(step: int) -> None:
        for average, part in zip(averages, parts, strict=True):
            average.take(part)
        if step % 1000 == 999:
            save(vae, averages[0].model, averages[1].model, tokenizer, work / name)

    parameters = [one for part in (*parts, tells) for one in part.parameters()]
    facts = optimize(name, iter(parameters), loss_of, minutes, rate, after)
    save(vae, averages[0].model, averages[1].model, tokenizer, work / name)
    return facts


def save(vae: Any, text_encoder: Any, unet: Any, tokenizer: Any, to: Path) -> None:
    """The pipeline in float16, as `embedded` ships it."""
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
    pipeline.save_pretrained(to, safe_serialization=True)
