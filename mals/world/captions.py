"""Captions of people of the world, as annotators and captioning models write them, each with the attribute labels that its text says.

`write_caption` arranges the phrases of `CaptionFacts` in one of four styles. It uses only words whose reading the labelling policy
settles. Hats and bags are always mentioned: the policy reads a caption without them as "no hat" and "no bag".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mals.attributes import load_space
from mals.world.caption_facts import CaptionFacts, add_article, remove_article
from mals.world.person import Person

STYLES = ("short", "annotator", "long", "terse")
MAX_WORDS = 40

PLACE_PHRASES = {  # place -> phrases for a person who walks there, and for one who stands there; {} is the place
    "street": (("down a {}", "down the {}", "along a {}", "on the {}"), ("on a {}", "on the {}", "in a {}")),
    "park": (("through a {}", "in a {}", "in the {}"), ("in a {}", "in the {}")),
    "plaza": (("across a {}", "through a {}", "on a {}"), ("on a {}", "in a {}")),
    "shop": (("through a {}", "in a {}"), ("in a {}", "inside a {}")),
    "station": (("through a {}", "in a {}"), ("in a {}", "at a {}")),
    "room": (("through a {}", "in a {}"), ("in a {}",)),
}
OTHER_PLACE_PHRASES = (("through a {}", "in a {}"), ("in a {}",))


@dataclass(frozen=True)
class Caption:
    """A caption, and what the labelling policy reads in exactly this text."""

    text: str
    style: str  # of STYLES
    labels: list[int]  # [27] in {-1, 0, 1}: -1 if the text does not mention the attribute


def write_caption(
    person: Person,
    rng: np.random.Generator,
    style: str | None = None,
    complete: bool = False,
    place: str | None = None,
    walking: bool | None = None,
) -> Caption:
    """A caption of `person`, in a random style if `style` is None.

    `complete` mentions every attribute. `place` is a noun such as "street"; None for `place` or `walking` leaves it out.
    """
    if style is None:
        style = STYLES[int(rng.random() * len(STYLES))]
    write = {"short": _short, "annotator": _annotator, "long": _long, "terse": _terse}[style]
    brevity = 0
    while True:  # a text that is too long is written again with fewer words
        facts = CaptionFacts(person, rng, complete, brevity)
        if brevity < 3:
            _choose_setting(facts, place, walking)
        text = write(facts)
        if text.count(" ") < MAX_WORDS:
            return Caption(text, style, _labels(person, facts.omitted))
        brevity += 1


@lru_cache(1)
def _attribute_columns() -> dict[str, list[int]]:
    """Attribute or colour group -> its columns in the attribute space."""
    space = load_space("market1501")
    groups = {name: [space.names.index(column) for column in group.colors.values()] for name, group in space.color_groups.items()}
    return {name: [column] for column, name in enumerate(space.names)} | groups


def _labels(person: Person, omitted: Iterable[str]) -> list[int]:
    values = person.attributes()
    for name in omitted:
        for column in _attribute_columns()[name]:
            values[column] = -1
    return values


def _join(parts: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join((", ".join(parts[:-1]), parts[-1])) if len(parts) > 1 else "".join(parts)


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:] + "."


def _choose_setting(facts: CaptionFacts, place: str | None, walking: bool | None) -> None:
    """Set what the person does and where: "walking down a street", "in a park", "standing", or nothing."""
    walking_phrases, standing_phrases = PLACE_PHRASES.get((place or "").split(" ")[-1], OTHER_PLACE_PHRASES)
    verb = "" if walking is None else "walking" if walking else facts.choose(("standing", "standing", "waiting"))
    phrases = walking_phrases if walking else standing_phrases
    where = facts.choose(phrases).replace("a {}", add_article(place)).replace("{}", place) if place else ""
    facts.setting, facts.setting_words = f"{verb} {where}".strip(), [verb, place or ""]


def _clothes(facts: CaptionFacts, hat: bool) -> str:
    """The clothes, and the hat if `hat`, as a list in a natural order."""
    worn = [facts.upper.with_article] + ([facts.lower.with_article] if facts.lower else [])
    if facts.happens(12):
        worn.reverse()
    worn += [facts.shoes.with_article] if facts.shoes else []
    if hat and facts.hat:
        worn.insert(0 if facts.happens(20) else len(worn), facts.hat)
    if len(worn) == 2 and " with " not in worn[0] and facts.happens(20):
        return f"{worn[0]} with {worn[1]}"
    return _join(worn)


def _looks(facts: CaptionFacts) -> list[str]:
    """Hair and beard, phrases to follow "with"."""
    return ([facts.hair] if facts.hair else []) + (["a beard"] if facts.beard else [])


def _short(facts: CaptionFacts) -> str:
    """One noun phrase or sentence without a capital, as a small captioning model writes it."""
    hat_with_looks, clothes_first = facts.happens(35), facts.happens(70)
    looks = _looks(facts) + ([facts.hat] if hat_with_looks and facts.hat else [])
    subject = add_article(facts.noun) + (f" with {_join(looks)}" if looks else "")
    clothes = _clothes(facts, not hat_with_looks)
    wear = facts.choose(("in", "in", "wearing", "wearing", "dressed in"))
    items = _join(facts.items)
    setting = f" {facts.setting}" if facts.setting else ""
    if facts.setting and facts.happens(25):
        carry = f" {facts.choose(('with', 'carrying', 'and carrying'))} {items}" if items else ""
        return f"{subject}{setting} {facts.choose(('wearing', 'dressed in'))} {clothes}{carry}"
    if facts.setting and facts.happens(20):
        return f"{subject} {wear} {clothes} is{setting}" + (f" with {items}" if items else "")
    if not items:
        return f"{subject} {wear} {clothes}{setting}"
    if clothes_first:
        return f"{subject} {wear} {clothes} {facts.choose(('with', 'carrying', 'and carrying'))} {items}{setting}"
    return f"{subject} carrying {items} and wearing {clothes}{setting}"


def _annotator(facts: CaptionFacts) -> str:
    """Plain sentences about looks, clothes and carried items, as paid annotators describe pedestrians."""
    determiner = facts.choose(("the", "the", "the", "a", "this"))
    subject = add_article(facts.noun) if determiner == "a" else f"{determiner} {facts.noun}"
    looks, hat_in_clothes, setting = _looks(facts), facts.happens(60), facts.setting
    predicates: list[str] = []
    if looks and facts.happens(30):
        subject, looks = f"{subject} with {_join(looks)}", []
    wears = facts.choose(("is wearing", "is wearing", "wears", "is dressed in", "has on"))
    first = f"{subject} {wears} {_clothes(facts, hat_in_clothes)}"
    if setting and facts.happens(40):
        first = f"{subject} is {setting}, {facts.choose(('wearing', 'dressed in'))} {_clothes(facts, hat_in_clothes)}"
        setting = ""
    if facts.items:
        predicates.append(f"{facts.choose(('carries', 'is carrying', 'has'))} {_join(facts.items)}")
    if looks:
        predicates.append(f"has {_join(looks)}")
    if facts.hat and not hat_in_clothes:
        predicates.append(f"{facts.choose(('wears', 'is wearing', 'has on'))} {facts.hat}")
    if setting:
        predicates.append(f"is {setting}")
    predicates.sort(key=lambda _: facts.random())
    sentences = [first]
    while predicates:
        count = 2 if len(predicates) > 1 and facts.happens(60) else 1
        predicate = " and ".join(predicates[:count])
        sentences.append(f"{facts.pronoun} {predicate.replace(' and has ', ' and ') if predicate.startswith('has ') else predicate}")
        predicates = predicates[count:]
    if len(sentences) > 1 and not setting and facts.happens(10) and determiner != "a":  # the looks before the clothes
        second = sentences[1].removeprefix(facts.pronoun).strip()
        sentences = [f"{subject} {second}", f"{facts.pronoun} {wears} {_clothes(facts, hat_in_clothes)}", *sentences[2:]]
    return " ".join(_sentence(words) for words in sentences)


def _long(facts: CaptionFacts) -> str:
    """Two or three full sentences: who and where, what they wear, and what they carry."""
    looks, pronoun, setting = _looks(facts), facts.pronoun, facts.setting
    subject = add_article(facts.noun) + (f" with {_join(looks)}" if looks else "")
    openings = ("there is {}", "the picture shows {}", "this is {}", "here we see {}", "we can see {}")  # lint: data
    opening = facts.choose(openings).format(subject)
    belongings = _belongings(facts)
    garments = [garment for garment in (facts.upper, facts.lower) if garment]
    if all(garment.color for garment in garments) and facts.happens(25):
        clauses = _join([garment.color_clause(facts.possessive) for garment in garments])
        sentences = [f"{subject} is {setting}" if setting else opening, clauses]
    elif not belongings or facts.happens(50):
        wears = facts.choose(("wears", "is wearing", "is dressed in", "has on"))
        sentences = [f"{subject} is {setting}" if setting else opening, f"{pronoun} {wears} {_clothes(facts, False)}"]
    elif setting:
        sentences = [f"{subject} {facts.choose(('in', 'wearing', 'dressed in'))} {_clothes(facts, False)} is {setting}"]
    else:
        sentences = [f"{opening}, {facts.choose(('dressed in', 'wearing'))} {_clothes(facts, False)}"]
    return " ".join(_sentence(words) for words in sentences + belongings)


def _belongings(facts: CaptionFacts) -> list[str]:
    """Sentences about hat and carried items, none for a person without any."""
    possessive, pronoun = facts.possessive, facts.pronoun
    if (facts.hat or facts.items) and facts.happens(35):
        return [f"{pronoun} {facts.choose(('has', 'is seen with'))} {_join([*facts.items, *([facts.hat] if facts.hat else [])])}"]
    on_head: list[str] = []
    if facts.hat:
        short = facts.happens(40)
        on_head = [f"{facts.hat} is on {possessive} head" if short else f"{pronoun} wears {facts.hat} on {possessive} head"]
    carried = [f"{pronoun} {facts.choose(('carries', 'is carrying', 'has'))} {_join(facts.items)}"] if facts.items else []
    return [" and ".join(on_head + carried)] if on_head or carried else []


def _terse(facts: CaptionFacts) -> str:
    """Phrases between commas, as prompts are written."""
    # A garment without a colour keeps its article: the labeller does not carry the colour before it past an article.
    upper = facts.upper.with_article if "upper_color" in facts.omitted else facts.upper.words
    lower = [facts.lower.with_article if "lower_color" in facts.omitted else facts.lower.words] if facts.lower else []
    clothes = [upper, *lower]
    if facts.happens(15):
        clothes.reverse()
    shoes = [facts.shoes.words] if facts.shoes else []
    items = [remove_article(item) for item in ([facts.hat] if facts.hat else []) + facts.items]
    looks = [remove_article(look) for look in _looks(facts)]
    groups = [clothes + shoes, items]
    if facts.happens(25):
        groups.reverse()
    groups.insert(0 if facts.happens(70) else 1 + int(facts.happens(50)), looks)
    subject = facts.noun
    if facts.happens(20):
        subject = f"{facts.choose(('photo of', 'a photo of', 'portrait of'))} {add_article(facts.noun)}"
    setting = facts.setting_words if facts.happens(60) else [facts.setting]
    return ", ".join(part for group in ([subject], *groups, setting) for part in group if part)
