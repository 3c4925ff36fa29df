"""Questions about attributes of drawn people have answers that are true."""

import numpy as np
import pytest

from mals.world.person import create_person
from mals.world.questions import VALUES, YES_OR_NO, value_question, yes_or_no_question


@pytest.mark.parametrize(
    ("attribute", "answer"),
    [
        ("upper_color", "The upper garment is red."),
        ("hat", "The person wears no hat."),
        ("gender", "The person is female."),
        ("carried", "The person carries a blue backpack."),
    ],
)
def test_the_value_of_an_attribute_is_told(attribute: str, answer: str) -> None:
    person = create_person(4, 0, gender="woman", upper="sweater", upper_color="red", hat=None, backpack="blue", handbag=None, bag=None)
    assert value_question(person, attribute, np.random.default_rng(0)).answer == answer


def test_yes_or_no_follows_the_person_and_both_are_asked_for() -> None:
    person = create_person(4, 0, gender="man", hat="red", backpack=None)
    rng = np.random.default_rng(0)
    assert yes_or_no_question(person, "hat", rng).answer == "Yes, there is a hat or cap."
    assert yes_or_no_question(person, "backpack", rng).answer == "No, there is not a backpack."
    answers = {yes_or_no_question(person, "gender", rng).text: yes_or_no_question(person, "gender", rng) for _ in range(20)}
    assert set(answers) == {"Is the person male?", "Is the person female?"}


def test_answers_have_at_least_five_tokens() -> None:
    rng = np.random.default_rng(1)
    for number in range(30):
        person = create_person(4, number)
        questions = [value_question(person, name, rng) for name in VALUES] + [yes_or_no_question(person, name, rng) for name in YES_OR_NO]
        assert all(len(question.answer.replace(",", " ,").replace(".", " .").split()) >= 5 for question in questions)
