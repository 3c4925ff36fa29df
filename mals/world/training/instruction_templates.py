"""Templates of captions for training a captioner that follows instructions, and others that no training sees, to measure it.

A trained template is one of the generator of mals.stages.captioning.templates whose opening is not held out, or is put together from many
more openings and clauses. In most of them other words take the place of some or all words outside of slots, so that copying is learned, not
wordings. A slot that a person may have nothing for is in an optional part, if the whole sentence does not depend on it.
"""

import re
from collections.abc import Sequence
from functools import cache

import numpy as np

from mals.stages.captioning.templates import OPENINGS, capitalized, generated, tidy
from mals.world.training.vocabulary import WORDS

OF_GENERATOR = 0.2  # of the templates
SCRAMBLED = 0.8  # of the templates that are put together: other words take the place of a share of their own, from FEWEST to all
FEWEST = 0.15
SECOND_SENTENCE = 0.3  # of the clauses
HELD_OUT_OPENINGS = OPENINGS[6:7] + OPENINGS[9:]  # of the generator
STARTS = (
    *("{person} wears {clothes}", "{person} is wearing {clothes}", "{person} in {clothes}", "{person} has on {clothes}"),
    *("{person} dressed in {clothes}", "there is {person} in {clothes}", "the photo shows {person} in {clothes}", "{person}, in {clothes}"),
    *("{person} walks in {clothes}", "{person} stands in {clothes}", "a view of {person} who is wearing {clothes}", "{clothes}, {person}"),
    *("{person} wears {upper} [and {lower}]", "{person} has {upper} [over {lower}]", "{person} in {upper} [with {lower}]"),
    *("wearing {upper} [and {lower}], {person} walks", "{person} has {hair} and wears {clothes}", "{person} with {hair} in {clothes}"),
    *("with {hair}, {person} is dressed in {clothes}", "{person} with {hair} wears {upper} [and {lower}]", "this person is {person}"),
    *("{person} stands in {shoes} and {clothes}", "wearing {clothes} and {shoes}, {person} is seen", "{person} is seen here"),
)
CLAUSES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # slot -> clauses of a sentence, and sentences
    "clothes": (
        ("[, wearing {clothes}]", "[and wears {clothes}]", "[, dressed in {clothes}]"),
        ("[The clothes are {clothes}.]", "[The person wears {clothes}.]", "[The outfit is {clothes}.]"),
    ),
    "hair": (
        ("[, with {hair}]", "[and has {hair}]", "[with {hair}]", "[, having {hair}]", "[and {hair}]"),
        ("[The person has {hair}.]", "[The head has {hair}.]", "[There is also {hair}.]", "[This person has {hair}.]"),
    ),
    "shoes": (
        ("[, with {shoes} on the feet]", "[and {shoes}]", "[, in {shoes}]", "[and walks in {shoes}]", "[with {shoes}]"),
        ("[The feet are in {shoes}.]", "[The shoes are {shoes}.]", "[On the feet are {shoes}.]", "[They wear {shoes}.]"),
    ),
    "hat": (
        ("[, with {hat} on the head]", "[and {hat}]", "[, wearing {hat}]", "[, under {hat}]"),
        ("[On the head there is {hat}.]", "[The person wears {hat}.]", "[Their head is under {hat}.]"),
    ),
    "carried": (
        ("[, carrying {carried}]", "[and carries {carried}]", "[, with {carried}]", "[, holding {carried}]", "[and has {carried}]"),
        ("[The person also carries {carried}.]", "[They carry {carried}.]", "[In the hand there is {carried}.]", "[They hold {carried}.]"),
    ),
    "accessories": (
        ("[, with {accessories}]", "[and {accessories}]"),
        ("[There is also {accessories}.]", "[The person wears {accessories} too.]"),
    ),
}
HELD_OUT = (  # of templates as real captions give them
    "This pedestrian is {person} with {hair} dressed in {clothes} [, plus {carried}].",
    "{person} looks to the side while wearing {upper} [paired with {lower}] [and carrying {carried}].",
    "You can see {person}; the outfit is {clothes} [, and {hat} covers the head].",
    "On foot is {person} who has {clothes} and {shoes} [, also {carried} at the side].",
    "{person} goes along in {shoes}, wearing {clothes} [and keeping {carried} close].",
    "Here walks {person} whose clothing is {clothes}. [They hold {carried} in one hand.]",
    "{hair} belongs to {person} dressed in {clothes} [; {hat} tops it off].",
    "{person} turns away from the camera in {upper} [above {lower}] [. Their belongings are {carried}].",
    "A photo taken outdoors of {person} in {clothes} [that goes with {hat}] [and with {carried}].",
    "{person} has {shoes} on, as well as {clothes} [. The hat is {hat}].",
    "The shot is of {person}, wearing {upper} [together with {lower}] and having {hair}.",
    "Crossing the road, {person} is clothed in {clothes} [, {carried} being carried].",
)


@cache
def trained_generated() -> tuple[str, ...]:
    """The templates of the generator that trainings see."""
    return tuple(template for template in generated() if not is_held_out(template))


def held_out_generated() -> tuple[str, ...]:
    """The templates of the generator that trainings do not see."""
    return tuple(template for template in generated() if is_held_out(template))


def is_held_out(template: str) -> bool:
    """Whether a template of the generator has an opening that trainings do not see."""
    return template.startswith(tuple(capitalized(opening) for opening in HELD_OUT_OPENINGS))


def draw_template(rng: np.random.Generator) -> str:
    """A template to train on."""
    if rng.random() < OF_GENERATOR:
        return _choose(trained_generated(), rng)
    start = _choose(STARTS, rng)
    there = set(re.findall(r"\{(\w+)\}", start))
    covered = there | ({"clothes"} if "upper" in there else set())
    slots = [slot for slot in CLAUSES if slot not in covered]
    slots = [slots[at] for at in rng.permutation(len(slots))[: int(rng.integers(1, 5))]]
    if "clothes" not in covered and "clothes" not in slots:
        slots.insert(0, "clothes")
    in_second = rng.random(len(slots)) < SECOND_SENTENCE
    first = [_choose(CLAUSES[slot][0], rng) for slot, later in zip(slots, in_second, strict=True) if not later]
    second = [_choose(CLAUSES[slot][1], rng) for slot, later in zip(slots, in_second, strict=True) if later]
    sentences = " ".join([start, *first]) + ". " + " ".join(second)
    return capitalized(tidy(_scrambled(sentences, rng) if rng.random() < SCRAMBLED else sentences))


def _scrambled(template: str, rng: np.random.Generator) -> str:
    """The template with other words in place of some between its slots: a share that is drawn too."""
    words, share = WORDS.split(), rng.uniform(FEWEST, 1.0)

    def other(word: re.Match[str]) -> str:
        return words[int(rng.integers(len(words)))].replace("'", "") if rng.random() < share else word[0]

    return re.sub(r"(?<![{\w'-])[a-z]+(?![}\w'-])", other, template)


def _choose(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
