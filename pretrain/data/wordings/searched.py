"""Sentences as people search: short ones about some labels of a row, in the words of the plan, and what they claim.

A loss asks of every image whether it has all that a sentence claims, see `searched_claims`. A sentence that describes one image, as a
caption does, is made by `composed`.

Shapes: B rows, S sentences, A attributes.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.random import Generator

from mals.attributes import load_space
from mals.errors import UserError
from mals.labeller.labeller import Labeller
from mals.planning.phrases import CARRIED, CHOICES, COLORS, HAIR, HALVES, LOWER, PEOPLE, UPPER, Phrases
from pretrain.data.wordings.claims import KINDS, searched_claims

REST = "[with {hair}] [with {carried}] [wearing {hat}]"
TEMPLATES = {  # halves of the body that a sentence speaks of -> its forms
    ("upper_color", "lower_color"): ("{person} [with {hair}] in {clothes} [with {carried}]", "{person} wearing {clothes} [and {hat}]"),
    ("upper_color",): (f"{{person}} in {{upper}} {REST}", "{person} [with {hair}] wearing {upper}"),
    ("lower_color",): (f"{{person}} in {{lower}} {REST}", "{person} [with {hair}] wearing {lower}"),
    (): (f"{{person}} {REST}",),
}
SHARES = (0.38, 0.24, 0.26, 0.12)  # of the sentences, in the order of TEMPLATES
GARMENT = 0.8  # probability that sleeves choose the upper garment, such as a jacket; otherwise it is a shirt or a top
PLAIN = 0.6  # probability that colours have their plain names: "blue", and not "navy blue"
BESIDE = 0.1  # probability of hair and of what is carried beside clothes; of the sex three times as much
CARRYING = ("hat", "backpack", "handbag", "bag")


class SearchSentences:
    """Sentences about rows, in one attribute space; it can be sent to a worker, and builds its labeller there.

    Raises UserError for a space without words for clothes.
    """

    def __init__(self, space: str, per_row: int) -> None:
        self.space, self.per_row = space, per_row
        known = Phrases(load_space(space))
        if not known.phrased or not all(known.colors.values()):
            raise UserError(
                "the loss sentences asks for colours of clothes in the form of market1501, and the attribute space "
                f"{load_space(space).name} has none; set its weight to 0"
            )
        self._at = known.at
        self._halves = {half: [known.at[name] for name in known.colors[half].values()] for half in HALVES}

    @cached_property
    def _labeller(self) -> Labeller:
        return Labeller(self.space)

    @cached_property
    def _phrases(self) -> list[list[Phrases]]:
        space = load_space(self.space)
        return [[Phrases(space, forms, plain_colors=plain) for forms in TEMPLATES.values()] for plain in (False, True)]

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name not in ("_labeller", "_phrases")}

    def __call__(self, labels: np.ndarray, random: Sequence[Generator]) -> tuple[list[str], np.ndarray]:
        """The sentences of rows with labels [B, A] in {-1, 0, 1}, `per_row` each, S in all, with a generator for each row.

        Beside them what they claim, [S, A]: the claimed value 0 or 1, -1 for none, and for what a garment is called.
        """
        texts = [self._sentence(row, draws) for row, draws in zip(labels, random, strict=True) for _ in range(self.per_row)]
        return texts, searched_claims(self._labeller, texts)

    def _sentence(self, labels: np.ndarray, random: Generator) -> str:
        kind = int(random.choice(len(SHARES), p=SHARES))
        halves = list(TEMPLATES)[kind]
        chosen = [at for half in halves for at in self._halves[half]]
        for half in halves:
            if half == "lower_color" or random.random() < GARMENT:  # without a kind of lower clothes the plan takes trousers
                chosen += self._places(KINDS[half])
        for names, probability in ((("gender",), 3 * BESIDE), (CARRYING, BESIDE), (("hair_length",), BESIDE)):
            if not halves or random.random() < probability:
                chosen += self._places(names)
        requested = np.full_like(labels, -1)
        requested[chosen] = labels[chosen]
        phrases = self._phrases[int(random.random() < PLAIN)][kind]
        return phrases.captions(requested[None], random.integers(1 << 30, size=(1, CHOICES)))[0]

    def _places(self, names: Sequence[str]) -> list[int]:
        """The attributes of these names, as far as the space has them."""
        return [self._at[name] for name in names if name in self._at]


def words() -> Iterator[str]:
    """Texts with the words that sentences can have, for a vocabulary that is trained: each twice, since some leave out what stands once."""
    options: list[str] = ["a an person with in wearing and , male female", "dress jeans long short sleeves"]
    for table in (CARRIED, COLORS, HAIR, LOWER, PEOPLE, UPPER):
        options += [word.replace("{}", " ") for group in table.values() for word in group]
    yield from (*options, *options)
