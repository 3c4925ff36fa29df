"""Sentences made from attribute labels through the phrases of the plan, which state what the labels hold and nothing else.

The plan's own sentences invent what was not requested, such as the kind of a jacket, since an image is made from them. These describe an
image that there is, so garments have neutral names, places and actions are left out, and a sentence states some of the labels: those that
are drawn.
"""

from collections.abc import Iterator, Sequence

from numpy.random import Generator

from mals.attributes import Space
from mals.errors import UserError
from mals.planning.phrases import CARRIED, PEOPLE, Phrases, Template, an, joined, listed

TEMPLATES = tuple(
    Template(text)
    for text in (
        "{person} [with {hair}] [in {clothes}] [wearing {hat}] [carrying {carried}]",
        "{person} [with {hair}] [wearing {clothes}] [with {carried}] [and {hat}]",
        "{person} [with {carried}] [in {clothes}] [wearing {hat}] [, with {hair}]",
        "a photo of {person} [with {hair}] [carrying {carried}] [wearing {hat}] [in {clothes}]",
    )
)
AGES = ("young", "middle-aged", "elderly", "little", "teenage")  # of people: words that say more than child or adult
SLEEVES = {"long": ("long-sleeved {} top", "{} top with long sleeves"), "short": ("short-sleeved {} top", "{} top with short sleeves")}
PANTS = {"long": ("pants", "trousers"), "short": ("shorts",)}
HAIR = {"long": "long hair", "short": "short hair"}
HAS = 0  # the label of an attribute of a colour group where the person wears that colour


class LabelSentences:
    """Sentences about labels of one attribute space; UserError for one that has no attribute which they can state."""

    def __init__(self, space: Space) -> None:
        self.phrases = Phrases(space)
        if not self.phrases.phrased and not self.phrases.half_of:
            raise UserError(
                f"data.wordings.composed makes sentences of gender, age, clothes, colours and bags, and the attribute space {space.name} "
                "has none of them in the form of market1501; set it to 0"
            )
        self.classes, self.at = space.classes, self.phrases.at

    def sentence(self, labels: Sequence[int], random: Generator) -> str | None:
        """A sentence about some of the labels [A] in {-1, 0, 1}, drawn; None where no label can be told."""
        facts = self._facts(labels)
        chosen = {facts[at] for at in random.permutation(len(facts))[: 1 + int(random.integers(max(1, len(facts))))].tolist()}
        person = self._person(labels, random)
        if not chosen and person == "a person":
            return None
        carried = [an(CARRIED[name][0]) for name in ("backpack", "handbag", "bag") if name in chosen]
        words = {
            "person": person,
            "hair": HAIR[self._value(labels, "hair_length")] if "hair_length" in chosen else "",
            "hat": "a hat" if "hat" in chosen else "",
            "carried": listed(carried),
            "clothes": listed(self._clothes(labels, chosen, random)),
        }
        return TEMPLATES[int(random.integers(len(TEMPLATES)))].fill(words)

    def words(self) -> Iterator[str]:
        """Texts with every word that a sentence can have."""
        yield "a photo of an person with in wearing carrying and , top lower clothes"
        yield "long-sleeved short-sleeved sleeves skirt a pair of long short hair hat"
        yield from (word for options in (*PEOPLE.values(), *PANTS.values(), *CARRIED.values()) for word in options)
        yield from (color for colors in self.phrases.colors.values() for color in colors)

    def _value(self, labels: Sequence[int], name: str) -> str:
        """The name of a value; "" where it is unknown, or where this module has no words for the attribute."""
        value = labels[self.at[name]] if name in self.phrases.phrased else -1
        return self.classes[name][value] if value >= 0 else ""

    def _facts(self, labels: Sequence[int]) -> list[str]:
        """What can be told: attributes, or "upper" and "lower" for the colours of a half."""
        present = [name for name in ("hat", "backpack", "handbag", "bag") if self._value(labels, name) == "yes"]
        known = [name for name in ("hair_length", "sleeve_length") if self._value(labels, name)]
        halves = ["upper"] if self._colors(labels, "upper") else []
        halves += ["lower"] if self._colors(labels, "lower") or self._lower_garments(labels) else []
        return [*present, *known, *halves]

    def _person(self, labels: Sequence[int], random: Generator) -> str:
        """A noun that says gender and age, or neither."""
        gender, age = self._value(labels, "gender"), self._value(labels, "age")
        options = [noun for noun in PEOPLE[gender, age] if not noun.startswith(AGES)]
        return an(options[int(random.integers(len(options)))] if random.random() < 0.5 else "person")

    def _colors(self, labels: Sequence[int], half: str) -> list[str]:
        return [color for color, name in self.phrases.colors[f"{half}_color"].items() if labels[self.at[name]] == HAS]

    def _clothes(self, labels: Sequence[int], chosen: set[str], random: Generator) -> list[str]:
        """The garments of both halves, in any order."""
        clothes = []
        if chosen & {"upper", "sleeve_length"}:
            colors = joined(self._colors(labels, "upper")) if "upper" in chosen else ""
            forms = SLEEVES[self._value(labels, "sleeve_length")] if "sleeve_length" in chosen else ("{} top",)
            clothes.append(an(" ".join(forms[int(random.integers(len(forms)))].format(colors).split())))
        if "lower" in chosen:
            colors, garments = joined(self._colors(labels, "lower")), self._lower_garments(labels) or ["lower clothes"]
            garment = garments[int(random.integers(len(garments)))]
            if not colors and garment != "skirt":  # or it would share the colour of the garment before it
                garment = f"a pair of {garment}"
            clothes.append(an(f"{colors} {garment}") if garment == "skirt" else f"{colors} {garment}".strip())
        return clothes[::-1] if random.random() < 0.5 else clothes

    def _lower_garments(self, labels: Sequence[int]) -> list[str]:
        """Nouns for what the lower half wears; none where its kind is unknown, or where it may be a dress."""
        kind, length = self._value(labels, "lower_type"), self._value(labels, "lower_length")
        if kind == "pants" and length:
            return list(PANTS[length])
        above, below = self._colors(labels, "upper"), self._colors(labels, "lower")
        return ["skirt"] if kind == "skirt" and above and below and above != below else []
