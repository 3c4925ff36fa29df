"""Templates of captions: sentences with {slots}, [left out] where a slot in brackets has nothing to hold.

A template is shown to a captioner as the shape of its sentence, with "[hair description]" where the slot is, or filled with phrases by the
stand-in. `generated` makes them from an opening, an order of the other slots, and one or two sentences, as the published lists of
LUPerson-MLLM (CVPR 2024) and SynTBPR (2025) vary; the sentences are our own.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import permutations
from pathlib import Path

from mals.errors import ModelMissing, UserError
from mals.planning.phrases import Template
from mals.planning.text_files import open_text

SLOTS = {  # slot -> what a captioner reads in its place
    "person": "person",
    "clothes": "clothing description",
    "upper": "upper clothing description",
    "lower": "lower clothing description",
    "hair": "hair description",
    "shoes": "footwear description",
    "hat": "headwear description",
    "accessories": "accessory description",
    "carried": "belongings description",
}
OPENINGS = (
    "{person} wears {clothes}",
    "{person} is dressed in {clothes}",
    "{person} in {clothes} is visible",
    "{person} can be seen in {clothes}",
    "Dressed in {clothes} is {person}",
    "Wearing {clothes}, {person} is in view",
    "In {clothes}, {person} is shown",
    "This is {person} wearing {clothes}",
    "The camera shows {person} who wears {clothes}",
    "Clothed in {clothes}, {person} appears alone",
)
CLAUSES = {  # slots after the opening -> their clause in the same sentence, and a second sentence
    ("hair",): ("[, with {hair}]", "[The person has {hair}.]"),
    ("shoes",): ("[, with {shoes} on the feet]", "[The feet are in {shoes}.]"),
    ("carried",): ("[, carrying {carried}]", "[The person also carries {carried}.]"),
    ("hat", "accessories"): (
        "[, with {hat} on the head] [, with {accessories}]",
        "[On the head there is {hat}.] [There is also {accessories}.]",
    ),
}


def read_template(text: str) -> Template:
    """A template of a caption; UserError for a slot that there is not, and for brackets that do not match."""
    return Template(text, SLOTS)


@cache
def generated() -> tuple[str, ...]:
    """All templates of the generator: 10 openings x 24 orders of the other slots x one or two sentences."""
    texts = []
    for opening in OPENINGS:
        for order in permutations(CLAUSES):
            first = [CLAUSES[slots][0] for slots in order]
            for together in (first, first[:-1]):
                second = [] if together is first else [CLAUSES[order[-1]][1]]
                sentence = " ".join([opening, *together]) + "."
                texts.append(" ".join([sentence[0].upper() + sentence[1:], *second]))
    return tuple(texts)


def load_templates(name: str) -> list[str]:
    """The templates of the generator for "generated", or else those of a file, one a line.

    Raises ModelMissing where there is no such file, and UserError where one of its templates is wrong.
    """
    if name == "generated":
        return list(generated())
    file = Path(name)
    if file.is_dir():
        raise UserError(f"the templates {name} are a folder, not a file with a template in each line")
    if not file.is_file():
        raise ModelMissing(f"there is no file of templates {name} here, in {Path.cwd()}; `mals templates --to {name}` writes one")
    with open_text(file) as stream:
        lines = [line.strip() for line in stream]
    texts = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not texts:
        raise UserError(f"{name} holds no template; write one a line, such as: {generated()[0]}")
    for text in texts:
        try:
            template = read_template(text)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        if not template.fields:
            raise UserError(f"{name}: the template {text!r} has no slot; there are {', '.join(SLOTS)}")
    return texts


def shape(text: str) -> str:
    """A template as a captioner reads it: every part is there, and each slot is a name in brackets."""
    words = {slot: f"[{name}]" for slot, name in SLOTS.items()}
    parts = [part.format_map(words) for part, _, _ in read_template(text).parts]
    return tidy(" ".join(parts))


def fill(text: str, phrases: Mapping[str, str]) -> str:
    """The sentence with these phrases; a slot without one keeps its {name}, unless its part is left out."""
    template = read_template(text)
    needed = {slot for _, is_optional, slots in template.parts if not is_optional for slot in slots}
    words = {slot: phrases.get(slot) or (f"{{{slot}}}" if slot in needed else "") for slot in SLOTS}
    return capitalized(tidy(template.fill(words)))


def tidy(text: str) -> str:
    """One space between words, none before a comma or a stop."""
    return re.sub(r"\s+([,.;])", r"\1", " ".join(text.split()))


def capitalized(text: str) -> str:
    """The text with a capital at the start of each sentence."""
    return re.sub(r"(^|\.\s+)([a-z])", lambda match: match[1] + match[2].upper(), text)


def slot_words() -> Iterable[str]:
    """What a captioner may copy out of a template instead of filling it."""
    return (name for name in SLOTS.values() if " " in name)
