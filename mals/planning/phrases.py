"""From requested attribute values to a caption: templates, and the words that fill them.

A template is a sentence with {fields}. A part in [brackets] is left out where a field in it is empty, so that one template serves every
combination. A garment expresses sleeves, length, type and color at once ("a gray long-sleeved top", "a short red skirt"). Captions do not
mention what a person does not have. Attributes without a field of their own are requested by their prompts in {rest}.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import cycle
from string import Formatter
from typing import Protocol, TypeVar

import numpy as np

from mals.attributes import Space
from mals.errors import UserError

PEOPLE = {
    ("woman", "adult"): ["woman", "lady", "young woman", "middle-aged woman", "elderly woman"],
    ("man", "adult"): ["man", "gentleman", "young man", "middle-aged man", "elderly man"],
    ("woman", "child"): ["girl", "little girl", "teenage girl"],
    ("man", "child"): ["boy", "little boy", "teenage boy"],
    ("", "adult"): ["adult", "elderly person", "middle-aged person"],
    ("", "child"): ["child", "kid", "teenager"],
    ("woman", ""): ["female person"],
    ("man", ""): ["male person"],
    ("", ""): ["person"],
}
HAIR = {"long": ["long hair", "a ponytail", "long wavy hair"], "short": ["short hair", "short curly hair", "short straight hair"]}
CARRIED = {
    "hat": ["hat", "cap", "baseball cap", "beanie"],
    "backpack": ["backpack", "rucksack"],
    "handbag": ["handbag", "purse"],
    "bag": ["shoulder bag", "tote bag", "messenger bag", "shopping bag"],
}
UPPER = {
    "long": ["jacket", "coat", "sweater", "hoodie", "sweatshirt", "long-sleeved shirt", "long-sleeved top"],
    "short": ["t-shirt", "polo shirt", "tank top", "short-sleeved shirt", "short-sleeved top"],
    "": ["shirt", "top"],
}
# Where no color is requested there are no jeans: they are blue unless another color is named.
LOWER = {
    ("pants", "long"): ["pants", "trousers", "leggings", "sweatpants"],
    ("pants", "short"): ["shorts"],
    ("skirt", "long"): ["long {} skirt", "ankle-length {} skirt"],
    ("skirt", "short"): ["short {} skirt", "{} miniskirt"],
    ("skirt", ""): ["{} skirt"],
}
JEANS = frozenset(("black", "white", "blue", "gray"))
DRESSES = {"long": "long {} dress", "short": "short {} dress", "": "{} dress"}
SLEEVES = {"long": " with long sleeves", "short": " with short sleeves", "": ""}
COLORS = {
    "black": ["black"],
    "white": ["white", "cream"],
    "red": ["red", "dark red", "burgundy"],
    "purple": ["purple", "lavender"],
    "yellow": ["yellow", "bright yellow", "mustard"],
    "blue": ["blue", "navy blue", "light blue", "dark blue"],
    "green": ["green", "olive", "dark green"],
    "gray": ["gray", "grey", "dark gray"],
    "pink": ["pink", "light pink"],
    "brown": ["brown", "tan", "beige"],
    "orange": ["orange", "bright orange"],
}
ACTIONS = ["walking", "standing"]
SCENES = [
    *("on a city street", "on a sidewalk", "in a park", "at a bus stop", "in a shopping mall", "in a parking lot", "at a train station"),
    *("on a bridge", "in a hallway", "in front of a shop", "next to a building", "on a stone path"),
]
POSES = [*ACTIONS, "running", "waiting", "turning around", "looking back", "stretching out one arm", "taking a large step"]
VIEWS = ["seen from the front", "seen from behind", "seen from the left", "seen from the right"]
LIGHTS = ["on a sunny day", "on an overcast day", "at dusk", "at night", "in dim light", "in harsh light"]
CAMERAS = [
    *("filmed by a surveillance camera", "photographed at eye level", "filmed from high above", "photographed with a phone"),
    *("photographed from far away", "photographed with a wide-angle lens"),
]
TEMPLATES = [
    "{person} [with {hair}] wearing [{hat},] {clothes} [, carrying {carried}] [, {rest}]",
    "a photo of {person} {action} {scene}, wearing [{hat},] {clothes} [, with {hair}] [, carrying {carried}] [, {rest}]",
    "{person} [with {hair}] in {clothes} is {action} {scene} [with {carried}] [, wearing {hat}] [, {rest}]",
    "a full-body photo of {person} [with {hair}] dressed in {clothes} [, wearing {hat}] [, with {carried}] {scene} [, {rest}]",
    "{person} [with {hair}] {action} {scene} [carries {carried} and] wears [{hat},] {clothes} [, {rest}]",
    "{person} [with {hair}] wears [{hat},] {clothes} and is {action} {scene} [, carrying {carried}] [, {rest}]",
]
VALUES = {  # attribute that has words here -> the values that an attribute of that name must have
    "gender": ("woman", "man"),
    "age": ("child", "adult"),
    "hair_length": ("short", "long"),
    "hat": ("yes", "no"),
    "backpack": ("yes", "no"),
    "handbag": ("yes", "no"),
    "bag": ("yes", "no"),
    "sleeve_length": ("long", "short"),
    "lower_length": ("long", "short"),
    "lower_type": ("skirt", "pants"),
}
FIELDS = {  # field -> the attributes that it can express; upper_color and lower_color stand for all colors of that half
    "person": ("gender", "age"),
    "hair": ("hair_length",),
    "hat": ("hat",),
    "carried": ("backpack", "handbag", "bag"),
    "clothes": ("sleeve_length", "lower_length", "lower_type", "upper_color", "lower_color"),
    "upper": ("sleeve_length", "upper_color"),
    "lower": ("lower_length", "lower_type", "lower_color"),
    "rest": (),
    "action": (),
    "scene": (),
    "view": (),
    "light": (),
    "camera": (),
}
HALVES = ("upper_color", "lower_color")
CHOICES = 24  # random numbers a caption
T = TypeVar("T")


class Pick(Protocol):
    """Takes one of some options by the next random number."""

    def __call__(self, options: Sequence[T]) -> T: ...


class Template:
    """One sentence with fields; raises UserError for brackets that do not match and for fields that are not in `known`."""

    def __init__(self, text: str, known: Collection[str] = FIELDS):
        self.text = text
        marks = "".join(mark for mark in text if mark in "[]")
        if marks != "[]" * (len(marks) // 2):
            raise UserError(f"the template {text!r} has brackets that do not match; close each, and do not nest them")
        self.parts = [(part, "[" in mark, _fields(text, part, known)) for mark, part in re.findall(r"(\[?)([^\[\]]+)", text)]
        self.fields = {field for _, _, fields in self.parts for field in fields}

    def fill(self, words: Mapping[str, str]) -> str:
        """The sentence; bracketed parts with an empty field are left out."""
        parts = [part.format_map(words) for part, optional, fields in self.parts if not optional or all(words[field] for field in fields)]
        return re.sub(r"\s+([,.])", r"\1", " ".join(" ".join(parts).split())).strip(" ,")


def _fields(text: str, part: str, known: Collection[str]) -> list[str]:
    try:
        fields = [field for _, field, _, _ in Formatter().parse(part) if field is not None]
    except ValueError as error:
        raise UserError(f"{text!r} is not a template: {error}") from None
    if unknown := [field for field in fields if field not in known]:
        raise UserError(f"the template {text!r} has a field {{{unknown[0]}}}; there are {', '.join(known)}")
    return fields


class Phrases:
    """Phrases vectors of requested values of one attribute space as captions."""

    def __init__(self, space: Space, templates: Sequence[str] = (), plain_colors: bool = False):
        """`plain_colors`: by their own names alone, so blue is never "navy blue"."""
        self.color_words = {color: [color] for color in COLORS} if plain_colors else COLORS
        self.templates = [Template(text) for text in templates or TEMPLATES]
        self.at = {name: at for at, name in enumerate(space.names)}
        self.colors: dict[str, dict[str, str]] = {half: {} for half in HALVES}  # half -> color -> attribute
        self.half_of: dict[str, str] = {}  # group, or attribute of a group -> half
        for name, group in space.color_groups.items():
            half = f"{group.half}_color"
            self.colors[half].update(group.colors)
            self.half_of.update(dict.fromkeys((name, *group.colors.values()), half))
        self.classes, self.not_mentioned = space.classes, space.not_mentioned
        # attributes that have words in this module
        self.phrased = [name for name, values in VALUES.items() if tuple(space.classes.get(name, ())) == values]
        in_fields = {*self.phrased, *self.half_of}
        self.rest = {name: tuple(space.prompts[at]) for name, at in self.at.items() if name not in in_fields}

    def check(self, factors: Iterable[str]) -> None:
        """Raise UserError for a template that cannot express one of the requested `factors`, attributes or groups."""
        requested = {self.half_of.get(name, name) for name in factors}
        for template in self.templates:
            expressed = {name for field in template.fields for name in FIELDS[field]}
            if "rest" in template.fields:
                expressed |= self.rest.keys()
            for name in sorted(requested - expressed):
                field = next((field for field, names in FIELDS.items() if name in names), "rest")
                raise UserError(f"the template {template.text!r} cannot express {name}: it has no {{{field}}}")

    def captions(
        self,
        requested: np.ndarray,
        random_numbers: np.ndarray,
        clothes_numbers: np.ndarray | None = None,
        circumstances: Sequence[Mapping[str, str]] | None = None,
    ) -> list[str]:
        """Captions of requested values [N, attributes] in {-1, 0, 1}, whose wording `random_numbers` [N, CHOICES] select.

        `clothes_numbers` of the same shape select the words for what is worn and carried, where these are to be others. `circumstances`
        are the words of some of the fields action, scene, view, light and camera of each caption; those that its template has no field for
        come last.
        """
        clothes = [None] * len(requested) if clothes_numbers is None else clothes_numbers.tolist()
        rows = zip(requested.tolist(), random_numbers.tolist(), clothes, circumstances or [{}] * len(requested), strict=True)
        return [self._caption(*row) for row in rows]

    def _caption(
        self, row: list[int], random_numbers: list[int], clothes_numbers: list[int] | None, circumstances: Mapping[str, str]
    ) -> str:
        pick = _picker(random_numbers)
        pick_clothes = pick if clothes_numbers is None else _picker(clothes_numbers)
        requested = {name: self.classes[name][row[self.at[name]]] if row[self.at[name]] >= 0 else "" for name in self.phrased}
        template = pick(self.templates)
        carried = {name: an(pick_clothes(words)) if requested.get(name) == "yes" else "" for name, words in CARRIED.items()}
        words = {
            "person": an(pick(PEOPLE[requested.get("gender", ""), requested.get("age", "")])),
            "hair": pick(HAIR[hair]) if (hair := requested.get("hair_length", "")) else "",
            "hat": carried.pop("hat"),
            "carried": listed([item for item in carried.values() if item]),
            "action": circumstances.get("action") or pick(ACTIONS),
            "scene": circumstances.get("scene") or pick(SCENES),
            "rest": self._rest(row),
        }
        words |= self._clothes(row, requested, pick_clothes, "clothes" in template.fields)
        for name, options in (("view", VIEWS), ("light", LIGHTS), ("camera", CAMERAS)):
            if name in template.fields:
                words[name] = circumstances.get(name) or pick(options)
        return with_circumstances(template.fill(words), [text for name, text in circumstances.items() if name not in template.fields])

    def _clothes(self, row: list[int], requested: Mapping[str, str], pick: Pick, dress: bool) -> dict[str, str]:
        """The fields upper, lower and clothes; a dress takes both halves where their colors agree."""
        above, below = (self._colors(row, half, pick) for half in HALVES)
        sleeves, length, kind = (requested.get(name, "") for name in ("sleeve_length", "lower_length", "lower_type"))
        names = {color: pick(self.color_words.get(color, [color])) for color in dict.fromkeys([*above, *below])}
        as_dress = pick(("dress", "two garments", "two garments")) == "dress"  # one time in three
        if dress and as_dress and kind == "skirt" and above and above == below:
            text = an(" ".join(DRESSES[length].format(joined([names[c] for c in above])).split())) + SLEEVES[sleeves]
            return {"clothes": text, "upper": text, "lower": ""}
        upper = an(f"{joined([names[c] for c in above])} {pick(UPPER[sleeves])}".strip())
        lower = ""
        if kind or length or below:
            kind = kind or pick(("pants", "skirt") if requested.get("gender") == "woman" else ("pants",))
            length = length or ("long" if kind == "pants" else "")
            options = [
                *LOWER[kind, length],
                *(["jeans"] if (kind, length) == ("pants", "long") and below and JEANS.issuperset(below) else []),
            ]
            garment, color = pick(options), joined([names[c] for c in below])
            lower = an(" ".join(garment.format(color).split())) if kind == "skirt" else f"{color} {garment}".strip()
        return {"clothes": listed([text for text in (upper, lower) if text]), "upper": upper, "lower": lower}

    def _colors(self, row: list[int], half: str, pick: Pick) -> list[str]:
        """The colors requested of one half: those of its attributes, or a color without an attribute if all of them are requested as no."""
        requested = {color: row[self.at[name]] for color, name in self.colors[half].items()}
        if colors := [color for color, value in requested.items() if value == 0]:
            return colors
        others = [color for color in COLORS if color not in requested]
        return [pick(others)] if others and 1 in requested.values() else []

    def _rest(self, row: list[int]) -> str:
        """The prompts of the attributes without a field, as one list."""
        facts = []
        for name, prompts in self.rest.items():
            value = row[self.at[name]]
            if value >= 0 and self.not_mentioned.get(name) != self.classes[name][value]:
                facts.append(re.sub(r"^(the|a) person (?=\w+ )", "", prompts[value]))
        return ", ".join(facts)


def _picker(random_numbers: Sequence[int]) -> Pick:
    remaining = cycle(random_numbers)

    def pick(options: Sequence[T]) -> T:
        return options[next(remaining) % len(options)]

    return pick


def with_circumstances(caption: str, circumstances: Sequence[str]) -> str:
    """The caption with more parts behind it: "a man, at night, seen from behind"."""
    return ", ".join([caption.rstrip(" .,;!"), *circumstances]) if circumstances else caption


def an(words: str) -> str:
    """The words after their indefinite article."""
    return f"{'an' if words[:1] in tuple('aeiou') else 'a'} {words}"


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def joined(colors: Sequence[str]) -> str:
    """The colors of one garment."""
    return " and ".join(colors)
