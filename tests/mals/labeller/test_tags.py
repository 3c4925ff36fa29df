"""Tags have unique letters, and patterns name them."""

import pytest

from mals.labeller import tags


def test_every_tag_is_a_letter_of_its_own() -> None:
    names = [name for name in vars(tags) if name.isupper() and name != "NAMES"]
    assert len({getattr(tags, name) for name in names}) == len(names) == len(tags.NAMES)
    assert all(len(letter) == 1 for letter in tags.NAMES)


def test_a_pattern_names_its_tags() -> None:
    pattern = tags.compile_pattern("(?<=<determiner>) <color modifier>{0,2}\n <clothing>")
    assert pattern.pattern == "(?<=D)[CM]{0,2}G"
    assert tags.compile_pattern("<stop>").match("N") is None  # a full stop, not any letter


def test_an_unknown_name_in_a_pattern_is_refused() -> None:
    with pytest.raises(KeyError, match="colour"):
        tags.compile_pattern("<colour>")
