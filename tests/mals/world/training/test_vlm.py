"""The captioner that follows instructions: what it is taught, how a batch is packed, and that a small one learns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mals.config import Captioner
from mals.models import ResolvedModel
from mals.stages.captioning.model import Request
from mals.stages.vlm import Vlm
from mals.world.person import create_person
from mals.world.training import vlm
from mals.world.training.conversations import Turn, static_turn, template_turn
from mals.world.training.instruction_tokenizer import build_tokenizer
from mals.world.training.vocabulary import WORDS

SMALL = vlm.Sizes(width=32, layers=1, heads=2, key_value_heads=1, tower_width=32, tower_layers=1)
TURNS = [Turn("value", "what colour is the coat?", "The coat is red."), Turn("value", "is there a hat?", "Yes, there is a hat.")]


@pytest.fixture(scope="module")
def processor() -> Any:
    return vlm.build_processor(build_tokenizer(tuple(sorted({word for word in WORDS.split() if word.isalpha()} | {"t-shirt"}))))


def small_model(processor: Any) -> Any:
    torch.manual_seed(0)
    return vlm.build(processor.tokenizer, SMALL)


def test_a_caption_is_decoded_as_it_was_written(processor: Any) -> None:
    text = "A young woman, in a blue-and-white striped t-shirt. Zigzag 3."
    tokens = processor.tokenizer(text).input_ids
    assert processor.tokenizer.decode(tokens, skip_special_tokens=True) == text


def test_packed_requests_are_the_tokens_of_the_chat_template_and_do_not_see_each_other(processor: Any) -> None:
    model, crops = small_model(processor).eval(), torch.randn(1, 3, vlm.SIDE, vlm.SIDE)
    packed = vlm.pack([TURNS], processor)
    with torch.no_grad():
        together = float(vlm.compute_loss(model, crops, packed))
        apart = [(float(vlm.compute_loss(model, crops, vlm.pack([[turn]], processor))), vlm.pack([[turn]], processor)) for turn in TURNS]
    counts = [int((tokens.targets >= 0).sum()) for _, tokens in apart]
    assert together == pytest.approx(sum(loss * count for (loss, _), count in zip(apart, counts, strict=True)) / sum(counts), abs=0.02)
    chat: Any = [
        {
            "role": "user",
            "content": [{"type": "image", "image": np.zeros((40, 20, 3), np.uint8)}, {"type": "text", "text": TURNS[0].request}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": TURNS[0].reply}]},
    ]
    inputs = processor.apply_chat_template([chat], tokenize=True, return_dict=True, return_tensors="pt")
    assert inputs["input_ids"].tolist() == apart[0][1].ids.tolist()


def test_a_small_model_learns_and_the_backend_vlm_reads_it(processor: Any, tmp_path: Path) -> None:
    model = small_model(processor)
    torch.manual_seed(0)
    image = np.full((40, 20, 3), 90, np.uint8)
    crops = processor.image_processor([image], return_tensors="pt")["pixel_values"]  # one image, so that the requests alone decide
    tokens = vlm.pack([TURNS], processor)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(120):
        loss = vlm.compute_loss(model, crops, tokens)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]
    vlm.save(model, processor, tmp_path / "vlm")
    settings = Captioner(backend="vlm", model="small", beams=1, max_tokens=12, prompt="?")
    captioner = Vlm(settings, ResolvedModel("small", str(tmp_path / "vlm"), ""))
    assert captioner.caption([Request(image, turn.request, 0) for turn in TURNS]) == [turn.reply for turn in TURNS]


def test_the_same_seed_gives_the_same_conversations_and_no_slot_stays_open() -> None:
    people = [create_person(3, number) for number in range(20)]
    first, again = ([template_turn(person, 3, np.random.default_rng(5)) for person in people] for _ in range(2))
    assert first == again
    assert not any(
        set("[]{}") & set(turn.reply) for turn in [*first, *(static_turn(person, 3, np.random.default_rng(5)) for person in people)]
    )
