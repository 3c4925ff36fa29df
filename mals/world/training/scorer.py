"""Trains the embedded scorer, a small SSAN without its relations of parts, by contrast of crops of drawn people with captions.

A caption is to score higher with its image than with those of others, and an image higher with its caption than with those of others and
with captions that are wrong in one attribute. Where a short caption is true of another image too, as far as its labels tell, that pair
counts neither way. SSAN's own losses need a second image of each person. An auxiliary layer, which is not saved, predicts the attributes
from the image.

Shapes: B images, T texts, A attributes, D the width of an embedding.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, interpolate, normalize

from mals.attributes import load_space
from mals.planning.balance import CHOICES
from mals.planning.phrases import Phrases
from mals.world.captions import write_caption
from mals.world.exchange import exchange_attribute
from mals.world.person import Person, create_person
from mals.world.training.drawn_dataset import DrawnDataset
from mals.world.training.optimization import WeightAverage, bfloat16, optimize, seed_random_numbers
from mals.world.training.pose import cut_windows, jittered_windows
from mals.world.training.vocabulary import hide_some

BATCH, WRONG = 64, 32  # images, and captions with an attribute exchanged, of the first images
IMAGE_HEIGHT, IMAGE_WIDTH = 96, 48  # pixels that the method reads
LEARNING_RATE = 2e-3
PROMPTS = 0.25  # share of texts that are prompts of the attribute grammar; the others are captions
COMPLETE = 0.3  # share of captions that mention every attribute
TEXTS = 12_000  # from which the words are taken that occur three times
START_TEMPERATURE = 0.07
SMALLEST = 0.5  # of an image's sides, before it is enlarged again: generated images are less sharp than drawn ones
ATTRIBUTE_LOSS_WEIGHT = 0.5
SETTINGS: dict[str, Any] = {
    "preset": "tiny-ssan",
    "batch": BATCH,
    "data": {"height": IMAGE_HEIGHT, "width": IMAGE_WIDTH, "max_tokens": 64, "tokenizer": None},
    "ssan": {
        "vision": {"stem": 16, "depths": [1, 1, 2, 2], "widths": [16, 24, 32, 24], "last_stride": 1},
        "word_width": 48,
        "word_dropout": 0.1,
        "width": 64,
        "parts": 6,
        "non_local": False,
    },
}


def build(words: list[str]) -> tuple[Any, Any, Any]:
    """The settings, the tokenizer, and the untrained method without what SSAN's own losses need."""
    from pretrain import settings
    from pretrain.data.tokenizers import WordList
    from pretrain.methods import find

    config: Any = settings.check(SETTINGS)
    tokenizer = WordList(words, config.data.max_tokens)
    return config, tokenizer, find(config.method).build(config, tokenizer)


