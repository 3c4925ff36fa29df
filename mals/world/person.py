"""The people of the world: a person is an identity, with all properties that stay the same from image to image.

`create_person(seed, number)` is a pure function. A colour's name is what people would call its shades. Every attribute of the space
market1501 follows from the person alone, even where the image hides it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mals.attributes import load_space

RGB = tuple[int, int, int]

# The central shade of each colour name; `random_shade` varies it by less than half the distance to any neighbour.
COLORS: dict[str, RGB] = {
    "black": (28, 28, 32),
    "white": (238, 238, 234),
    "red": (200, 28, 34),
    "purple": (116, 36, 150),
    "yellow": (236, 200, 40),
    "blue": (32, 72, 190),
    "green": (34, 134, 52),
    "gray": (134, 136, 138),
    "brown": (112, 66, 32),
    "pink": (246, 146, 186),
    "orange": (240, 124, 24),
}
UPPER_COLORS = ("black", "white", "red", "purple", "yellow", "blue", "green", "gray", "brown", "pink", "orange")
LOWER_COLORS = ("black", "white", "purple", "yellow", "blue", "green", "pink", "gray", "brown", "red", "orange")
SKINS: tuple[RGB, ...] = ((250, 220, 196), (238, 196, 164), (214, 164, 124), (172, 120, 82), (122, 80, 54), (84, 54, 38))
HAIRS: dict[str, RGB] = {
    "black": (24, 20, 20),
    "brown": (84, 52, 28),
    "blonde": (226, 186, 104),
    "red": (160, 70, 26),
    "gray": (168, 166, 164),
}

# Kinds of garments by the attribute values that they stand for. A kind is as frequent as it is repeated.
SHORT_SLEEVED = ("t-shirt", "polo shirt", "tank top")
LONG_SLEEVED = ("sweater", "jacket", "coat", "hoodie", "long-sleeved shirt")
LONG_LEGGED = ("pants", "jeans", "leggings")
DRESSES = ("short dress", "long dress")
SKIRTS = ("short skirt", "long skirt")
HATS = ("cap", "beanie", "hat")
HAIRCUTS = {"short": ("short", "short", "bob", "bald"), "long": ("loose", "loose", "ponytail")}
PATTERNS = ("plain", "plain", "plain", "plain", "ribbed", "dotted", "printed")  # all of one colour; "striped" has two


@dataclass(frozen=True)
class Garment:
    """A piece of clothing, a hat or a bag; `second` is the other colour of stripes, None for any other pattern."""

    kind: str
    color: str
    rgb: RGB
    pattern: str = "plain"
    second: str | None = None
    second_rgb: RGB | None = None

    @property
    def colors(self) -> tuple[str, ...]:
        return (self.color,) if self.second is None else (self.color, self.second)


@dataclass(frozen=True)
class Person:
    """An identity; `lower` is None if `upper` is a dress."""

    number: int
    gender: str  # woman, man
    age: str  # child, adult
    hair: str  # short, long
    haircut: str  # of HAIRCUTS
    hair_color: str
    hair_rgb: RGB
    skin: RGB
    beard: bool
    upper: Garment
    lower: Garment | None
    sleeves: str  # long, short
    shoes: Garment
    hat: Garment | None
    backpack: Garment | None
    handbag: Garment | None
    bag: Garment | None
    stature: float  # body height; 1 for an average man
    girth: float  # breadth of trunk and limbs; 1 for an average person

    @property
    def lower_length(self) -> str:
        kind = self.lower.kind if self.lower else self.upper.kind
        return "long" if kind in (*LONG_LEGGED, "long skirt", "long dress") else "short"

    @property
    def lower_type(self) -> str:
        return "skirt" if self.lower is None or self.lower.kind in SKIRTS else "pants"

    def attributes(self) -> list[int]:
        """[27] in {0, 1}: the values of market1501 in its order and polarity; none is unknown."""
        space = load_space("market1501")
        lower_colors = (self.lower or self.upper).colors
        values = {
            "gender": self.gender,
            "age": self.age,
            "hair_length": self.hair,
            "sleeve_length": self.sleeves,
            "lower_length": self.lower_length,
            "lower_type": self.lower_type,
        }
        values |= {name: "yes" if getattr(self, name) else "no" for name in ("hat", "backpack", "handbag", "bag")}
        for name, group in space.color_groups.items():
            colors = self.upper.colors if name == "upper_color" else lower_colors
            values |= {attribute: "yes" if color in colors else "no" for color, attribute in group.colors.items()}
        return [space.values[column].index(values[name]) for column, name in enumerate(space.names)]


def create_person(seed: int, number: int, **fixed: str | None) -> Person:
    """Person `number` of the world `seed`.

    `fixed` sets gender, age, hair, upper, lower, upper_color, lower_color, hat, backpack, handbag, bag, hair_color, haircut or pattern by
    name (hat and bags: a colour, or None for none) and leaves all other properties as they are without it.
    """
    rng = np.random.default_rng((seed, 0x9E50, number))
    draw = _PropertyDraw(rng, fixed)
    gender = draw.choice("gender", ("woman", "man"))
    age = draw.choice("age", ("child", "adult"), (0.3, 0.7))
    hair = draw.choice("hair", ("short", "long"), (0.35, 0.65) if gender == "woman" else (0.85, 0.15))
    haircut = draw.choice("haircut", tuple(cut for cut in HAIRCUTS[hair] if gender == "man" or cut != "bald"))
    hair_color = draw.choice("hair_color", tuple(HAIRS), (0.34, 0.3, 0.2, 0.08, 0.08))
    form_shares = (0.3, 0.2, 0.5) if gender == "woman" else (0.03, 0.02, 0.95)
    kinds = {"skirt": SKIRTS, "dress": DRESSES, "pants": (*LONG_LEGGED, "shorts", "shorts")}
    form = draw.choice("form", tuple(kinds), form_shares)
    lower_kind = draw.choice("lower", kinds[form])
    upper_kind = lower_kind if lower_kind in DRESSES else draw.choice("upper", (*SHORT_SLEEVED, "t-shirt", "t-shirt", *LONG_SLEEVED))
    sleeves = draw.choice("sleeves", ("long", "short"), (0.4, 0.6))  # of a dress; the kind of any other garment decides
    upper = draw.garment("upper_color", upper_kind, UPPER_COLORS)
    lower_colors = ("blue",) if lower_kind == "jeans" else LOWER_COLORS
    lower = None if lower_kind in DRESSES else draw.garment("lower_color", lower_kind, lower_colors)
    hat = draw.item("hat", 0.3, draw.choice("hat_kind", HATS))
    is_child = age == "child"
    return Person(
        number=number,
        gender=gender,
        age=age,
        hair=hair,
        haircut=haircut,
        hair_color=hair_color,
        hair_rgb=random_shade(HAIRS[hair_color], rng, 0.5),
        skin=random_shade(SKINS[int(rng.integers(len(SKINS)))], rng, 0.5),
        beard=bool(rng.random() < 0.35) and gender == "man" and not is_child,
        upper=upper,
        lower=lower,
        sleeves=sleeves if upper_kind in DRESSES else "long" if upper_kind in LONG_SLEEVED else "short",
        shoes=draw.garment("shoes", "shoes", ("black", "white", "brown", "gray", "red", "blue"), plain=True),
        hat=hat,
        backpack=draw.item("backpack", 0.25, "backpack"),
        handbag=draw.item("handbag", 0.22, "handbag"),
        bag=draw.item("bag", 0.22, "bag"),
        stature=float(rng.uniform(0.56, 0.74) if is_child else rng.uniform(0.96, 1.04) - (0.05 if gender == "woman" else 0)),
        girth=float(rng.uniform(0.88, 1.18)),
    )


def random_shade(center: RGB, rng: np.random.Generator, spread: float = 1.0) -> RGB:
    """One of the shades that have the same name as `center`."""
    light = rng.uniform(-14, 14) * spread
    red, green, blue = (int(np.clip(value + light + rng.uniform(-8, 8) * spread, 0, 255)) for value in center)
    return red, green, blue


class _PropertyDraw:
    """Draws properties by name. A fixed property is drawn too and its draw dropped, so that all others keep their random numbers."""

    def __init__(self, rng: np.random.Generator, fixed: Mapping[str, str | None]):
        self.rng, self.fixed = rng, fixed

    def choice(self, name: str, values: tuple[str, ...], shares: tuple[float, ...] | None = None) -> str:
        value = values[int(self.rng.choice(len(values), p=shares))]
        fixed = self.fixed.get(name)
        return value if fixed is None else fixed

    def garment(self, name: str, kind: str, colors: tuple[str, ...], plain: bool = False) -> Garment:
        color = self.choice(name, colors)
        pattern = "plain" if plain else self.choice("pattern", PATTERNS)
        rgb = random_shade(COLORS[color], self.rng)
        others = tuple(other for other in colors if other != color) or ("white",)
        second = others[int(self.rng.integers(len(others)))]
        second_rgb = random_shade(COLORS[second], self.rng)
        striped = self.rng.random() < 0.06 and kind != "jeans" and name not in self.fixed and not plain
        return Garment(kind, color, rgb, "striped", second, second_rgb) if striped else Garment(kind, color, rgb, pattern)

    def item(self, name: str, share: float, kind: str) -> Garment | None:
        has = self.rng.random() < share
        color = tuple(COLORS)[int(self.rng.integers(len(COLORS)))]
        if name in self.fixed:
            has, color = self.fixed[name] is not None, self.fixed[name] or color
        rgb = random_shade(COLORS[color], self.rng)
        return Garment(kind, color, rgb) if has else None
