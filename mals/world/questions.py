"""Questions about single attributes of a person of the world, with their answers: what value an attribute has, and yes or no.

Each question is there in several wordings and has one answer, a sentence of at least five tokens, because captioners are told to write
as many.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mals.planning.phrases import joined, listed
from mals.world.caption_facts import add_article
from mals.world.person import LOWER_COLORS, UPPER_COLORS, Garment, Person

YES_OR_NO = ("hat", "backpack", "handbag", "bag", "gender", "hair", "sleeves", "lower_length", "upper_color", "lower_color")  # attributes
ITEMS = {"hat": "a hat or cap", "backpack": "a backpack", "handbag": "a handbag", "bag": "a shoulder bag"}
ITEM_WORDINGS = ("Does the person have {}?", "Is there {}?", "Does this person wear or carry {}?", "Can you see {}?")


@dataclass(frozen=True)
class Question:
    """A question about one attribute, with its answer for one person."""

    attribute: str
    text: str
    answer: str
    is_yes_or_no: bool = False


@dataclass(frozen=True)
class _Value:
    """A question for the value of an attribute."""

    wordings: tuple[str, ...]
    answer: Callable[[Person], str]


def _lower(person: Person) -> Garment:
    """What the lower body wears: a dress is on both halves."""
    return person.lower or person.upper


def _item(item: Garment | None, verb: str, name: str) -> str:
    return f"The person {verb} {add_article(item.color)} {item.kind}." if item else f"The person {verb} no {name}."


VALUES: dict[str, _Value] = {
    "gender": _Value(
        ("What is the gender of the person?", "Is this a man or a woman?", "Is the person male or female?"),
        lambda person: f"The person is {'female' if person.gender == 'woman' else 'male'}.",
    ),
    "age": _Value(
        ("What is the age group of the person?", "Is this an adult or a child?", "How old is the person?"),
        lambda person: f"The person is {add_article(person.age)}.",
    ),
    "hair": _Value(
        ("How long is the hair?", "Is the hair of the person long or short?", "What is the length of the hair?"),
        lambda person: f"The hair is {person.hair}.",
    ),
    "hair_color": _Value(
        ("What colour is the hair?", "What is the color of the hair?", "Which colour does the hair have?"),
        lambda person: "The head is bald." if person.haircut == "bald" else f"The hair is {person.hair_color}.",
    ),
    "sleeves": _Value(
        ("How long are the sleeves?", "Are the sleeves long or short?", "What is the length of the sleeves?"),
        lambda person: f"The sleeves are {person.sleeves}.",
    ),
    "upper": _Value(
        ("What garment is on the upper body?", "What kind of top does the person wear?", "Which upper garment is worn?"),
        lambda person: f"The person wears {add_article(person.upper.kind)}.",
    ),
    "upper_color": _Value(
        ("What colour is the upper garment?", "What is the color of the upper clothing?", "Which colour does the top have?"),
        lambda person: f"The upper garment is {joined(person.upper.colors)}.",
    ),
    "lower_color": _Value(
        (
            "What colour is the lower garment?",
            "What is the color of the lower clothing?",
            "Which colour do the trousers or the skirt have?",
        ),
        lambda person: f"The lower garment is {joined(_lower(person).colors)}.",
    ),
    "lower_length": _Value(
        ("How long is the lower garment?", "Is the lower clothing long or short?", "What is the length of the lower garment?"),
        lambda person: f"The lower garment is {person.lower_length}.",
    ),
    "lower_type": _Value(
        ("Does the person wear trousers or a skirt?", "Are these trousers or a skirt?", "What kind of lower garment is worn?"),
        lambda person: "The person wears a skirt." if person.lower_type == "skirt" else "The person wears trousers.",
    ),
    "shoes_color": _Value(
        ("What colour are the shoes?", "What is the color of the footwear?", "Which colour do the shoes have?"),
        lambda person: f"The shoes are {person.shoes.color}.",
    ),
    "hat": _Value(
        ("What is on the head?", "What headwear does the person wear?", "Which hat does the person wear?"),
        lambda person: _item(person.hat, "wears", "hat"),
    ),
    "carried": _Value(
        ("What does the person hold?", "Which bags does the person carry?", "What belongings can be seen?"),
        lambda person: f"The person carries {carried(person)}.",
    ),
}


def carried(person: Person) -> str:
    """The bags with their colours, or "nothing"."""
    bags = [f"{add_article(bag.color)} {bag.kind}" for bag in (person.backpack, person.handbag, person.bag) if bag]
    return listed(bags) or "nothing"


def value_question(person: Person, attribute: str, rng: np.random.Generator) -> Question:
    """What value an attribute of VALUES has."""
    value = VALUES[attribute]
    return Question(attribute, value.wordings[int(rng.integers(len(value.wordings)))], value.answer(person))


def yes_or_no_question(person: Person, attribute: str, rng: np.random.Generator) -> Question:
    """Whether an attribute of YES_OR_NO has a value, which is the true one in half of the questions, but for hats and bags."""
    if attribute in ITEMS:
        is_true, name = getattr(person, attribute) is not None, ITEMS[attribute]
        text = ITEM_WORDINGS[int(rng.integers(len(ITEM_WORDINGS)))].format(name)
        statement = f"there is {name}" if is_true else f"there is not {name}"
    else:
        is_true = bool(rng.integers(2))
        subject, verb, value = _claim(person, attribute, is_true, rng)
        text = f"{verb} {subject} {value}?".capitalize()
        statement = f"{subject} {verb} {'' if is_true else 'not '}{value}"
    return Question(attribute, text, f"{'Yes' if is_true else 'No'}, {statement}.", is_yes_or_no=True)


def _claim(person: Person, attribute: str, is_true: bool, rng: np.random.Generator) -> tuple[str, str, str]:
    """Subject, verb and a value of the attribute that is true or false."""
    subjects = {
        "gender": ("the person", "is", ("male", "female"), ("female" if person.gender == "woman" else "male",)),
        "hair": ("the hair", "is", ("long", "short"), (person.hair,)),
        "sleeves": ("the sleeves", "are", ("long", "short"), (person.sleeves,)),
        "lower_length": ("the lower garment", "is", ("long", "short"), (person.lower_length,)),
        "upper_color": ("the upper garment", "is", UPPER_COLORS, person.upper.colors),
        "lower_color": ("the lower garment", "is", LOWER_COLORS, _lower(person).colors),
    }
    subject, verb, values, true = subjects[attribute]
    values = true if is_true else tuple(value for value in values if value not in true)
    return subject, verb, values[int(rng.integers(len(values)))]


def statements(person: Person) -> tuple[str, ...]:
    """The answers to QUESTIONS of mals.stages.captioning.instructions, in their order."""
    noun = {("adult", "woman"): "woman", ("adult", "man"): "man", ("child", "woman"): "girl", ("child", "man"): "boy"}
    hair = "a bald head" if person.haircut == "bald" else f"{person.hair} {person.hair_color} hair"
    lower = _lower(person)
    worn = f"{joined(lower.colors)} {lower.kind}"
    hat = f"and {add_article(person.hat.color)} {person.hat.kind} on the head" if person.hat else "and nothing on the head"
    return (
        f"The person is {add_article(noun[person.age, person.gender])}.",
        f"The person has {hair}.",
        f"The person wears {add_article(joined(person.upper.colors))} {person.upper.kind} with {person.sleeves} sleeves.",
        f"On the lower body there {f'is {add_article(worn)}' if person.lower_type == 'skirt' else f'are {worn}'}.",
        f"The person wears {person.shoes.color} shoes on the feet {hat}.",
        f"The person carries {carried(person)}.",
    )
