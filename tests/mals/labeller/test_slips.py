"""Known words that mean nothing where they stand are mended there, and only there."""

import pytest

from mals.labeller.labeller import Labeller


@pytest.mark.parametrize(
    ("caption", "mended"),
    [
        ("a shirt with a lack stripe", "a shirt with a black stripe"),
        ("a back leather jacket", "a black leather jacket"),
        ("wearing while pants", "wearing white pants"),
        ("his shoes or white", "his shoes are white"),
        ("his hair ia very short", "his hair are very short"),
        ("the back pocket", "the back pocket"),
        ("a lack of hair", "a lack of hair"),
        ("and while jeans are sold", "and while jeans are sold"),
        ("shorts or white pants", "shorts or white pants"),
        ("a hat or a cap", "a hat or a cap"),
    ],
)
def test_a_slip_is_mended_where_it_makes_no_sense(labeller: Labeller, caption: str, mended: str) -> None:
    words = labeller.vocabulary.split(caption)
    assert labeller.grammar.slips.mend(words, labeller.grammar.tag(words))[0] == mended.split()
