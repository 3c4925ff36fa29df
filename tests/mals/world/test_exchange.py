"""A person with one attribute exchanged."""

import numpy as np
import pytest

from mals.attributes import load_space
from mals.world.captions import write_caption
from mals.world.exchange import exchange_attribute
from mals.world.person import create_person

SPACE = load_space("market1501")
GROUP = {member: name for name, group in SPACE.color_groups.items() for member in group.colors.values()}
TOGETHER = {"lower_length": "legs", "lower_type": "legs", "hair_length": "hair"}  # what one garment decides


def changed(number: int, seed: int) -> set[str]:
    person = create_person(3, number)
    values = exchange_attribute(person, np.random.default_rng((number, seed))).attributes()
    names = [name for name, own, other in zip(SPACE.names, person.attributes(), values, strict=True) if own != other]
    return {GROUP.get(name, TOGETHER.get(name, name)) for name in names}


def test_one_attribute_is_exchanged_and_each_is_in_some_draw() -> None:
    draws = [changed(number, seed) for number in range(40) for seed in range(12)]
    dresses = {number for number in range(40) if create_person(3, number).lower is None}
    assert dresses and all(1 <= len(draw) <= 2 for draw in draws)
    alone = [draw for index, draw in enumerate(draws) if index // 12 not in dresses]
    assert all(len(draw) == 1 for draw in alone), "but for a dress, whose colour is that of both halves, one attribute or colour changes"
    assert set().union(*alone) == {
        *("gender", "age", "hair", "sleeve_length", "legs", "upper_color", "lower_color"),
        *("hat", "backpack", "handbag", "bag"),
    }


@pytest.mark.parametrize("number", range(30))
def test_a_complete_caption_of_the_result_contradicts_the_person(number: int) -> None:
    person, rng = create_person(3, number), np.random.default_rng(number)
    wrong = [np.array(write_caption(exchange_attribute(person, rng), rng, complete=True).labels) for _ in range(8)]
    truth = np.array(person.attributes())
    assert all(((labels >= 0) & (labels != truth)).any() for labels in wrong)
