import json
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from mals.stages.repetition import collapse, repetition

CASES = [
    ("a man with his hands on his hips and his hands on his hips", "a man with his hands on his hips"),
    ("a woman with a handbag and a handbag in her hand", "a woman with a handbag in her hand"),
    ("a a man in a coat", "a man in a coat"),
    ("a man in a red hat, a red hat, a red hat.", "a man in a red hat."),
    ("black black black", "black"),
    ("a woman with a hat, a hat on her head", "a woman with a hat on her head"),
    ("He stands. He stands. He smiles.", "He stands. He smiles."),
    ("A man walks! A man walks", "A man walks!"),
]
KEPT = [
    "a man in a black shirt and black pants",
    "a woman in a white shirt and white pants and white shoes",
    "a boy and a girl",
    "He wears a black hat. A black hat is rare.",
    "There is a woman. Woman and bag are red.",
    "",
    "  one   two ",
]
words = st.lists(st.sampled_from(["a", "red", "hat", "and", "with", "A", "hat,", "hat.", "hips.", "—", "..."]), max_size=14).map(" ".join)


@pytest.mark.parametrize(("text", "once"), CASES)
def test_a_repetition_is_removed(text, once):
    assert collapse(text) == once
    assert repetition(text) > 0.1


@pytest.mark.parametrize("text", KEPT)
def test_what_does_not_repeat_stays(text):
    assert collapse(text) == " ".join(text.split())
    assert repetition(text) == 0


def test_the_published_example_is_mostly_repetition():
    assert repetition("with his hands on his hips and his hands on his hips") == pytest.approx(6 / 12)


def test_repetitions_of_a_real_blip_are_removed():
    file = Path(__file__).parents[2] / "data/repetitions.jsonl"
    for line in file.read_text().splitlines():
        case = json.loads(line)
        assert collapse(case["caption"]) == case["once"]


@hypothesis.given(words)
def test_collapsing_again_changes_nothing(text):
    assert collapse(collapse(text)) == collapse(text)


@hypothesis.given(words)
def test_no_word_is_new_and_only_joining_words_can_go_altogether(text):
    before, after = ({word.strip(".,").lower() for word in version.split()} for version in (text, collapse(text)))
    assert after <= before
    assert before - after <= {"and", "with", ""}
    assert bool(collapse(text)) == bool(text.split())


@hypothesis.given(words)
def test_the_score_is_a_share(text):
    assert 0 <= repetition(text) < 1
