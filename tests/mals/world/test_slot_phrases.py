"""What fills the slots of templates for drawn people, and how a caption in the shape of a template is read."""

import numpy as np
import pytest

from mals.stages.captioning.templates import fill
from mals.world.person import create_person
from mals.world.slot_phrases import is_right, slot_phrases, slot_texts
from mals.world.training.instruction_templates import HELD_OUT, held_out_generated, trained_generated

TEMPLATES = (*HELD_OUT, *held_out_generated()[::24], *trained_generated()[::96])


def test_every_slot_of_a_filled_template_is_read_as_right() -> None:
    for number in range(8):
        person = create_person(5, number)
        for template in TEMPLATES:
            texts = slot_texts(template, fill(template, slot_phrases(person, np.random.default_rng(number))))
            assert texts and all(is_right(slot, text, person) for slot, text in texts.items())


def test_the_phrases_of_another_person_are_mostly_wrong() -> None:
    person, other = create_person(5, 1, upper_color="red", hat=None), create_person(5, 2, upper_color="green", hat="blue")
    texts = slot_texts(HELD_OUT[2], fill(HELD_OUT[2], slot_phrases(other, np.random.default_rng(1))))
    assert texts and not is_right("clothes", texts["clothes"], person) and not is_right("hat", texts["hat"], person)


@pytest.mark.parametrize("caption", ["", "A woman in red.", "The camera sees nothing."])
def test_a_caption_of_another_shape_has_no_slots(caption: str) -> None:
    assert slot_texts(HELD_OUT[0], caption) is None


def test_trained_and_held_out_templates_of_the_generator_have_nothing_in_common() -> None:
    assert not set(trained_generated()) & set(held_out_generated())
    assert len(held_out_generated()) == 96 and len(trained_generated()) == 384
