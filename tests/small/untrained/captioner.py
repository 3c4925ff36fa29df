"""A BLIP captioner with random weights: words in random order, different for each image, in under a second on one core.

Its vocabulary has the words that people are described with. Tokens that are no whole word are never chosen.
"""

from pathlib import Path
from typing import Any

from mals.world.training.vocabulary import WORDS, bert_tokenizer

VERSION = 1
SEED = 1502
NEVER = -1e4  # added to the score of a token that must not be chosen
SIDE = 64  # pixels of the square that an image is resized to


def build(folder: Path) -> None:
    """Write model and processor into `folder` as save_pretrained does; the same bytes each time."""
    import torch
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokens = tokenizer()
    size = len(tokens)
    text = {
        "vocab_size": size + 2,  # the two after the tokenizer's begin a caption and a question, as in the published checkpoints
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": size,
        "eos_token_id": tokens.sep_token_id,
        "sep_token_id": tokens.sep_token_id,
        "pad_token_id": tokens.pad_token_id,
        "initializer_range": 0.3,  # with 0.02 every image would get the same text
    }
    vision = {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": 16,
        "initializer_range": 0.3,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision, initializer_range=0.3))
    bias = model.text_decoder.cls.predictions.bias
    with torch.no_grad():
        for token, place in tokens.get_vocab().items():
            if token != tokens.sep_token and not (token.isalpha() and len(token) > 1):
                bias[place] = NEVER
        bias[size:] = NEVER
    model.save_pretrained(folder)
    image: Any = BlipImageProcessor(size={"height": SIDE, "width": SIDE})
    BlipProcessor(image_processor=image, tokenizer=tokens).save_pretrained(folder)


def tokenizer() -> Any:
    """A BertTokenizer over letters and WORDS: any ASCII text can be encoded, and a word of WORDS is one token."""
    return bert_tokenizer(sorted(set(WORDS.split())))
