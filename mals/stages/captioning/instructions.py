"""What a captioner is asked about an image: one wording, or one that is drawn for each image and each try."""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from mals.config import Captioner, Instruction
from mals.errors import ModelMissing, UserError
from mals.grid.stage import row_seed
from mals.planning import caption_files
from mals.stages.captioning.model import Request
from mals.stages.captioning.structured import check_schema
from mals.stages.captioning.templates import load_templates, shape

EXAMPLES = 100_000  # captions of a file of style examples that are read
FACTS = "gender and age group, hair, clothes with their colours, shoes, headwear, and what is carried"
LIMITS = "Name only what the image shows, and guess nothing. Answer with the description alone."
TEXTS = {  # of the backends vlm and openai, by kind
    "static": f"Describe the person in this image in one or two sentences: {FACTS}. {LIMITS}",
    "template": f"Describe the person in this image: {FACTS}. Give your description the shape of the following sentence, with what you see "
    f"in place of each pair of brackets, and leave out a part that the image does not show: {{template}} {LIMITS}",
    "style": f"Describe the person in this image: {FACTS}. Write in the style of the following description of another person, and use none "
    f"of its facts: {{example}} {LIMITS}",
    "questions": "These statements are about the person in this image:\n{answers}\nDescribe the person by them in one or two sentences, "
    f"and leave out what is uncertain. {LIMITS}",
}
REWRITES = {  # of the backend rewrite: what is asked about the statements that a caption was taken apart into
    "static": "Join these statements about one person into a description of one or two sentences. Keep every fact and add none. Answer "
    "with the description alone.",
    "template": "Join these statements about one person into a description of the shape of the following sentence, with what they "
    "say in place of each pair of brackets; leave out a part of which the statements say nothing: {template} Answer with the description "
    "alone.",
    "style": "Join these statements about one person into a description in the style of the following one of another person, and use "
    "none of its facts: {example} Answer with the description alone.",
}
QUESTIONS = (
    "What are the gender and the age group of the person?",
    "What hair does the person have?",
    "What does the person wear on the upper body, and in which colours?",
    "What does the person wear on the lower body, and in which colours?",
    "What does the person wear on the feet and on the head?",
    "What does the person carry?",
)
SIGHTLESS = ("rewrite", "template")  # backends that start from a caption and see no image
Ask = Callable[[Sequence[Request]], list[str]]  # the raw texts of a captioner


class Wording:
    """The requests of one instruction to one captioner; reads the file of its templates or examples.

    Raises ModelMissing where there is no such file, and UserError for a bad one.
    """

    def __init__(self, instruction: Instruction, captioner: Captioner):
        self.kind = instruction.kind
        defaults = REWRITES if captioner.backend == "rewrite" else TEXTS
        prefix_or_none = captioner.backend in ("blip", "template")
        self.text = instruction.text if instruction.text or prefix_or_none else defaults[self.kind]
        self.questions = tuple(instruction.questions or QUESTIONS) if self.kind == "questions" else ()
        self.choices: tuple[str, ...] = ()  # templates or examples
        if self.kind == "template":
            self.choices = tuple(load_templates(instruction.templates))
        elif self.kind == "style":
            self.choices = tuple(_examples(str(instruction.examples)))

    def params(self) -> dict[str, Any]:
        """What captions depend on: texts, and a hash of what is drawn from."""
        digest = hashlib.sha256("\n".join(self.choices).encode()).hexdigest() if self.choices else None
        return {"kind": self.kind, "text": self.text, "questions": list(self.questions), "choices_sha256": digest}

    def draw(self, seed: int, tried: Collection[int]) -> int:
        """The number of a template or example that is not among `tried`; -1 where there is none to draw."""
        remaining = len(self.choices) - len(tried)
        if remaining < 1:
            return -1
        at = seed % remaining
        for number in sorted(tried):
            at += at >= number
        return at

    def prompt(self, choice: str) -> str:
        """What is asked with this template or example."""
        if self.kind == "template":
            return self.text.replace("{template}", f'"{shape(choice)}"')
        return self.text.replace("{example}", f'"{choice}"') if self.kind == "style" else self.text

    def answer(self, ask: Ask, requests: Sequence[Request]) -> tuple[list[Request], list[str]]:
        """The raw texts, and the requests with the prompts that they answer; the kind `questions` asks each question before."""
        if self.questions:
            replies = [
                ask([replace(one, prompt=text, seed=row_seed(one.seed, "", f"question/{number}"), is_question=True) for one in requests])
                for number, text in enumerate(self.questions)
            ]
            lines = ["\n".join(" ".join(text.split()) for text in of_one if text.strip()) for of_one in zip(*replies, strict=True)]
            requests = [replace(one, prompt=one.prompt.replace("{answers}", line)) for one, line in zip(requests, lines, strict=True)]
        return list(requests), ask(requests)


def instructions(captioner: Captioner) -> list[Instruction]:
    """The instructions of a captioner, each as often as it writes captions; `prompt` is short for one."""
    own = captioner.instructions or [Instruction(kind="static", text=captioner.prompt)]
    return [instruction for instruction in own for _ in range(instruction.count)]


def check_captioners(captioners: Sequence[Captioner]) -> None:
    """Raise UserError for a captioner that cannot do what its settings ask of it; reads no file."""
    for number, captioner in enumerate(captioners):
        name = f"the captioner {captioner.model or number}"
        kinds = [instruction.kind for instruction in captioner.instructions]
        if captioner.backend == "openai":
            check_served(captioner, name)
        elif captioner.sample and captioner.beams > 1:
            raise UserError(f"{name} is set to sample and to use {captioner.beams} beams; choose one")
        if captioner.prompt and captioner.instructions:
            raise UserError(f"{name} has a prompt and instructions; write the prompt as one of the instructions, {{text: ...}}")
        if captioner.backend in ("vlm", "openai") and not captioner.prompt and not kinds:
            raise UserError(
                f"{name} has the backend {captioner.backend} and nothing to answer; set its prompt to a question, or its instructions"
            )
        if captioner.backend == "blip" and (others := [kind for kind in kinds if kind != "static"]):
            raise UserError(
                f"{name} is a BLIP, which follows no instruction of the kind {others[0]}: a static text is what its captions begin with; "
                "set its backend to vlm, or give this instruction to a captioner of the backend template, the stand-in"
            )
        if captioner.backend in SIGHTLESS:
            if "questions" in kinds:
                raise UserError(f"{name} of the backend {captioner.backend} sees no image, so it answers no questions; choose another kind")
            if captioner.source >= number:
                raise UserError(
                    f"{name} of the backend {captioner.backend} starts from the caption of captioner {captioner.source}, which is no "
                    "earlier one; put a captioner that looks at images before it, and set its source to that one's number"
                )


def check_served(captioner: Captioner, name: str) -> None:
    """Raise UserError for what a server cannot do."""
    if "beams" in captioner.model_fields_set and captioner.beams > 1:
        raise UserError(f"{name} is asked through a server, whose protocol has no beam search; set its beams to 1 or leave them out")
    if captioner.json_schema is not None:
        check_schema(captioner.json_schema, captioner.json_field, name)


def _examples(name: str) -> list[str]:
    """The captions of a file, each once, on one line; ModelMissing where there is no such file."""
    file = Path(name)
    if not file.exists():
        raise ModelMissing(f"there is no file of style examples {name} here, in {Path.cwd()}; set the examples of the instruction to one")
    captions = (caption for table in caption_files.read(file, images=False) for caption in table["caption"].to_pylist())
    return list(dict.fromkeys(" ".join(caption.split()) for caption in islice(captions, EXAMPLES)))
