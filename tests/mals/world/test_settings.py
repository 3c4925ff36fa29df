"""The settings of a drawn data set: bad options are refused, and persons are distributed over splits."""

import pytest

from mals.errors import UserError
from mals.world.settings import WorldSettings, parse_shares, persons_per_split

SPLIT = "train=0.5,val=0.2,test=0.3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "train=0.5,test=0.4"}, r"must sum to 1, not 0\.9"),
        ({"split": "train=0.5,train=0.5"}, "different names"),
        ({"split": "train=1,test=0"}, "shares above 0"),
        ({"split": "train"}, "--split takes"),
        ({"split": "../a=1"}, "--split takes"),
        ({"split": ""}, "--split takes"),
        ({"persons": 2}, "--persons must be 3 or more, one for each split, not 2"),
        ({"views": 0}, "--views must be 1 or more, not 0"),
        ({"seed": -1}, "--seed"),
        ({"height": 65}, "--height must be an even number"),
        ({"height": 8}, "--height"),
    ],
)
def test_bad_options_are_refused_in_one_sentence(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        WorldSettings.checked(**{"persons": 6, "views": 3, "split": SPLIT, "seed": 0, "height": 64} | change)
    assert "\n" not in str(refusal.value)


def test_every_split_has_a_person_and_together_they_have_all() -> None:
    for persons in range(3, 40):
        counts = persons_per_split(persons, parse_shares("train=0.98,val=0.01,test=0.01"))
        assert sum(counts.values()) == persons and min(counts.values()) >= 1
    assert persons_per_split(1000, parse_shares("train=.7,val=.1,test=.2")) == {"train": 700, "val": 100, "test": 200}
