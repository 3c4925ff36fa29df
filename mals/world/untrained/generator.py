"""A latent diffusion pipeline of Stable Diffusion's class with random weights: coloured noise of 128 x 64 pixels, in seconds on one core.

Its tokenizer knows the words that people are described with, so that a caption has about as many tokens as with a real text encoder.
"""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

VERSION = 1
SEED = 1501
TOKENS = 77  # of a prompt, as CLIP's text encoder takes
WORDS = """
a an the and or of in on at with to from by for is are was his her their its he she it they this that who which while as over under near
next behind front one two three both other another some no not
person people man men woman women boy girl child kid adult teenager teen lady guy male female young old middle aged elderly someone
people's pedestrian student worker tourist walker cyclist
black white red green blue yellow purple pink orange brown gray grey beige navy dark light bright pale khaki gold silver cream tan maroon
turquoise colored colorful coloured plain striped checked checkered plaid floral print printed pattern patterned spotted dotted denim
leather wool cotton knit lace
wearing wears wear dressed clothed holding holds carrying carries carry walking walks walk standing stands stand sitting sits running runs
riding looking looks talking using pushing pulling posing smiling facing turning waiting crossing
hair haired short long bald ponytail bun braid curly straight wavy blonde blond brunette beard moustache head face neck shoulder
shoulders hand hands arm arms leg legs foot feet hip hips waist back chest body full side left right
shirt shirts tee tshirt blouse top tank sweater sweatshirt hoodie hooded hood cardigan pullover jumper vest jacket coat blazer suit
uniform dress skirt shorts trousers pants jeans leggings tights sleeve sleeves sleeved sleeveless collar button buttons zip zipper
pocket length knee ankle upper lower clothing clothes outfit tie scarf belt
shoe shoes sneakers trainers boots sandals heels flats slippers loafers sock socks high heeled
hat cap helmet beanie glasses sunglasses eyeglasses mask gloves watch bracelet necklace earrings headphones earphones
bag bags handbag backpack rucksack purse satchel tote shoulderbag suitcase luggage briefcase umbrella phone mobile cell camera book
bottle cup coffee bicycle bike scooter stroller dog
street road sidewalk pavement crosswalk park square plaza shop store mall station platform stairs bridge building wall door window
car bus train tree trees grass snow rain sunny day night evening morning city town campus office airport market indoors outdoors scene
background photo photograph picture image portrait view camera surveillance crowd cropped close up drawing blurry low quality realistic
big small large tall thin slim fat heavy loose tight casual formal sporty modern
"""


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
    """A CLIPTokenizer over single bytes and WORDS: any text can be written, and a known word is one token."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    merges: Any = pair_merges(sorted(set(WORDS.split())))
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    vocabulary = {piece: at for at, piece in enumerate([*dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS)


def pair_merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte pair encoding to the end: the commonest neighbours become one piece until every word is one; ties go by the alphabet.

    The trainer of `tokenizers` breaks ties by chance, and its file differs from run to run.
    """
    spelled = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for word in spelled for pair in pairwise(word))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word in spelled:
            at = 0
            while at < len(word) - 1:
                if (word[at], word[at + 1]) == best:
                    word[at : at + 2] = ["".join(best)]
                at += 1
