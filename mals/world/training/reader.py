"""Trains the language model of the captioner that follows instructions to copy and to fill templates from written facts, without images.

A small model learns to copy late where it can do without, and soon from texts that have nothing else: by short repetitions alone within
400 steps, by a mixture of all requests not within 700, and with images from the start it followed the templates that it had seen and no
others.
"""

from pathlib import Path
from typing import Any

from mals.world.person import create_person
from mals.world.training.conversations import draw_written_turn, repeat_turn
from mals.world.training.drawn_dataset import DrawnDataset
from mals.world.training.instruction_tokenizer import build_tokenizer, words
from mals.world.training.optimization import seed_random_numbers
from mals.world.training.vlm import build, build_processor, compute_loss, fit, load, pack, start_tower

BATCH = 24
LEARNING_RATE = 2e-3
REPEAT_STEPS, REPEAT_BATCH, REPEAT_WORDS = 500, 64, 12  # the first steps are of repetitions alone, of at most so many words
PERSONS = 1_000_000  # facts are of any of these


def train(dataset: DrawnDataset, work: Path, minutes: float, seed: int, resume: bool) -> dict[str, Any]:
    """Train for so many minutes and save model and processor into `work`/reader."""
    rng = seed_random_numbers(seed, resume)
    processor, folder = build_processor(build_tokenizer(words(seed))), work / "reader"
    if resume:
        model = load(folder)
    else:
        model = build(processor.tokenizer)
        start_tower(model)
    model.model.vision_tower.requires_grad_(False)
    model.model.multi_modal_projector.requires_grad_(False)

    def loss_of_step(step: int) -> Any:
        if step < REPEAT_STEPS and not resume:
            return compute_loss(model, None, pack([[repeat_turn(rng, REPEAT_WORDS)] for _ in range(REPEAT_BATCH)], processor, images=False))
        people = [create_person(seed, int(number)) for number in rng.integers(0, PERSONS, BATCH)]
        samples = [[draw_written_turn(person, seed, rng)] for person in people]
        return compute_loss(model, None, pack(samples, processor, images=False))

    return fit("reader", model, processor, folder, loss_of_step, minutes, LEARNING_RATE, 0.995)
