"""Chooses what a caption says about a person, what it omits, and the words. All choices fall here, so the omitted attributes are known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mals.world.person import COLORS, DRESSES, SKIRTS, Garment, Person

# Percent of captions that omit a fact, unless the caption is to be complete.
OMIT = {"gender": 4, "age": 2, "hair": 35, "hair color": 15, "color": 6, "item color": 30, "lower": 4, "sleeves": 35, "length": 12}
OMIT |= {"t-shirt": 7}  # that a t-shirt has short sleeves: it is called "a shirt"

# Nouns for a person by age and gender, and for captions that omit gender or age. A noun is as frequent as it is repeated.
NOUNS = {
    ("adult", "woman"): ("woman", "woman", "woman", "woman", "young woman", "young woman", "lady", "young lady"),
    ("adult", "man"): ("man", "man", "man", "man", "young man", "young man", "guy", "gentleman"),
    ("child", "woman"): ("girl", "girl", "girl", "little girl", "little girl", "young girl", "small girl"),
    ("child", "man"): ("boy", "boy", "boy", "little boy", "little boy", "young boy", "small boy"),
}
NOUNS_WITHOUT_GENDER = {"adult": ("adult",), "child": ("child", "kid", "young child", "little kid")}
NOUNS_WITHOUT_AGE = {"woman": ("female pedestrian", "female"), "man": ("male pedestrian", "male")}
NOUNS_WITHOUT_BOTH = ("person", "person", "person", "pedestrian")

# Nouns for garments and carried items by their kind.
GARMENT_NOUNS = {
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
NOUNS_WITHOUT_SLEEVES = ("shirt", "shirt", "top")  # that do not say how long the sleeves are
LENGTH_WORDS = {"short": ("short", "short", "short", "mini"), "long": ("long", "long", "long", "maxi")}
PATTERN_WORDS = {"dotted": ("dotted", "spotted"), "printed": ("printed", "patterned"), "ribbed": ("ribbed",)}
TONED_COLORS = ("blue", "green", "red", "gray", "brown", "purple")  # colours that people call dark or light


@dataclass(frozen=True)
class GarmentPhrase:
    """A garment in words, such as "red long-sleeved shirt"."""

    words: str  # without an article
    noun: str  # without colour and pattern
    color: str | None  # None if "the `noun` is `color`" would not say the same as `words`
    plural: bool

    @property
    def with_article(self) -> str:
        """ "a ..."; a bare plural gets "a pair of", or the labeller would read the colour of the garment before as its colour too."""
        if not self.plural:
            return add_article(self.words)
        return f"a pair of {self.words}" if self.words == self.noun and "jeans" not in self.noun else self.words

    def color_clause(self, possessive: str) -> str:
        """Such as "her skirt is red"."""
        return f"{possessive} {self.noun} {'are' if self.plural else 'is'} {self.color}"


class CaptionFacts:
    """The phrases that a caption of one person is made of, and in `omitted` the names of the attributes that it does not mention.

    `complete` omits no attribute. `brevity` 0 shortens nothing, 1 drops beard, shoes and pattern words, 2 also rare nouns and adjectives.
    """

    def __init__(self, person: Person, rng: np.random.Generator, complete: bool, brevity: int):
        self.person, self.random, self.complete, self.brevity = person, rng.random, complete, brevity
        self.gray = "grey" if self.happens(35) else "gray"  # one spelling in a caption
        self.omitted: set[str] = set()  # attributes, and colour groups as a whole
        self.setting = ""  # what the person does and where, such as "walking down a street"
        self.setting_words: list[str] = []  # the same without prepositions and articles
        self.noun = self._person_noun()
        gender_is_known = "gender" not in self.omitted
        pronouns = ("she", "her") if person.gender == "woman" else ("he", "his")
        self.pronoun, self.possessive = pronouns if gender_is_known else (f"the {self.noun.split()[-1]}", "their")
        self.hair = self._hair()
        self.upper = self._upper()
        self.lower = self._lower()
        self.hat = self._item(person.hat)
        self.items = [phrase for item in (person.backpack, person.handbag, person.bag) if (phrase := self._item(item))]
        mentions_shoes = self.happens(15) and not brevity
        self.shoes = self.footwear() if mentions_shoes else None
        self.beard = person.beard and gender_is_known and not brevity and self.happens(30)

    def happens(self, percent: float) -> bool:
        """True in that many of a hundred calls."""
        return self.random() * 100 < percent

    def choose(self, phrases: Sequence[str]) -> str:
        return phrases[int(self.random() * len(phrases))]

    def omits(self, fact: str) -> bool:
        """Whether this caption is to leave out a fact, see OMIT."""
        return not self.complete and self.happens(OMIT[fact])

    def footwear(self) -> GarmentPhrase:
        """The shoes, which only some captions mention."""
        return self._garment(self.person.shoes, self.choose(GARMENT_NOUNS["shoes"]), plural=True)

    def _person_noun(self) -> str:
        gender, age = self.person.gender, self.person.age
        if self.brevity > 1:
            return NOUNS[age, gender][0]
        if self.omits("gender"):
            self.omitted.add("gender")
            if not self.happens(50 if age == "child" else 12):
                self.omitted.add("age")
                return self.choose(NOUNS_WITHOUT_BOTH)
            return self.choose(NOUNS_WITHOUT_GENDER[age])
        if self.omits("age"):
            self.omitted.add("age")
            return self.choose(NOUNS_WITHOUT_AGE[gender])
        return self.choose(NOUNS[age, gender])

    def _hair(self) -> str:
        """A phrase to follow "with", or "" if the caption omits the hair; a bald head has no colour."""
        cut, color = self.person.haircut, self.person.hair_color
        if self.omits("hair"):
            self.omitted.add("hair_length")
            return ""
        if cut == "bald":
            return self.choose(("a bald head", "a shaved head"))
        color = self.gray if color == "gray" else color
        color = "" if self.omits("hair color") else color + " "
        if cut == "ponytail" and self.happens(70):
            return self.choose((f"a {color}ponytail", f"long {color}hair in a ponytail")) if self.brevity < 2 else f"a {color}ponytail"
        if cut == "bob" and self.happens(30):
            return f"a {color}bob cut"
        return f"{self.person.hair} {color}hair"

    def _upper(self) -> GarmentPhrase:
        garment = self.person.upper
        if garment.kind in DRESSES:
            return self._dress(garment)
        named = garment.kind != "long-sleeved shirt" and (garment.kind not in ("t-shirt", "tank top") or not self.omits("t-shirt"))
        if named or (garment.kind == "long-sleeved shirt" and not self.omits("sleeves")):
            return self._garment(garment, self.choose(GARMENT_NOUNS[garment.kind]), omit="color", color_group="upper_color")
        self.omitted.add("sleeve_length")
        is_blouse = self.person.gender == "woman" and self.person.age == "adult" and self.happens(30)
        noun = "blouse" if is_blouse else self.choose(NOUNS_WITHOUT_SLEEVES)
        return self._garment(garment, noun, omit="color", color_group="upper_color")

    def _dress(self, garment: Garment) -> GarmentPhrase:
        noun, adjective = "dress", self._length()
        if self.omits("sleeves"):
            self.omitted.add("sleeve_length")
        elif self.happens(50):
            noun = f"dress with {self.person.sleeves} sleeves"
        else:
            adjective = f"{self.person.sleeves}-sleeved {adjective}".strip()
        phrase = self._garment(garment, noun, omit="color", color_group="upper_color", adjective=adjective)
        if "upper_color" in self.omitted:
            self.omitted.add("lower_color")
        return phrase

    def _length(self) -> str:
        """The length of a skirt or dress as an adjective, or "" if the caption omits it."""
        if self.omits("length"):
            self.omitted.add("lower_length")
            return ""
        return self.choose(LENGTH_WORDS[self.person.lower_length])

    def _lower(self) -> GarmentPhrase | None:
        garment = self.person.lower
        if garment is None:
            return None
        if self.omits("lower"):
            self.omitted |= {"lower_color", "lower_length", "lower_type"}
            return None
        if garment.kind in SKIRTS:
            return self._garment(garment, "skirt", omit="color", color_group="lower_color", adjective=self._length())
        noun = self.choose(GARMENT_NOUNS[garment.kind])
        return self._garment(garment, noun, plural=True, omit="color", color_group="lower_color")

    def _item(self, item: Garment | None) -> str:
        """A hat or bag with its article, or "" for None."""
        return self._garment(item, self.choose(GARMENT_NOUNS[item.kind]), omit="item color").with_article if item else ""

    def _garment(
        self, garment: Garment, noun: str, *, plural: bool = False, omit: str = "", color_group: str = "", adjective: str = ""
    ) -> GarmentPhrase:
        """The garment as `noun` with its colour and pattern.

        `omit` is the fact of OMIT that decides whether the colour is left out; `color_group` is then unknown. Jeans are blue to a reader
        even if the caption does not say so.
        """
        noun_phrase = " ".join((adjective, noun)).strip()
        blue_jeans = garment.kind == "jeans" and garment.color == "blue"
        has_pattern_word = garment.pattern in PATTERN_WORDS and not self.brevity and self.happens(40)
        pattern = self.choose(PATTERN_WORDS[garment.pattern]) if has_pattern_word else ""
        colored_jeans = garment.kind == "jeans" and not blue_jeans  # their colour is always mentioned
        if (blue_jeans and not self.complete and self.happens(35)) or (omit and self.omits(omit) and not colored_jeans):
            if color_group and not blue_jeans:
                self.omitted.add(color_group)
            pattern = "striped" if garment.second else pattern
            words = " ".join((adjective, pattern, noun)).strip().replace("  ", " ")
            return GarmentPhrase(words, noun_phrase, None, plural)
        color = self._toned_color(garment)
        if garment.second:
            second = self._color_word(garment.second)
            if self.happens(75) or "with" in noun:
                color = self.choose((f"{color} and {second} striped", f"{color}-and-{second} striped"))
            else:
                noun = f"{noun} with {second} stripes"
        adjective_first = self.happens(50) and not adjective.endswith(("mini", "maxi"))
        order = (adjective, color, pattern, noun) if adjective_first else (color, adjective, pattern, noun)
        return GarmentPhrase(" ".join(word for word in order if word), noun_phrase, None if garment.second else color, plural)

    def _color_word(self, color: str) -> str:
        return self.gray if color == "gray" else color

    def _toned_color(self, garment: Garment) -> str:
        """The name of the colour, sometimes with "dark" or "light" if its shade is clearly so."""
        color = self._color_word(garment.color)
        if garment.color not in TONED_COLORS or garment.second or self.brevity > 1 or not self.happens(50):
            return color
        lighter = (sum(garment.rgb) - sum(COLORS[garment.color])) / 3
        if lighter < -8:
            return self.choose(("dark blue", "dark blue", "navy", "navy blue")) if color == "blue" else f"dark {color}"
        return f"light {color}" if lighter > 8 and color != "red" else color


def add_article(words: str) -> str:
    return f"an {words}" if words[0] in "aeio" else f"a {words}"


def remove_article(words: str) -> str:
    return words.removeprefix("a ").removeprefix("an ")
