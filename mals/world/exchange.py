"""A person of the world with one attribute exchanged, so that a caption of the result is wrong in one thing about the first person."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mals.attributes import load_space
from mals.world.person import COLORS, HAIRCUTS, HATS, LONG_LEGGED, LONG_SLEEVED, SHORT_SLEEVED, SKIRTS, Garment, Person

CARRIED = ("hat", "backpack", "handbag", "bag")
Change = Callable[[Person, np.random.Generator], Person]


def exchange_attribute(person: Person, rng: np.random.Generator) -> Person:
    """`person` with another value of one attribute that `rng` chooses: what is worn or carried, its colour, hair, age or gender."""
    if person.lower is None:  # a dress
        changes = [_upper_color, _hair, _age, _gender]
    else:
        changes = [_upper_color, _lower_color, _upper_kind, _lower_kind, _hair, _age, _gender]
    number = int(rng.integers(len(changes) + len(CARRIED)))
    return changes[number](person, rng) if number < len(changes) else _carried(person, rng, CARRIED[number - len(changes)])


def _choose(options: Sequence[str], without: Sequence[str], rng: np.random.Generator) -> str:
    rest = [option for option in options if option not in without]
    return rest[int(rng.integers(len(rest)))]


def _recolored(garment: Garment, half: str, rng: np.random.Generator) -> Garment:
    """In a colour that the attribute space has for this half of the body."""
    color = _choose(tuple(load_space("market1501").color_groups[half].colors), garment.colors, rng)
    return replace(garment, color=color, rgb=COLORS[color])


def _upper_color(person: Person, rng: np.random.Generator) -> Person:
    return replace(person, upper=_recolored(person.upper, "upper_color", rng))


def _lower_color(person: Person, rng: np.random.Generator) -> Person:
    assert person.lower is not None
    kind = "pants" if person.lower.kind == "jeans" else person.lower.kind  # jeans are blue
    return replace(person, lower=replace(_recolored(person.lower, "lower_color", rng), kind=kind))


def _upper_kind(person: Person, rng: np.random.Generator) -> Person:
    kinds, sleeves = (SHORT_SLEEVED, "short") if person.sleeves == "long" else (LONG_SLEEVED, "long")
    return replace(person, upper=replace(person.upper, kind=_choose(kinds, (), rng)), sleeves=sleeves)


def _lower_kind(person: Person, rng: np.random.Generator) -> Person:
    """With something else on the legs: long trousers, shorts, a short or a long skirt."""
    assert person.lower is not None
    same = LONG_LEGGED if person.lower.kind in LONG_LEGGED else (person.lower.kind,)
    return replace(person, lower=replace(person.lower, kind=_choose(("pants", "shorts", *SKIRTS), same, rng)))


def _hair(person: Person, rng: np.random.Generator) -> Person:
    hair = "short" if person.hair == "long" else "long"
    return replace(person, hair=hair, haircut=_choose(HAIRCUTS[hair], ("bald",), rng))


def _age(person: Person, rng: np.random.Generator) -> Person:
    return replace(person, age="adult" if person.age == "child" else "child", beard=False)


def _gender(person: Person, rng: np.random.Generator) -> Person:
    haircut = "short" if person.haircut == "bald" else person.haircut
    return replace(person, gender="man" if person.gender == "woman" else "woman", haircut=haircut, beard=False)


def _carried(person: Person, rng: np.random.Generator, name: str) -> Person:
    """With a thing of the kind, or without the one that the person has."""
    if getattr(person, name) is not None:
        return replace(person, **{name: None})  # type: ignore[arg-type]  # a name of CARRIED
    color = _choose(tuple(COLORS), (), rng)
    kind = _choose(HATS, (), rng) if name == "hat" else name
    return replace(person, **{name: Garment(kind, color, COLORS[color])})  # type: ignore[arg-type]
