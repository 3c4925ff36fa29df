"""What people would write about a person of the world, and what each of these texts tells by the labelling policy.

`tell` arranges in one of four voices what a `Telling` has chosen to say. The words are those on whose reading the policy is settled. Hats
and bags are always said, since silence denies them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mals.attributes import load_space
from mals.world.person import Person
from mals.world.telling import Telling, a, bare

VOICES = ("short", "annotator", "long", "terse")
MOST_WORDS = 40

PLACES = {  # how somebody walks, and is, there; the place itself for {}
    "street": (("down a {}", "down the {}", "along a {}", "on the {}"), ("on a {}", "on the {}", "in a {}")),
    "park": (("through a {}", "in a {}", "in the {}"), ("in a {}", "in the {}")),
    "plaza": (("across a {}", "through a {}", "on a {}"), ("on a {}", "in a {}")),
    "shop": (("through a {}", "in a {}"), ("in a {}", "inside a {}")),
    "station": (("through a {}", "in a {}"), ("in a {}", "at a {}")),
    "room": (("through a {}", "in a {}"), ("in a {}",)),
}
ANYWHERE = (("through a {}", "in a {}"), ("in a {}",))


@dataclass(frozen=True)
class Told:
    """A caption, how it is written, and what the labelling policy reads in exactly this text."""

    text: str
    voice: str  # of VOICES
    said: list[int]  # [27] in {-1, 0, 1}: -1 where the text does not tell


def tell(
    person: Person,
    rng: np.random.Generator,
    voice: str | None = None,
    full: bool = False,
    scene: str | None = None,
    walking: bool | None = None,
) -> Told:
    """A caption of `person`: in any voice for None; `full` leaves no attribute open; `scene` is a noun such as "street"."""
    if voice is None:
        voice = VOICES[int(rng.random() * len(VOICES))]
    write = {"short": _short, "annotator": _annotator, "long": _long, "terse": _terse}[voice]
    trim = 0
    while True:  # what is too long is told anew with fewer words
        told = Telling(person, rng, full, trim)
        if trim < 3:
            _be(told, scene, walking)
        text = write(told)
        if text.count(" ") < MOST_WORDS:
            return Told(text, voice, _said(person, told.silent))
        trim += 1


@lru_cache(1)
def _columns() -> dict[str, list[int]]:
    """Where the attributes are of which a text speaks together."""
    space = load_space("market1501")
    groups = {name: [space.names.index(column) for column in group.colors.values()] for name, group in space.groups.items()}
    return {name: [at] for at, name in enumerate(space.names)} | groups


def _said(person: Person, silent: Iterable[str]) -> list[int]:
    values = person.attributes()
    for name in silent:
        for at in _columns()[name]:
            values[at] = -1
    return values


def _list(parts: Sequence[str]) -> str:
    return " and ".join((", ".join(parts[:-1]), parts[-1])) if len(parts) > 1 else "".join(parts)


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:] + "."


def _be(told: Telling, scene: str | None, walking: bool | None) -> None:
    """Set what somebody does and where: "walking down a street", "in a park", "standing", or nothing."""
    moving, staying = PLACES.get((scene or "").split(" ")[-1], ANYWHERE)
    does = "" if walking is None else "walking" if walking else told.one(("standing", "standing", "waiting"))
    where = told.one(moving if walking else staying).replace("a {}", a(scene)).replace("{}", scene) if scene else ""
    told.place, told.place_words = f"{does} {where}".strip(), [does, scene or ""]


def _clothes(told: Telling, hat: bool) -> str:
    """What is worn, listed in a natural order."""
    worn = [told.upper.whole] + ([told.lower.whole] if told.lower else [])
    if told.chance(12):
        worn.reverse()
    worn += [told.shoes.whole] if told.shoes else []
    if hat and told.hat:
        worn.insert(0 if told.chance(20) else len(worn), told.hat)
    if len(worn) == 2 and " with " not in worn[0] and told.chance(20):
        return f"{worn[0]} with {worn[1]}"
    return _list(worn)


def _looks(told: Telling) -> list[str]:
    """Hair and beard, to be put after "with"."""
    return ([told.hair] if told.hair else []) + (["a beard"] if told.beard else [])


def _short(told: Telling) -> str:
    """One noun phrase or sentence without a capital, as a small captioning model writes it."""
    hat_with, clothes_first = told.chance(35), told.chance(70)
    looks = _looks(told) + ([told.hat] if hat_with and told.hat else [])
    who = a(told.noun) + (f" with {_list(looks)}" if looks else "")
    clothes = _clothes(told, not hat_with)
    wear = told.one(("in", "in", "wearing", "wearing", "dressed in"))
    things = _list(told.things)
    place = f" {told.place}" if told.place else ""
    if told.place and told.chance(25):
        carry = f" {told.one(('with', 'carrying', 'and carrying'))} {things}" if things else ""
        return f"{who}{place} {told.one(('wearing', 'dressed in'))} {clothes}{carry}"
    if told.place and told.chance(20):
        return f"{who} {wear} {clothes} is{place}" + (f" with {things}" if things else "")
    if not things:
        return f"{who} {wear} {clothes}{place}"
    if clothes_first:
        return f"{who} {wear} {clothes} {told.one(('with', 'carrying', 'and carrying'))} {things}{place}"
    return f"{who} carrying {things} and wearing {clothes}{place}"


def _annotator(told: Telling) -> str:
    """Plain sentences about looks, clothes and things, as people write who describe pedestrians for pay."""
    the = told.one(("the", "the", "the", "a", "this"))
    who = a(told.noun) if the == "a" else f"{the} {told.noun}"
    looks, hat_worn, place = _looks(told), told.chance(60), told.place
    facts: list[str] = []
    if looks and told.chance(30):
        who, looks = f"{who} with {_list(looks)}", []
    wears = told.one(("is wearing", "is wearing", "wears", "is dressed in", "has on"))
    first = f"{who} {wears} {_clothes(told, hat_worn)}"
    if place and told.chance(40):
        first, place = f"{who} is {place}, {told.one(('wearing', 'dressed in'))} {_clothes(told, hat_worn)}", ""
    if told.things:
        facts.append(f"{told.one(('carries', 'is carrying', 'has'))} {_list(told.things)}")
    if looks:
        facts.append(f"has {_list(looks)}")
    if told.hat and not hat_worn:
        facts.append(f"{told.one(('wears', 'is wearing', 'has on'))} {told.hat}")
    if place:
        facts.append(f"is {place}")
    facts.sort(key=lambda _: told.random())
    he = told.pronoun
    sentences = [first]
    while facts:
        taken = 2 if len(facts) > 1 and told.chance(60) else 1
        does = " and ".join(facts[:taken])
        sentences.append(f"{he} {does.replace(' and has ', ' and ') if does.startswith('has ') else does}")
        facts = facts[taken:]
    if len(sentences) > 1 and not place and told.chance(10) and the != "a":  # the looks first
        sentences = [f"{who} {sentences[1].removeprefix(he).strip()}", f"{he} {wears} {_clothes(told, hat_worn)}", *sentences[2:]]
    return " ".join(_sentence(words) for words in sentences)


def _long(told: Telling) -> str:
    """Two or three full sentences: who and where, what they wear, and what they have with them."""
    looks, he, place = _looks(told), told.pronoun, told.place
    who = a(told.noun) + (f" with {_list(looks)}" if looks else "")
    shown = told.one(("there is {}", "the picture shows {}", "this is {}", "here we see {}", "we can see {}")).format(who)
    belongings = _belongings(told)
    pieces = [piece for piece in (told.upper, told.lower) if piece]
    if all(piece.color for piece in pieces) and told.chance(25):
        sentences = [f"{who} is {place}" if place else shown, _list([piece.copula(told.their) for piece in pieces])]
    elif not belongings or told.chance(50):
        wears = told.one(("wears", "is wearing", "is dressed in", "has on"))
        sentences = [f"{who} is {place}" if place else shown, f"{he} {wears} {_clothes(told, False)}"]
    elif place:
        sentences = [f"{who} {told.one(('in', 'wearing', 'dressed in'))} {_clothes(told, False)} is {place}"]
    else:
        sentences = [f"{shown}, {told.one(('dressed in', 'wearing'))} {_clothes(told, False)}"]
    return " ".join(_sentence(words) for words in sentences + belongings)


def _belongings(told: Telling) -> list[str]:
    """Sentences about hat and things, none where there is nothing to say."""
    their, he = told.their, told.pronoun
    if (told.hat or told.things) and told.chance(35):
        return [f"{he} {told.one(('has', 'is seen with'))} {_list([*told.things, *([told.hat] if told.hat else [])])}"]
    on_head = [f"{told.hat} is on {their} head" if told.chance(40) else f"{he} wears {told.hat} on {their} head"] if told.hat else []
    carried = [f"{he} {told.one(('carries', 'is carrying', 'has'))} {_list(told.things)}"] if told.things else []
    return [" and ".join(on_head + carried)] if on_head or carried else []


def _terse(told: Telling) -> str:
    """Phrases between commas, as prompts are written."""
    above = told.upper.whole if "upper_color" in told.silent else told.upper.bare  # a colour ends at an article
    below = [told.lower.whole if "lower_color" in told.silent else told.lower.bare] if told.lower else []
    clothes = [above, *below]
    if told.chance(15):
        clothes.reverse()
    shoes = [told.shoes.bare] if told.shoes else []
    things = [bare(thing) for thing in ([told.hat] if told.hat else []) + told.things]
    looks = [bare(look) for look in _looks(told)]
    groups = [clothes + shoes, things]
    if told.chance(25):
        groups.reverse()
    groups.insert(0 if told.chance(70) else 1 + int(told.chance(50)), looks)
    who = f"{told.one(('photo of', 'a photo of', 'portrait of'))} {a(told.noun)}" if told.chance(20) else told.noun
    place = told.place_words if told.chance(60) else [told.place]
    return ", ".join(part for group in ([who], *groups, place) for part in group if part)
