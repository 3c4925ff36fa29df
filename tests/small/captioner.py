"""Small random captioners, saved as the hub saves them: BLIP, and a vision-language model of LLaVA's class with a chat template."""

import zlib
from pathlib import Path

import numpy as np

WORDS = "a man woman person in red blue black white shirt pants coat with bag hat and walking describe this what do you see".split()  # noqa: SIM905
TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def build_vlm(folder: Path) -> None:
    """Write model and processor into `folder`."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast

    words = ["<pad>", "<unk>", "<s>", "</s>", "<image>", "USER", "ASSISTANT", ":", *WORDS]
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, additional_special_tokens=["<image>"], **special)
    side, patch = 32, 8
    images = CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    processor = LlavaProcessor(
        images, tokenizer, patch_size=patch, vision_feature_select_strategy="default", chat_template=TEMPLATE, num_additional_image_tokens=1
    )
    width = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.5}
    config = LlavaConfig(
        vision_config=width | {"model_type": "clip_vision_model", "image_size": side, "patch_size": patch},
        text_config=width
        | {
            "model_type": "llama",
            "vocab_size": len(words),
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": 3,
        },
        image_token_index=words.index("<image>"),
        image_seq_length=(side // patch) ** 2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(config)
    model.generation_config.do_sample = True  # as in many released models; our settings must override it
    model.generation_config.temperature = 0.7
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def build_blip(folder: Path, silent: bool = False) -> None:
    """Write model and processor into `folder`; every weight is a function of its name, so that no library release changes them.

    `silent` makes the end of the text likelier than any word.
    """
    import torch
    from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS)]
    tokens = BertTokenizerFast(vocab={word: number for number, word in enumerate(words)})
    width = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = width | ends | {"vocab_size": len(words), "max_position_embeddings": 64}
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=width | {"image_size": 32, "patch_size": 8}))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                scale = 0.8 if "position" in name else 0.2  # with one scale for all, the same word is repeated
                numbers = np.random.default_rng(zlib.crc32(name.encode())).normal(0, scale, weight.shape)
                weight.copy_(torch.from_numpy(numbers))
        model.text_decoder.cls.predictions.bias[:5] = -1e4  # special tokens are never chosen
        model.text_decoder.cls.predictions.bias[3] = 1e4 if silent else 0.0
    model.save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokens).save_pretrained(folder)


def build_language_model(folder: Path, chat: bool = True) -> None:
    """Write a Llama without images and its tokenizer into `folder`, with a chat template unless `chat` is false."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<pad>", "<unk>", "<s>", "</s>", "USER", "ASSISTANT", ":", *dict.fromkeys(WORDS)]
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, **special)
    if chat:
        turns = "{% for message in messages %}USER: {{ message['content'] }} {% endfor %}"
        tokenizer.chat_template = turns + "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    tokenizer.save_pretrained(folder)
    width = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    ends = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**width, **ends, vocab_size=len(words), max_position_embeddings=512, initializer_range=0.5))
    model.save_pretrained(folder)