class Writer:
    """Writes captions and prompts, each with the labels [A] that its text says; -1 where it says nothing."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.phrases = rng, Phrases(load_space("market1501"))

    def write(self, person: Person, place: str | None, walking: bool | None) -> tuple[str, list[int]]:
        if self.rng.random() < PROMPTS:
            visible = hide_some(np.array([person.attributes()], np.int8), self.rng)
            return self.phrases.captions(visible, self.rng.integers(0, 1 << 31, (1, CHOICES)))[0], visible[0].tolist()
        complete = bool(self.rng.random() < COMPLETE)
        place = place if self.rng.random() < 0.5 else None
        caption = write_caption(person, self.rng, complete=complete, place=place, walking=walking if place else None)
        return caption.text, caption.labels


def known_words(seed: int) -> list[str]:
    """The words of many captions and prompts."""
    from pretrain.data.tokenizers import WordList

    writer = Writer(np.random.default_rng((seed, 0x5C02E)))
    people = [create_person(seed, 1_000_000 + number) for number in range(TEXTS)]
    return WordList.train((writer.write(person, "street", True)[0] for person in people), least=3).words


def draw_crops(dataset: DrawnDataset, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
    """[B, 3, IMAGE_HEIGHT, IMAGE_WIDTH] in [0, 1]: crops around jittered boxes, some mirrored, some less sharp, of slightly other light."""
    center, size = jittered_windows(dataset, rows, rng, margin=0.08)
    scale = rng.choice([1.0, float(rng.uniform(SMALLEST, 1))])  # of this batch
    height, width = round(IMAGE_HEIGHT * scale), round(IMAGE_WIDTH * scale)
    images = torch.from_numpy(np.ascontiguousarray(dataset.pixels[rows])).permute(0, 3, 1, 2).float() / 255
    crops = cut_windows(images, center, size, height, width)
    if scale < 1:
        crops = interpolate(crops, (IMAGE_HEIGHT, IMAGE_WIDTH), mode="bilinear")
    crops = torch.where(torch.from_numpy(rng.random((len(rows), 1, 1, 1)) < 0.5), crops.flip(3), crops)
    return (crops * torch.from_numpy(rng.uniform(0.92, 1.08, (len(rows), 3, 1, 1)).astype(np.float32))).clamp(0, 1)


def true_of(labels: Tensor, attributes: Tensor) -> Tensor:
    """[T, B]: whether no label of a text [T, A] contradicts the attributes [B, A] of an image."""
    return ((labels[:, None] == attributes) | (labels[:, None] < 0)).all(2)


def contrast(images: Tensor, texts: Tensor, labels: Tensor, attributes: Tensor, temperature: Tensor) -> Tensor:
    """Mean cross entropy of the own caption among texts, and of the own image among images.

    Embeddings of images [B, D] and of texts [T, D], the own captions first; labels [T, A] of the texts; attributes [B, A].
    """
    rows = len(images)
    own = torch.arange(rows)
    unclear = true_of(labels, attributes)
    unclear[own, own] = False
    logits = (texts @ images.T / temperature).masked_fill(unclear, -torch.inf)  # [T, B]
    return (cross_entropy(logits.T, own) + cross_entropy(logits[:rows], own)) / 2


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, resume: bool) -> dict[str, Any]:
    """Train for so many minutes and save a release into `work`/scorer, with weights in half precision."""
    from pretrain.gallery import tokenize

    rng = seed_random_numbers(seed, resume)
    config, tokenizer, method = build(known_words(seed))
    if resume:
        from pretrain.trained_method import read

        method = read(str(work / "scorer")).method.train()
    space = load_space("market1501")
    attribute_head = nn.Linear(config.ssan.width, len(space.names))
    log_temperature = nn.Parameter(torch.tensor(START_TEMPERATURE).log())
    rows, writer, average = dataset.sound_rows, Writer(rng), WeightAverage(method, 0.995)
    person_of = lru_cache(None)(dataset.person)
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (config.data.mean, config.data.std))

    def compute_loss(step: int) -> Any:
        drawn = np.sort(rng.choice(rows, min(BATCH, len(rows)), replace=False))
        people = [person_of(row) for row in drawn.tolist()]
        scenes = [(dataset.place(row), dataset.walking(row)) for row in drawn.tolist()]
        others = [exchange_attribute(person, rng) for person in people[:WRONG]]
        written = [writer.write(person, *scene) for person, scene in zip(people + others, scenes + scenes[:WRONG], strict=True)]
        labels = torch.tensor([row for _, row in written])
        attributes = torch.tensor([person.attributes() for person in people])
        crops = (draw_crops(dataset, drawn, rng) - mean) / deviation
        tokens = tokenize(tokenizer, [text for text, _ in written])
        with bfloat16():
            levels, texts = method.image_levels(method.image(crops)), method.embed_text(tokens)
            attribute_logits = attribute_head(levels["global"][:, 0]).float()
        images = torch.cat([normalize(level.float().flatten(1)) for level in levels.values()], 1)
        loss = contrast(normalize(images), normalize(texts.float()), labels, attributes, log_temperature.exp())
        return loss + ATTRIBUTE_LOSS_WEIGHT * binary_cross_entropy_with_logits(attribute_logits, attributes.float())

    parameters = [*method.parameters(), *attribute_head.parameters(), log_temperature]
    results = optimize("scorer", iter(parameters), compute_loss, minutes, LEARNING_RATE, lambda step: average.update(method))
    save(work / "scorer", config, tokenizer, average.model, results)
    return results | {"temperature": round(float(log_temperature.detach().exp()), 4)}


def save(folder: Path, config: Any, tokenizer: Any, method: Any, results: dict[str, Any]) -> None:
    """Write what a release has: weights, here in half precision, which a method's loading turns into float32, settings and tokenizer."""
    import yaml

    from pretrain import checkpoint
    from pretrain.build import TOKENIZER

    folder.mkdir(exist_ok=True)
    checkpoint.release(folder, method.half(), yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), results)
    tokenizer.save(folder / TOKENIZER)
