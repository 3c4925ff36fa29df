"""What a text claims about its person, by the labeller: what it is silent about is no claim, although the labeller takes it for a "no"."""

from collections.abc import Mapping, Sequence

import numpy as np

from mals.labeller.decision import IMPLICIT, UNKNOWN
from mals.labeller.labeller import Labeller

Claims = Mapping[int, int]  # attribute -> its value, 0 or 1
KINDS = {  # half of the body -> what the name of a garment tells
    "upper_color": ("sleeve_length",),
    "lower_color": ("lower_length", "lower_type"),
}


def claims_table(labeller: Labeller, texts: Sequence[str]) -> np.ndarray:
    """The values [N, A] that words of the texts express, or that follow from these (a red shirt is not blue); -1: no claim."""
    labels, space = labeller.label(texts), labeller.space
    silence = np.array([space.value_if_not_mentioned(attribute) for attribute in range(len(space.names))])
    is_silence = (labels.source_codes == IMPLICIT) & (labels.values == silence)
    return np.where((labels.source_codes == UNKNOWN) | is_silence, np.int8(-1), labels.values)


def searched_claims(labeller: Labeller, texts: Sequence[str]) -> np.ndarray:
    """`claims_table` [N, A] of texts as people search: what a garment is called is no claim, since labels do not tell a jacket from a coat.

    Where a jacket means long sleeves, images of another colour with long sleeves come before those of the right colour with short ones.
    """
    claims = claims_table(labeller, texts)
    named = labeller.space.names
    claims[:, [named.index(name) for names in KINDS.values() for name in names if name in named]] = -1
    return claims


def claims_of(labeller: Labeller, text: str) -> dict[int, int]:
    """What one text claims, see `claims_table`."""
    return {attribute: value for attribute, value in enumerate(claims_table(labeller, [text])[0].tolist()) if value >= 0}


def contradict(one: Claims, other: Claims) -> bool:
    """Whether both claim different values of an attribute."""
    return any(other.get(attribute, value) != value for attribute, value in one.items())
