"""What a text claims about its person, by the labeller: what it is silent about is no claim, although the labeller takes it for a "no"."""

from collections.abc import Mapping

from mals.labeller.decision import IMPLICIT, UNKNOWN
from mals.labeller.labeller import Labeller

Claims = Mapping[int, int]  # attribute -> its value, 0 or 1


def claims_of(labeller: Labeller, text: str) -> dict[int, int]:
    """The values that words of a text express, or that follow from these: of a red shirt also that it is not blue."""
    labels, space = labeller.label([text]), labeller.space
    claims = {}
    for attribute, (value, source) in enumerate(zip(labels.values[0].tolist(), labels.source_codes[0].tolist(), strict=True)):
        is_silence = source == IMPLICIT and value == space.value_if_not_mentioned(attribute)
        if source != UNKNOWN and not is_silence:
            claims[attribute] = value
    return claims


def contradict(one: Claims, other: Claims) -> bool:
    """Whether both claim different values of an attribute."""
    return any(other.get(attribute, value) != value for attribute, value in one.items())
