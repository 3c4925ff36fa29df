"""Which words of a caption belong to which slot of a template, by the labeller's reading of it.

The same reading serves two ends: the phrases of a caption fill templates (`phrases`), and a caption without them is one (`template`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from mals.labeller import tags
from mals.labeller.labeller import Labeller
from mals.labeller.reading import ClothingItem
from mals.planning.phrases import an, listed
from mals.stages.captioning.templates import capitalized, tidy

SHOES = """
shoe sneaker trainer boot sandal slipper loafer heel stiletto pump clog moccasin brogue oxford footwear flat plimsoll wedge cleat
"""
BY_ATTRIBUTE = {"hat": "hat", "backpack": "carried", "bag": "carried", "handbag": "carried", "hair_length": "hair"}
BY_COVERAGE = {"upper": "upper", "lower": "lower", "full_body": "clothes", "accessory": "accessories"}
DESCRIBING = frozenset(tags.COLOR + tags.COLOR_NOUN + tags.QUALIFIER + tags.MODIFIER + tags.ADVERB + tags.UNKNOWN_WORD + tags.ING_FORM)
ARTICLES = frozenset(tags.DETERMINER + tags.POSSESSIVE + tags.PARTITIVE)
JOINING = frozenset((tags.AND, tags.COMMA, tags.WITH, tags.PATH))  # between two phrases of one slot: "a jacket over a shirt"
VERBS = (tags.VERB, tags.WEARING, tags.HOLDING, tags.BEING, tags.HAVING)
REPEATED = re.compile(r"\b(\w+) \1\b")  # "and and", where a word between was lost
NEUTRAL = {"he": "the person", "she": "the person", "him": "the person", "his": "their", "her": "their", "hers": "theirs"}
KEPT_WORDS = """
hand hands arm arms shoulder shoulders side sides head neck waist back front foot feet leg legs body wrist face camera image photo scene
view way outfit look style color colour background pair left right both one other
"""  # of a template: they say nothing about a certain person
SHOE_NOUNS, KEPT = frozenset(SHOES.split()), frozenset(KEPT_WORDS.split())


@dataclass(frozen=True)
class Slot:
    """Consecutive words of a caption that fill one slot."""

    name: str
    start: int  # of the first word
    end: int  # after the last one
    plural: bool = False


@dataclass(frozen=True)
class Reading:
    """A caption with its slots."""

    caption: str
    words: list[str]
    tags: str  # one character a word
    spans: list[tuple[int, int]]  # of each word in the caption
    slots: list[Slot]  # in the order of the words, without overlap
    has_negation: bool  # of something worn or carried


@cache
def _labeller() -> Labeller:
    return Labeller("market1501")


def read(caption: str) -> Reading:
    """The slots of a caption."""
    labeller = _labeller()
    words, spans = labeller.vocabulary.split_with_spans(caption)
    result, word_tags = labeller.grammar.read(words), labeller.grammar.tag(words)
    items = [item for item in result.items if item.start < item.end <= len(words)]
    slots = [Slot(_name(item), item.start, item.end, item.phrase.plural) for item in items if item.negation < 0]
    used = {at for item in items for at in range(item.start, item.end)}
    for name, tag in (("person", tags.PERSON), ("hair", tags.HAIR)):
        for at in (at for at, letter in enumerate(word_tags) if letter == tag and at not in used):
            slots.append(Slot(name, _start(word_tags, at, used), at + 1, name == "hair"))
            used.update(range(slots[-1].start, slots[-1].end))
    return Reading(caption, words, word_tags, spans, sorted(slots, key=lambda slot: slot.start), len(slots) < len(items))


def phrases(caption: str) -> dict[str, str]:
    """The phrases of a caption by slot, with their articles; what it does not speak of is missing, but for a person in clothes."""
    reading = read(caption)
    texts: dict[str, list[str]] = {}
    for slot in reading.slots:
        words = [at for at in range(slot.start, slot.end) if reading.tags[at] not in ARTICLES]
        if not words or (slot.name == "person" and "person" in texts):
            continue
        text = caption[reading.spans[words[0]][0] : reading.spans[words[-1]][1]].lower()
        if text == "hair":  # "her hair is long" says so outside of the phrase
            continue
        if text not in texts.setdefault(slot.name, []):
            texts[slot.name].append(text if slot.plural else an(text))
    worn = [text for name in ("clothes", "upper", "lower") for text in texts.get(name, [])]
    upper = [*texts.get("clothes", []), *texts.get("upper", [])]
    return {name: listed(parts) for name, parts in texts.items()} | {
        "person": (texts.get("person") or ["a person"])[0],
        "clothes": listed(worn) or "clothes",
        "upper": listed(upper),
    }


def template(caption: str) -> str | None:
    """The caption with slots in place of what it says about a certain person.

    None where a slot would be there twice, where too little is left to fill, or where words remain that the labeller does not understand.
    """
    reading = read(caption)
    slots = _merged(reading)
    names = [slot.name for slot in slots]
    if reading.has_negation or len(set(names)) < max(2, len(names)) or not {"clothes", "upper", "lower"} & set(names):
        return None
    if set("[]{}") & set(caption) or not _is_clean(reading, slots):
        return None
    parts, end = [], 0
    for slot in slots:
        parts += [_neutral(reading, end, slot.start), f"{{{slot.name}}}"]
        end = slot.end
    tail = _neutral(reading, end, len(reading.words)).rstrip(" .")
    text = tidy(" ".join([*parts, tail])) + "."
    return None if REPEATED.search(text) else capitalized(text)


def _name(item: ClothingItem) -> str:
    """The slot of a piece of clothing, or of what is carried."""
    names = _labeller().space.names
    if item.phrase.head.split(" ")[-1] in SHOE_NOUNS:
        return "shoes"
    return next((BY_ATTRIBUTE[names[at]] for at, _ in item.phrase.meanings if names[at] in BY_ATTRIBUTE), BY_COVERAGE[item.phrase.coverage])


def _start(word_tags: str, at: int, used: set[int]) -> int:
    """The first word of the phrase whose head is at `at`: adjectives, colours joined by "and", then articles."""
    start = at
    while start and start - 1 not in used and (word_tags[start - 1] in DESCRIBING or _joins(word_tags, start - 1)):
        start -= 1
    while start and start - 1 not in used and word_tags[start - 1] in ARTICLES:
        start -= 1
    return start


def _joins(word_tags: str, at: int) -> bool:
    """Whether the word is an "and" or a comma between adjectives."""
    between = word_tags[at] in (tags.AND, tags.COMMA) and at > 0
    return between and word_tags[at - 1] in DESCRIBING and word_tags[at + 1] in DESCRIBING


def _merged(reading: Reading) -> list[Slot]:
    """The slots, those of one name joined where only "and", a comma or a preposition is between; without later words for the person."""
    slots: list[Slot] = []
    for slot in reading.slots:
        if slot.name == "person" and any(other.name == "person" for other in slots):
            continue  # `_neutral` writes "the person"
        last = slots[-1] if slots else None
        if last and last.name == slot.name and all(tag in JOINING for tag in reading.tags[last.end : slot.start]):
            slots[-1] = Slot(last.name, last.start, slot.end)
        else:
            slots.append(slot)
    return slots


def _is_clean(reading: Reading, slots: Sequence[Slot]) -> bool:
    """Whether the words outside of all slots name no colour, no thing, nothing unknown, and no second person."""
    inside = {at for slot in slots for at in range(slot.start, slot.end)}
    inside |= {at for slot in reading.slots if slot.name == "person" for at in range(slot.start, slot.end)}
    later = [slot.end for slot in reading.slots if slot.name == "person" and slot not in slots]
    if any(reading.tags[end : end + 1] not in VERBS for end in later):  # "with a man", "another man": not the subject of a clause
        return False
    naming = tags.COLOR + tags.CLOTHING + tags.HAIR + tags.OTHER_NOUN + tags.NON_PERSON + tags.UNKNOWN_WORD + tags.NOT + tags.GARMENT_PART
    naming += tags.MODIFIER
    rest = [at for at in range(len(reading.words)) if at not in inside]
    return not any(reading.tags[at] in naming and reading.words[at] not in KEPT for at in rest)


def _neutral(reading: Reading, start: int, end: int) -> str:
    """The words outside of slots, with "the person" for later mentions and without the pronouns of a gender."""
    mentions = {slot.start: slot.end for slot in reading.slots if slot.name == "person"}
    parts, at = [], start
    while at < end:
        if at in mentions:
            parts.append("the person")
            at = mentions[at]
            continue
        first, last = reading.spans[at]
        text = reading.caption[first:last]
        parts.append(NEUTRAL.get(text.lower(), text))
        at += 1
    return " ".join(parts)
