"""What fills the slots of a caption's template for a person of the world, and whether a text in a slot is right.

People of the world wear no accessories beside a hat, so the slot `accessories` has never a phrase.
"""

import re
from functools import cache

import numpy as np

from mals.attributes import load_space
from mals.labeller.labeller import Labeller
from mals.planning.phrases import listed
from mals.stages.captioning.templates import read_template
from mals.world.caption_facts import CaptionFacts, add_article
from mals.world.person import Person

ATTRIBUTES: dict[str, tuple[str, ...]] = {  # slot -> what the labeller reads in its text; upper_color and lower_color are groups
    "person": ("gender", "age"),
    "clothes": ("sleeve_length", "lower_length", "lower_type", "upper_color", "lower_color"),
    "upper": ("sleeve_length", "upper_color"),
    "lower": ("lower_length", "lower_type", "lower_color"),
    "hair": ("hair_length",),
    "hat": ("hat",),
    "carried": ("backpack", "handbag", "bag"),
}

UPPER_NOUNS = "shirt|tee|polo|top|blouse|sweater|pullover|jumper|jacket|coat|overcoat|hoodie|sweatshirt|dress"
NOUNS = {  # slot -> nouns of which its text has one, so that the text of one slot is not taken for that of another
    "clothes": UPPER_NOUNS,
    "upper": UPPER_NOUNS,
    "lower": "pants|trousers|slacks|jeans|leggings|shorts|skirt",
    "hair": "hair|ponytail|bob|head",
    "shoes": "shoes|sneakers",
    "hat": "hat|cap|beanie",
    "accessories": "glasses|sunglasses|scarf|belt|watch|gloves|tie|mask|necklace",
    "carried": "backpack|rucksack|handbag|purse|bag",
}


def slot_phrases(person: Person, rng: np.random.Generator) -> dict[str, str]:
    """Slot -> phrase with its article, "" where the person has nothing for it. As with the stand-in, a dress is `upper` and not `lower`."""
    facts = CaptionFacts(person, rng, complete=True, brevity=0)
    upper = facts.upper.with_article
    lower = facts.lower.with_article if facts.lower else ""
    return {
        "person": add_article(facts.noun),
        "clothes": listed([words for words in (upper, lower) if words]),
        "upper": upper,
        "lower": lower,
        "hair": facts.hair,
        "shoes": facts.footwear().with_article,
        "hat": facts.hat,
        "accessories": "",
        "carried": listed(facts.items),
    }


def slot_texts(template: str, caption: str) -> dict[str, str] | None:
    """Slot -> what a caption says in its place, "" for an optional part that it leaves out; None for a caption of another shape.

    Capitals do not count. Each slot is in the template once; its text has one of its NOUNS.
    """
    pattern = _pattern(template)
    match = pattern.fullmatch(" ".join(caption.lower().split()))
    return None if match is None else {slot: (text or "").strip() for slot, text in match.groupdict().items()}


def is_right(slot: str, text: str, person: Person) -> bool:
    """Whether a slot's text is true of the person; an empty one, that there is nothing to say.

    The shoes are right by their colour, anything else by all attributes that the labeller reads in the text, at least one.
    """
    worn_or_carried = {
        "hat": [person.hat],
        "accessories": [],
        "carried": [person.backpack, person.handbag, person.bag],
        "lower": [person.lower],
    }
    is_there = any(worn_or_carried[slot]) if slot in worn_or_carried else True
    if not text or not is_there:
        return bool(text) == is_there
    if slot == "shoes":
        return person.shoes.color in text.replace("grey", "gray").replace("navy", "blue")
    values = _labeller().label([text if slot == "person" else f"a person with {text}"]).values[0]
    truth = person.attributes()
    read = [column for name in ATTRIBUTES[slot] for column in _columns(name) if values[column] >= 0]
    return bool(read) and all(values[column] == truth[column] for column in read)


@cache
def _labeller() -> Labeller:
    return Labeller()


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """Matches captions of the template's shape, in lower case, with a group for each slot."""
    parts = []
    for text, is_optional, _ in read_template(template).parts:
        pieces = [_slot(piece[1:-1]) if piece.startswith("{") else _literal(piece) for piece in re.split(r"(\{\w+\})", text)]
        part = r"\s*".join(piece for piece in pieces if piece)
        parts.append(rf"(?:\s*{part})?" if is_optional else rf"\s*{part}")
    return re.compile("".join(parts))


def _slot(name: str) -> str:
    """A slot as a pattern with its name. Shoes are of one colour, so no "and" is in their text."""
    if name == "person":
        return "(?P<person>.+?)"
    before = r"(?:(?!\band\b)[^,.;])*?" if name in ("shoes", "hair") else r"[^,.;]*?" if name != "carried" else "[^.;]*?"
    return rf"(?P<{name}>{before}\b(?:{NOUNS[name]})\b[^.;]*?)"


def _literal(text: str) -> str:
    """The words between two slots as a pattern."""
    words = r"\s+".join(re.escape(word) for word in text.lower().split())
    if not words:
        return ""
    stripped = text.strip()
    return (r"\b" if stripped[0].isalnum() else "") + words + (r"\b" if stripped[-1].isalnum() else "")


def _columns(name: str) -> list[int]:
    """The columns of an attribute or of a colour group."""
    space = load_space("market1501")
    group = space.color_groups.get(name)
    return [space.names.index(column) for column in (group.colors.values() if group else (name,))]
