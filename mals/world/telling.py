"""What of a person is put into words, and in which: every choice falls here, so it is known which attributes a caption leaves open."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mals.world.person import COLORS, DRESSES, SKIRTS, Garment, Person

# What is left unsaid, in hundredths, where not everything is to be told.
OMIT = {"gender": 4, "age": 2, "hair": 35, "hair color": 15, "color": 6, "thing color": 30, "lower": 4, "sleeves": 35, "length": 12}
OMIT |= {"t-shirt": 7}  # that it has short sleeves: "a shirt"

# Words for what a person is: by age and gender, and for those of whom the gender or the age is not told. Repetition is frequency.
NOUNS = {
    ("adult", "woman"): ("woman", "woman", "woman", "woman", "young woman", "young woman", "lady", "young lady"),
    ("adult", "man"): ("man", "man", "man", "man", "young man", "young man", "guy", "gentleman"),
    ("child", "woman"): ("girl", "girl", "girl", "little girl", "little girl", "young girl", "small girl"),
    ("child", "man"): ("boy", "boy", "boy", "little boy", "little boy", "young boy", "small boy"),
}
GENDERLESS = {"adult": ("adult",), "child": ("child", "kid", "young child", "little kid")}
AGELESS = {"woman": ("female pedestrian", "female"), "man": ("male pedestrian", "male")}
UNKNOWN = ("person", "person", "person", "pedestrian")

# Words for garments by kind; those of SLEEVES_UNTOLD leave the sleeves open.
WORDS = {
    "t-shirt": ("t-shirt", "t-shirt", "t-shirt", "t-shirt", "tee", "tee", "tee shirt", "short-sleeved shirt", "short sleeve top"),
    "polo shirt": ("polo shirt", "polo shirt", "polo"),
    "tank top": ("tank top", "tank top", "tank top", "sleeveless top", "sleeveless shirt"),
    "sweater": ("sweater", "sweater", "sweater", "pullover", "jumper"),
    "jacket": ("jacket",),
    "coat": ("coat", "coat", "coat", "overcoat"),
    "hoodie": ("hoodie", "hoodie", "hoodie", "hooded sweatshirt"),
    "long-sleeved shirt": ("long-sleeved shirt", "long-sleeved shirt", "long sleeve shirt", "long-sleeved top", "shirt with long sleeves"),
    "pants": ("pants", "pants", "pants", "trousers", "trousers", "slacks", "long pants"),
    "jeans": ("jeans", "jeans", "jeans", "jeans", "denim jeans", "denim pants"),
    "leggings": ("leggings",),
    "shorts": ("shorts", "shorts", "shorts", "shorts", "shorts", "short pants"),
    "cap": ("cap", "cap", "baseball cap"),
    "beanie": ("beanie", "beanie", "knit cap"),
    "hat": ("hat", "hat", "sun hat"),
    "backpack": ("backpack", "backpack", "backpack", "rucksack"),
    "handbag": ("handbag", "handbag", "purse"),
    "bag": ("bag", "shoulder bag", "shoulder bag", "messenger bag", "crossbody bag"),
    "shoes": ("shoes", "shoes", "sneakers"),
}
SLEEVES_UNTOLD = ("shirt", "shirt", "top")
LENGTHS = {"short": ("short", "short", "short", "mini"), "long": ("long", "long", "long", "maxi")}
PATTERN_WORDS = {"dotted": ("dotted", "spotted"), "printed": ("printed", "patterned"), "ribbed": ("ribbed",)}
TONED = ("blue", "green", "red", "gray", "brown", "purple")  # of which people say that they are dark or light


@dataclass(frozen=True)
class Piece:
    """A garment in words: `bare` without its article; `color` is None where "the `noun` is `color`" would not tell the same."""

    bare: str
    noun: str
    color: str | None
    several: bool

    @property
    def whole(self) -> str:
        """With its article; a bare plural gets "a pair of", or the colour of what stands before would be its own too."""
        if not self.several:
            return a(self.bare)
        return f"a pair of {self.bare}" if self.bare == self.noun and "jeans" not in self.noun else self.bare

    def copula(self, whose: str) -> str:
        return f"{whose} {self.noun} {'are' if self.several else 'is'} {self.color}"


class Telling:
    """What is said of a person, in words, and the names of the attributes of which nothing is said."""

    def __init__(self, person: Person, rng: np.random.Generator, full: bool, trim: int):
        self.person, self.random, self.full, self.trim = person, rng.random, full, trim
        self.gray = "grey" if self.chance(35) else "gray"  # nobody writes both
        self.silent: set[str] = set()
        self.place = ""
        self.place_words: list[str] = []  # the same without its small words
        self.noun = self._noun()
        known = "gender" not in self.silent
        pronouns = ("she", "her") if person.gender == "woman" else ("he", "his")
        self.pronoun, self.their = pronouns if known else (f"the {self.noun.split()[-1]}", "their")
        self.hair = self._hair()
        self.upper = self._upper()
        self.lower = self._lower()
        self.hat = self._thing(person.hat)
        self.things = [said for thing in (person.backpack, person.handbag, person.bag) if (said := self._thing(thing))]
        self.shoes = self._piece(person.shoes, self.one(WORDS["shoes"]), True) if self.chance(15) and not trim else None
        self.beard = person.beard and known and not trim and self.chance(30)

    def chance(self, percent: float) -> bool:
        return self.random() * 100 < percent

    def one(self, among: Sequence[str]) -> str:
        return among[int(self.random() * len(among))]

    def omit(self, name: str) -> bool:
        return not self.full and self.chance(OMIT[name])

    def _noun(self) -> str:
        gender, age = self.person.gender, self.person.age
        if self.trim > 1:
            return NOUNS[age, gender][0]
        if self.omit("gender"):
            self.silent.add("gender")
            if not self.chance(50 if age == "child" else 12):
                self.silent.add("age")
                return self.one(UNKNOWN)
            return self.one(GENDERLESS[age])
        if self.omit("age"):
            self.silent.add("age")
            return self.one(AGELESS[gender])
        return self.one(NOUNS[age, gender])

    def _hair(self) -> str:
        """What the hair is, to be put after "with", or nothing; a bald head has no colour."""
        cut, color = self.person.haircut, self.person.hair_color
        if self.omit("hair"):
            self.silent.add("hair_length")
            return ""
        if cut == "bald":
            return self.one(("a bald head", "a shaved head"))
        color = self.gray if color == "gray" else color
        color = "" if self.omit("hair color") else color + " "
        if cut == "ponytail" and self.chance(70):
            return self.one((f"a {color}ponytail", f"long {color}hair in a ponytail")) if self.trim < 2 else f"a {color}ponytail"
        if cut == "bob" and self.chance(30):
            return f"a {color}bob cut"
        return f"{self.person.hair} {color}hair"

    def _upper(self) -> Piece:
        garment = self.person.upper
        if garment.kind in DRESSES:
            return self._dress(garment)
        tells = garment.kind != "long-sleeved shirt" and (garment.kind not in ("t-shirt", "tank top") or not self.omit("t-shirt"))
        if tells or (garment.kind == "long-sleeved shirt" and not self.omit("sleeves")):
            return self._piece(garment, self.one(WORDS[garment.kind]), omit="color", half="upper_color")
        self.silent.add("sleeve_length")
        blouse = self.person.gender == "woman" and self.person.age == "adult" and self.chance(30)
        return self._piece(garment, "blouse" if blouse else self.one(SLEEVES_UNTOLD), omit="color", half="upper_color")

    def _dress(self, garment: Garment) -> Piece:
        noun, front = "dress", self._length()
        if self.omit("sleeves"):
            self.silent.add("sleeve_length")
        elif self.chance(50):
            noun = f"dress with {self.person.sleeves} sleeves"
        else:
            front = f"{self.person.sleeves}-sleeved {front}".strip()
        piece = self._piece(garment, noun, omit="color", half="upper_color", front=front)
        if "upper_color" in self.silent:
            self.silent.add("lower_color")
        return piece

    def _length(self) -> str:
        """How long a skirt or dress is, or nothing."""
        if self.omit("length"):
            self.silent.add("lower_length")
            return ""
        return self.one(LENGTHS[self.person.lower_length])

    def _lower(self) -> Piece | None:
        garment = self.person.lower
        if garment is None:
            return None
        if self.omit("lower"):
            self.silent |= {"lower_color", "lower_length", "lower_type"}
            return None
        if garment.kind in SKIRTS:
            return self._piece(garment, "skirt", omit="color", half="lower_color", front=self._length())
        return self._piece(garment, self.one(WORDS[garment.kind]), True, "color", "lower_color")

    def _thing(self, thing: Garment | None) -> str:
        return self._piece(thing, self.one(WORDS[thing.kind]), omit="thing color").whole if thing else ""

    def _piece(self, garment: Garment, noun: str, several: bool = False, omit: str = "", half: str = "", front: str = "") -> Piece:
        """`half` is the group of colours that is unknown where the colour is omitted; jeans are known to be blue."""
        named = " ".join((front, noun)).strip()
        blue_jeans = garment.kind == "jeans" and garment.color == "blue"
        pattern = self.one(PATTERN_WORDS[garment.pattern]) if garment.pattern in PATTERN_WORDS and not self.trim and self.chance(40) else ""
        if (blue_jeans and not self.full and self.chance(35)) or (omit and self.omit(omit) and (blue_jeans or garment.kind != "jeans")):
            if half and not blue_jeans:
                self.silent.add(half)
            pattern = "striped" if garment.second else pattern
            return Piece(" ".join((front, pattern, noun)).strip().replace("  ", " "), named, None, several)
        color = self._tone(garment)
        if garment.second:
            second = self._word(garment.second)
            if self.chance(75) or "with" in noun:
                color = self.one((f"{color} and {second} striped", f"{color}-and-{second} striped"))
            else:
                noun = f"{noun} with {second} stripes"
        first = self.chance(50) and not front.endswith(("mini", "maxi"))
        order = (front, color, pattern, noun) if first else (color, front, pattern, noun)
        return Piece(" ".join(word for word in order if word), named, None if garment.second else color, several)

    def _word(self, color: str) -> str:
        return self.gray if color == "gray" else color

    def _tone(self, garment: Garment) -> str:
        """The colour's name, and sometimes how dark or light it is, where it is clearly the one or the other."""
        color = self._word(garment.color)
        if garment.color not in TONED or garment.second or self.trim > 1 or not self.chance(50):
            return color
        lighter = (sum(garment.rgb) - sum(COLORS[garment.color])) / 3
        if lighter < -8:
            return self.one(("dark blue", "dark blue", "navy", "navy blue")) if color == "blue" else f"dark {color}"
        return f"light {color}" if lighter > 8 and color != "red" else color


def a(words: str) -> str:
    return f"an {words}" if words[0] in "aeio" else f"a {words}"


def bare(words: str) -> str:
    return words.removeprefix("a ").removeprefix("an ")
