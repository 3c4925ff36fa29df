"""The people of the world: all attribute values occur, and properties can be fixed one by one."""

import numpy as np

from mals.attributes import load_space
from mals.world.person import Person, create_person


def test_fixed_properties_leave_all_others_as_they_are() -> None:
    for number in range(30):
        plain = create_person(8, number)
        dressed = create_person(8, number, hat="red")
        assert dressed.hat is not None and dressed.hat.color == "red"
        assert {name for name in Person.__dataclass_fields__ if getattr(plain, name) != getattr(dressed, name)} <= {"hat"}


def test_every_value_of_every_attribute_is_in_the_world() -> None:
    values = np.array([create_person(10, number).attributes() for number in range(600)])
    assert (
        ((values == 0).sum(0) >= 10).all()
        and ((values == 1).sum(0) >= 10).all()
        and values.shape == (600, len(load_space("market1501").names))
    )
