"""Values and sources from a reading."""

from pathlib import Path

import pytest

from mals.labeller.labeller import Labeller


def label(labeller: Labeller, caption: str, attribute: str) -> tuple[str, str]:
    """The name of a value, and its source."""
    at = labeller.space.names.index(attribute)
    labels = labeller.label([caption])
    value = int(labels.values[0, at])
    return labeller.space.values[at][value] if value >= 0 else "unknown", str(labels.sources[0, at])


@pytest.mark.parametrize(
    ("caption", "attribute", "expected"),
    [
        ("a woman", "gender", ("woman", "explicit")),
        ("a person", "gender", ("unknown", "unknown")),
        ("a person in a red coat", "upper_red", ("yes", "explicit")),
        ("a person in a red coat", "upper_blue", ("no", "implicit")),
        ("a person in a pink coat", "upper_red", ("no", "implicit")),
        ("a person in jeans", "lower_blue", ("yes", "implicit")),
        ("a person in black jeans", "lower_blue", ("no", "implicit")),
        ("a person", "hat", ("no", "implicit")),
        ("a person without a hat", "hat", ("no", "explicit")),
        ("a person without a hat, in a cap", "hat", ("yes", "explicit")),
        ("a person in a t-shirt and a jacket", "sleeve_length", ("long", "explicit")),
        ("a person in a jacket and a t-shirt", "sleeve_length", ("long", "explicit")),
        ("a person in a jacket with short sleeves", "sleeve_length", ("short", "explicit")),
    ],
)
def test_values_and_sources(labeller: Labeller, caption: str, attribute: str, expected: tuple[str, str]) -> None:
    assert label(labeller, caption, attribute) == expected


def test_implicit_rules_fill_only_what_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("""
name: rules
attributes:
  coat: {values: ["no", "yes"], prompts: [no coat, a coat], words: {"yes": {upper: coat}}}
  boots: {values: ["no", "yes"], prompts: [no boots, boots], words: {"yes": {accessory: boot}, "no": {accessory: sandal}}}
implicit:
  - {when: {coat: "yes"}, then: {boots: "yes"}}
""")
    labeller = Labeller(tmp_path / "space.yaml")
    labels = labeller.label(["a man in a coat", "a man in a coat and sandals", "a man"])
    assert labels.values.tolist() == [[1, 1], [1, 0], [-1, -1]]
    assert labels.sources[:, 1].tolist() == ["implicit", "explicit", "unknown"]
    assert labels.evidence[0][1] == [(11, 15)]  # the coat
