"""Trains the embedded captioner, a BLIP, on crops of drawn people and captions that leave nothing out.

The texts begin with the decoder's own start token (`text_config.bos_token_id`), since `generate` puts it in the tokenizer's [CLS]'s place.
The picture's encoder has a second task that is thrown away afterwards: to tell the attributes.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mals.world.captions import write_caption
from mals.world.training.drawn_dataset import HEIGHT, WIDTH, DrawnDataset
from mals.world.training.optimization import Average, half, optimize
from mals.world.training.pose import cut
from mals.world.training.vocabulary import bert_tokenizer, vocabulary

BATCH = 48
SIDE, PATCH = 96, 12  # pixels of the square that a crop is resized to
WIDE = 160
TEXTS = 3  # captions a picture
MOST = 56  # tokens of a caption
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's, BLIP's processor's own
STYLES = ("short", "short", "annotator")


def build(tokenizer: Any) -> Any:
    """The untrained model; the token behind the tokenizer's last begins a caption, as in the published checkpoints."""
    from transformers import BlipConfig, BlipForConditionalGeneration

    size = len(tokenizer)
    text = {
        "vocab_size": size + 2,
        "hidden_size": WIDE,
        "encoder_hidden_size": WIDE,
        "intermediate_size": 3 * WIDE,
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
        "hidden_size": WIDE,
        "intermediate_size": 3 * WIDE,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": PATCH,
        "initializer_range": 0.05,
    }
    return BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision))


def crops(dataset: DrawnDataset, rows: np.ndarray, rng: np.random.Generator) -> Any:
    """[B, 3, SIDE, SIDE]: what a crop stage would cut out, give and take some, as the processor gives it to the model."""
    import torch

    boxes = dataset.boxes[rows, 0].astype(np.float32)
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes += rng.normal(0, 0.04, boxes.shape).astype(np.float32) * np.tile(sides, 2)
    boxes += np.abs(rng.normal(0, 0.06, boxes.shape).astype(np.float32)) * np.tile(sides, 2) * np.array([-1, -1, 1, 1], np.float32)
    low, high = np.maximum(boxes[:, :2], 0), np.minimum(boxes[:, 2:], [WIDTH, HEIGHT])
    pictures = torch.from_numpy(np.ascontiguousarray(dataset.pixels[rows])).permute(0, 3, 1, 2).float() / 255
    found = cut(pictures, ((low + high) / 2).astype(np.float32) - 0.5, (high - low).astype(np.float32), SIDE, SIDE)
    if rng.random() < 0.5:
        found = found.flip(3)
    found = found * torch.from_numpy(rng.uniform(0.92, 1.08, (len(rows), 3, 1, 1)).astype(np.float32))
    return (found.clamp(0, 1) - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def told(dataset: DrawnDataset, tokenizer: Any, start: int, seed: int) -> np.ndarray:
    """[S, TEXTS, MOST] int16: token ids of captions of the sound rows, from the start token to the end token, padded."""
    rng = np.random.default_rng((seed, 0x70D))
    found = np.full((len(dataset.sound), TEXTS, MOST), tokenizer.pad_token_id, np.int16)
    for at, row in enumerate(dataset.sound.tolist()):
        one, place, walking = dataset.person(row), dataset.place(row), dataset.walking(row)
        texts = [write_caption(one, rng, STYLES[int(rng.integers(len(STYLES)))], True, place, walking).text for _ in range(TEXTS)]
        for turn, ids in enumerate(tokenizer(texts, truncation=True, max_length=MOST).input_ids):
            found[at, turn, : len(ids)] = [start, *ids[1:]]
    return found


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, go_on: bool) -> dict[str, Any]:
    """Train for so many minutes and save model and processor into `work`/captioner."""
    import torch
    from transformers import BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    torch.manual_seed(seed + go_on)  # other pictures than those of the first steps
    rng = np.random.default_rng(seed + go_on)
    tokenizer = bert_tokenizer(vocabulary(seed))
    to = work / "captioner"
    model: Any = BlipForConditionalGeneration.from_pretrained(to, dtype=torch.float32) if go_on else build(tokenizer)
    texts = told(dataset, tokenizer, model.config.text_config.bos_token_id, seed)
    rows = dataset.sound
    attributes = np.array([dataset.person(row).attributes() for row in rows.tolist()], np.float32)
    tells = torch.nn.Linear(WIDE, attributes.shape[1])
    average = Average(model, 0.999)

    def loss_of(step: int, gone: float) -> Any:
        at = np.sort(rng.choice(len(rows), BATCH, replace=False))
        pictures = crops(dataset, rows[at], rng)
        ids = torch.from_numpy(texts[at, rng.integers(0, TEXTS, BATCH)].astype(np.int64))
        ids = ids[:, : int((ids != tokenizer.pad_token_id).sum(1).max())]
        mask = (ids != tokenizer.pad_token_id).long()
        with half():
            seen = model.vision_model(pixel_values=pictures)
            said = model.text_decoder(
                input_ids=ids, attention_mask=mask, encoder_hidden_states=seen.last_hidden_state, is_decoder=True, return_dict=True
            ).logits.float()
        next_words = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
        words = torch.nn.functional.cross_entropy(said[:, :-1].flatten(0, 1), next_words.flatten())
        guess = tells(seen.last_hidden_state[:, 0].float())
        return words + 0.5 * torch.nn.functional.binary_cross_entropy_with_logits(guess, torch.from_numpy(attributes[at]))

    processor = BlipProcessor(image_processor=BlipImageProcessor(size={"height": SIDE, "width": SIDE}), tokenizer=tokenizer)

    def after(step: int) -> None:
        average.take(model)
        if step % 1000 == 999:
            save(average.model, processor, to)

    facts = optimize("captioner", iter([*model.parameters(), *tells.parameters()]), loss_of, minutes, 1e-3, after)
    save(average.model, processor, to)
    return facts


def save(model: Any, processor: Any, to: Path) -> None:
    """Model in float16 and processor, as `embedded` ships them."""
    import copy

    import torch

    copy.deepcopy(model).to(torch.float16).save_pretrained(to)
    processor.save_pretrained(to)
