"""How well the embedded captioner follows instructions about images of drawn people: a part of `python -m benchmarks.world`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mals.config import Captioner
from mals.images import Pixels
from mals.models import ResolvedModel, resolve
from mals.stages.captioning.instructions import TEXTS
from mals.stages.captioning.model import Request
from mals.stages.captioning.templates import fill, shape
from mals.stages.vlm import Vlm
from mals.world.person import Person, create_person
from mals.world.questions import VALUES, YES_OR_NO, Question, value_question, yes_or_no_question
from mals.world.slot_phrases import is_right, slot_phrases, slot_texts
from mals.world.training.instruction_templates import HELD_OUT, held_out_generated, trained_generated

SETTINGS = Captioner(backend="vlm", model="embedded", beams=1, max_tokens=80, prompt="-")
OTHER = 88  # the world of the people whose captions are style examples


def instruction_scores(images: Sequence[Pixels], people: Sequence[Person], model: ResolvedModel | None = None) -> dict[str, Any]:
    """Templates of trainings, of the generator and of real captions that no training saw, style examples, and questions.

    followed: share of captions of the template's shape. slots: share of slots, of all captions, whose text is true, or rightly left out.
    """
    captioner = Vlm(SETTINGS, model or resolve("embedded", role="vlm"))
    rng = np.random.default_rng(OTHER)
    scores: dict[str, Any] = {}
    sets = {"trained": trained_generated(), "held_out_openings": held_out_generated(), "held_out": HELD_OUT}
    for name, templates in sets.items():
        drawn = [templates[int(rng.integers(len(templates)))] for _ in people]
        prompts = [TEXTS["template"].replace("{template}", f'"{shape(template)}"') for template in drawn]
        scores[name] = template_scores(drawn, _ask(captioner, images, prompts), people)
    drawn = [HELD_OUT[int(rng.integers(len(HELD_OUT)))] for _ in people]
    others = [create_person(OTHER, number) for number in range(len(people))]
    examples = [fill(template, slot_phrases(other, rng)) for template, other in zip(drawn, others, strict=True)]
    prompts = [TEXTS["style"].replace("{example}", f'"{example}"') for example in examples]
    scores["style"] = template_scores(drawn, _ask(captioner, images, prompts), people)
    for name, ask, attributes in (("values", value_question, tuple(VALUES)), ("yes_or_no", yes_or_no_question, YES_OR_NO)):
        questions = [ask(person, attributes[number % len(attributes)], rng) for number, person in enumerate(people)]
        scores[name] = answer_scores(questions, _ask(captioner, images, [question.text for question in questions]))
    return scores


def template_scores(templates: Sequence[str], captions: Sequence[str], people: Sequence[Person]) -> dict[str, Any]:
    """The shares followed and slots, the latter also by slot; a caption of another shape has no right slot."""
    followed = 0
    right: dict[str, list[bool]] = {}
    for template, caption, person in zip(templates, captions, people, strict=True):
        texts = slot_texts(template, caption)
        followed += texts is not None
        for slot in slot_texts(template, fill(template, slot_phrases(person, np.random.default_rng(0)))) or ():
            right.setdefault(slot, []).append(texts is not None and is_right(slot, texts[slot], person))
    every = [value for values in right.values() for value in values]
    by_slot = {slot: round(float(np.mean(values)), 4) for slot, values in sorted(right.items())}
    share = round(followed / len(captions), 4)
    return {"followed": share, "slots": round(float(np.mean(every)), 4), "by_slot": by_slot, "examples": list(captions[:2])}


def answer_scores(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, Any]:
    """The share of right answers, also by attribute."""
    right: dict[str, list[bool]] = {}
    for question, answer in zip(questions, answers, strict=True):
        right.setdefault(question.attribute, []).append(_words(answer) == _words(question.answer))
    every = [value for values in right.values() for value in values]
    by_attribute = {attribute: round(float(np.mean(values)), 4) for attribute, values in right.items()}
    return {"right": round(float(np.mean(every)), 4), "by_attribute": by_attribute, "examples": list(answers[:2])}


def _words(text: str) -> list[str]:
    return text.lower().replace(",", " ").replace(".", " ").split()


def _ask(captioner: Vlm, images: Sequence[Pixels], prompts: Sequence[str]) -> list[str]:
    """The reply to each prompt about its image, in batches."""
    requests = [Request(image, prompt, 0) for image, prompt in zip(images, prompts, strict=True)]
    batches = [requests[start : start + SETTINGS.batch] for start in range(0, len(requests), SETTINGS.batch)]
    return [text for batch in batches for text in captioner.caption(batch)]
