"""Marks between the entries of a list become punctuation of the same length; hyphens inside words stay."""

from collections.abc import Callable

import pytest

from mals.labeller.labeller import Labeller
from mals.labeller.separators import replace_separators


@pytest.mark.parametrize(
    ("caption", "replaced"),
    [
        ("boy | red cap", "boy ; red cap"),
        ("boy|red cap", "boy;red cap"),
        ("* boy * cap", "; boy ; cap"),
        ("**Top:** a *red* shirt", "**Top:** a *red* shirt"),
        ("boy -- red cap", "boy –  red cap"),
        ("Boy - red cap", "Boy – red cap"),
        ("coat (open) - red cap", "coat (open) – red cap"),
        ("a t - shirt", "a t - shirt"),
        ("a blue - trimmed coat", "a blue - trimmed coat"),
        ("a red - and - white scarf", "a red - and - white scarf"),
        ("boots - socks", "boots – socks"),
        ("- boy\n- red cap", "; boy\n; red cap"),
        ("boy/shirt green/cap/no bag", "boy;shirt green;cap;no bag"),
        ("his/her shirt is red/blue", "his/her shirt is red/blue"),
        ("He/she wears a red/green top and his/her hat", "He/she wears a red/green top and his/her hat"),
    ],
)
def test_marks_of_lists_become_punctuation_and_hyphens_of_words_stay(labeller: Labeller, caption: str, replaced: str) -> None:
    vocabulary = labeller.vocabulary
    assert replace_separators(caption, lambda word: vocabulary.tag_of.get(word, ""), vocabulary.phrases) == replaced


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        (
            "boy | green hoodie | grey shorts",
            "gender=man age=child sleeve_length=long lower_length=short lower_type=pants upper:green lower:gray",
        ),
        ("* woman * beret * yellow coat", "gender=woman age=adult hat sleeve_length=long upper:yellow lower:?"),
        (
            "• man • blue tee • black joggers",
            "gender=man age=adult sleeve_length=short lower_length=long lower_type=pants upper:blue lower:black",
        ),
        ("girl -- braids -- white dress", "gender=woman age=child hair_length=long lower_type=skirt upper:white lower:white"),
        (
            "man - bald - green polo (tight) - white shorts",
            "gender=man age=adult hair_length=short sleeve_length=short lower_length=short lower_type=pants upper:green lower:white",
        ),
        ("Sex: male - Hair: short - Coat: purple - Shoes: white", "gender=man hair_length=short sleeve_length=long upper:purple lower:?"),
        (
            "- woman\n- red scarf\n- white coat\n- blue jeans",
            "gender=woman age=adult sleeve_length=long lower_length=long lower_type=pants upper:white lower:blue",
        ),
        ("female/top plain red/white skirt/heels/no bag", "gender=woman no-bag lower_type=skirt upper:red lower:white"),
        ("a man in a t - shirt and a bow - tie", "gender=man age=adult sleeve_length=short upper:? lower:?"),
        ("**Top:** a **red** jacket", "sleeve_length=long upper:red lower:?"),
    ],
)
def test_lists_with_marks_say_what_lists_with_commas_say(summary: Callable[[str], str], caption: str, values: str) -> None:
    assert summary(caption) == values


def test_evidence_of_a_list_with_marks_is_where_its_words_are(labeller: Labeller) -> None:
    caption = "boy -- red cap | GREEN coat"
    green = labeller.space.names.index("upper_green")
    assert [caption[start:end] for start, end in labeller.label([caption]).evidence[0][green]] == ["GREEN"]
