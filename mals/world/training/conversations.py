"""What a captioner that follows instructions is taught: requests about an image of a person, each with its reply.

The requests are those that `caption` makes: the default wordings, those of the presets, and short ones. A template that a person cannot
fill is not asked for.
"""

from dataclasses import dataclass, replace

import numpy as np

from mals.stages.captioning.instructions import QUESTIONS, TEXTS
from mals.stages.captioning.templates import capitalized, fill, shape
from mals.world.captions import write_caption
from mals.world.person import Person, create_person
from mals.world.questions import VALUES, YES_OR_NO, statements, value_question, yes_or_no_question
from mals.world.slot_phrases import slot_phrases
from mals.world.training.instruction_templates import draw_template
from mals.world.training.vocabulary import WORDS

OTHERS = 5_000_000  # the number of the first person whose captions are style examples
STATIC = (
    TEXTS["static"],
    TEXTS["static"],
    "Leave the background out. Tell age, gender, upper and lower garment, hair, shoes and belongings of the person in this image, each "
    "with colour and style, all in one sentence.",
    "Describe the person in this image.",
    "Describe the person.",
    "Write a caption of this image.",
    "What does the person look like?",
)
TEMPLATE = (
    TEXTS["template"],
    "Describe only the main person in this image: gender, clothes, shoes, headwear, accessories and actions, with the colour of each part. "
    "Use vague words for a colour or a garment only where the image is unclear. Leave out the background and the mood. Write only what is "
    "certain: nothing about what is absent, no words of doubt, no guesses about identity or feelings. Begin with what is most striking, "
    "use everyday words, fewer than 60 of them, and give the description the shape of the following sentence: {template} Answer with the "
    "description alone.",
    "Fill in the template: {template}",
    "Describe the person by this template: {template}",
    "Follow the shape {template} and describe the person.",
    "{template}",
)
STYLE = (
    TEXTS["style"],
    "Write in the style of: {example}",
    "Describe the person as here: {example}",
)
FIRST_IS_DEFAULT = 0.2  # of the requests: the default wording, which is the first of STATIC, TEMPLATE and STYLE
STYLES = ("annotator", "long")  # of the replies to STATIC


@dataclass(frozen=True)
class Turn:
    """A request about an image, and its reply."""

    kind: str  # template, static, style, questions (a summary of answers), answer (to one of QUESTIONS), value, yes_or_no, repeat
    request: str
    reply: str


def draw_turns(person: Person, seed: int, rng: np.random.Generator) -> list[Turn]:
    """Two requests about an image of a person of the world `seed`: for a caption of some shape, and for less."""
    shaped = (template_turn, style_turn)[int(rng.random() < 0.3)]
    plain = (static_turn, question_turn, summary_turn)[int(rng.choice(3, p=(0.35, 0.55, 0.1)))]
    return [shaped(person, seed, rng), plain(person, seed, rng)]


def draw_written_turn(person: Person, seed: int, rng: np.random.Generator) -> Turn:
    """A request that says what is true of the person and needs no image, or one to repeat some words."""
    draw = rng.random()
    if draw < 0.15:
        return repeat_turn(rng, 30)
    if draw < 0.25:
        return summary_turn(person, seed, rng)
    turn = (template_turn if draw < 0.75 else style_turn)(person, seed, rng)
    facts = "\n".join(statements(person))
    return replace(turn, request=f"{facts}\n{turn.request}")


def repeat_turn(rng: np.random.Generator, longest: int) -> Turn:
    """Words to repeat, from three to `longest`, in any order."""
    words = WORDS.split()
    text = capitalized(" ".join(words[int(rng.integers(len(words)))] for _ in range(int(rng.integers(3, longest + 1)))))
    return Turn("repeat", f'Repeat: "{text}"', text)


def template_turn(person: Person, seed: int, rng: np.random.Generator) -> Turn:
    """The person in the shape of a template."""
    template, reply = _filled(person, rng)
    return Turn("template", _wording(TEMPLATE, rng).replace("{template}", f'"{shape(template)}"'), reply)


def static_turn(person: Person, seed: int, rng: np.random.Generator) -> Turn:
    """A complete description."""
    caption = write_caption(person, rng, STYLES[int(rng.integers(len(STYLES)))], complete=True)
    return Turn("static", _wording(STATIC, rng), capitalized(caption.text))


def style_turn(person: Person, seed: int, rng: np.random.Generator) -> Turn:
    """The person in the shape of the caption of another person, or in its style."""
    other = create_person(seed, OTHERS + int(rng.integers(1_000_000)))
    if rng.random() < 0.5:
        style = ("short", "annotator", "long", "terse")[int(rng.integers(4))]
        example = write_caption(other, rng, style, complete=True).text
        reply = write_caption(person, rng, style, complete=True).text
    else:
        template, reply = _filled(person, rng)
        example = fill(template, slot_phrases(other, rng))
    return Turn("style", _wording(STYLE, rng).replace("{example}", f'"{example}"'), reply)


def summary_turn(person: Person, seed: int, rng: np.random.Generator) -> Turn:
    """A description by the answers to QUESTIONS."""
    caption = write_caption(person, rng, STYLES[int(rng.integers(len(STYLES)))], complete=True)
    return Turn("questions", TEXTS["questions"].replace("{answers}", "\n".join(statements(person))), capitalized(caption.text))


def question_turn(person: Person, seed: int, rng: np.random.Generator) -> Turn:
    """A question about one attribute, or one of QUESTIONS."""
    kind = ("value", "yes_or_no", "answer")[int(rng.choice(3, p=(0.4, 0.4, 0.2)))]
    if kind == "answer":
        at = int(rng.integers(len(QUESTIONS)))
        return Turn(kind, QUESTIONS[at], statements(person)[at])
    attributes = list(VALUES) if kind == "value" else list(YES_OR_NO)
    ask = value_question if kind == "value" else yes_or_no_question
    question = ask(person, attributes[int(rng.integers(len(attributes)))], rng)
    return Turn(kind, question.text, question.answer)


def _filled(person: Person, rng: np.random.Generator) -> tuple[str, str]:
    """A template to train on, and the caption of the person by it."""
    while True:
        template = draw_template(rng)
        reply = fill(template, slot_phrases(person, rng))
        if "{" not in reply:
            return template, reply


def _wording(texts: tuple[str, ...], rng: np.random.Generator) -> str:
    """The default wording, or another one."""
    return texts[0] if rng.random() < FIRST_IS_DEFAULT else texts[int(rng.integers(len(texts)))]
