"""Trains the embedded captioner, a BLIP, on crops of drawn people and complete captions of them.

The texts begin with the decoder's own start token (`text_config.bos_token_id`), because `generate` puts it in place of the tokenizer's
[CLS]. The vision model has an auxiliary task, whose layer is not saved: to predict the attributes.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mals.world.captions import write_caption
from mals.world.training.drawn_dataset import DrawnDataset
from mals.world.training.optimization import WeightAverage, bfloat16, optimize, seed_random_numbers
from mals.world.training.pose import cut_windows, jittered_windows
from mals.world.training.vocabulary import bert_tokenizer, build_vocabulary

BATCH = 48
SIDE, PATCH = 96, 12  # pixels: side of the square that a crop is resized to, and of a patch
HIDDEN = 160
CAPTIONS = 3  # of an image
MAX_TOKENS = 56  # of a caption
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's, the defaults of BLIP's processor
STYLES = ("short", "short", "annotator")  # a style is as frequent as it is repeated


def build(tokenizer: Any) -> Any:
    """The untrained model. The token after the tokenizer's last one begins a caption, as in the published checkpoints."""
    from transformers import BlipConfig, BlipForConditionalGeneration

    size = len(tokenizer)
    text = {
        "vocab_size": size + 2,
        "hidden_size": HIDDEN,
        "encoder_hidden_size": HIDDEN,
        "intermediate_size": 3 * HIDDEN,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "bos_token_id": size,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    vision = {
        "hidden_size": HIDDEN,
        "intermediate_size": 3 * HIDDEN,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": PATCH,
        "initializer_range": 0.05,
    }
    return BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision))


def draw_crops(dataset: DrawnDataset, rows: np.ndarray, rng: np.random.Generator) -> Any:
    """[B, 3, SIDE, SIDE]: crops around jittered boxes, sometimes mirrored, normalised as the processor does it."""
    import torch

    center, size = jittered_windows(dataset, rows, rng, margin=0.06)
    images = torch.from_numpy(np.ascontiguousarray(dataset.pixels[rows])).permute(0, 3, 1, 2).float() / 255
    crops = cut_windows(images, center, size, SIDE, SIDE)
    if rng.random() < 0.5:
        crops = crops.flip(3)
    crops = crops * torch.from_numpy(rng.uniform(0.92, 1.08, (len(rows), 3, 1, 1)).astype(np.float32))
    return (crops.clamp(0, 1) - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def tokenized_captions(dataset: DrawnDataset, tokenizer: Any, start: int, seed: int) -> np.ndarray:
    """[S, CAPTIONS, MAX_TOKENS] int16: padded token ids of captions of the sound rows, from the start token to the end token."""
    rng = np.random.default_rng((seed, 0x70D))
    token_ids = np.full((len(dataset.sound_rows), CAPTIONS, MAX_TOKENS), tokenizer.pad_token_id, np.int16)
    for index, row in enumerate(dataset.sound_rows.tolist()):
        person, place, walking = dataset.person(row), dataset.place(row), dataset.walking(row)
        texts = [
            write_caption(person, rng, style=STYLES[int(rng.integers(len(STYLES)))], complete=True, place=place, walking=walking).text
            for _ in range(CAPTIONS)
        ]
        for number, ids in enumerate(tokenizer(texts, truncation=True, max_length=MAX_TOKENS).input_ids):
            token_ids[index, number, : len(ids)] = [start, *ids[1:]]
    return token_ids


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, resume: bool) -> dict[str, Any]:
    """Train for so many minutes and save model and processor into `work`/captioner."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
    from transformers import BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    rng = seed_random_numbers(seed, resume)
    tokenizer = bert_tokenizer(build_vocabulary(seed))
    folder = work / "captioner"
    model: Any = BlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float32) if resume else build(tokenizer)
    token_ids = tokenized_captions(dataset, tokenizer, model.config.text_config.bos_token_id, seed)
    rows = dataset.sound_rows
    attributes = np.array([dataset.person(row).attributes() for row in rows.tolist()], np.float32)
    attribute_head = torch.nn.Linear(HIDDEN, attributes.shape[1])
    average = WeightAverage(model, 0.999)

    def compute_loss(step: int) -> Any:
        indices = np.sort(rng.choice(len(rows), BATCH, replace=False))
        crops = draw_crops(dataset, rows[indices], rng)
        ids = torch.from_numpy(token_ids[indices, rng.integers(0, CAPTIONS, BATCH)].astype(np.int64))
        ids = ids[:, : int((ids != tokenizer.pad_token_id).sum(1).max())]
        mask = (ids != tokenizer.pad_token_id).long()
        with bfloat16():
            states = model.vision_model(pixel_values=crops).last_hidden_state
            logits = model.text_decoder(
                input_ids=ids, attention_mask=mask, encoder_hidden_states=states, is_decoder=True, return_dict=True
            ).logits.float()
        next_tokens = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
        caption_loss = cross_entropy(logits[:, :-1].flatten(0, 1), next_tokens.flatten())
        attribute_logits = attribute_head(states[:, 0].float())
        return caption_loss + 0.5 * binary_cross_entropy_with_logits(attribute_logits, torch.from_numpy(attributes[indices]))

    processor = BlipProcessor(image_processor=BlipImageProcessor(size={"height": SIDE, "width": SIDE}), tokenizer=tokenizer)

    def after_step(step: int) -> None:
        average.update(model)
        if step % 1000 == 999:
            save(average.model, processor, folder)

    parameters = iter([*model.parameters(), *attribute_head.parameters()])
    results = optimize("captioner", parameters, compute_loss, minutes, 1e-3, after_step)
    save(average.model, processor, folder)
    return results


def save(model: Any, processor: Any, folder: Path) -> None:
    """Save the model in float16, as it ships, and the processor."""
    import copy

    import torch

    copy.deepcopy(model).to(torch.float16).save_pretrained(folder)
    processor.save_pretrained(folder)
