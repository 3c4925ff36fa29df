"""Sentences as people search: short ones about some labels of a row of the data, in the words of the plan, and what they claim.

They are drawn for a step, not for a row: a loss asks of every image whether it has all that a sentence claims. So a sentence may name a
jacket where a row's labels hold long sleeves: by the labels it is true of every image with long sleeves of that colour. A sentence that
describes one image, as a caption does, is made by `composed`.

Shapes: N rows of the data, S sentences, A attributes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.random import Generator
from torch import Tensor

from mals.errors import UserError
from mals.labeller.labeller import Labeller
from mals.planning.phrases import CARRIED, CHOICES, COLORS, HAIR, HALVES, LOWER, PEOPLE, UPPER, Phrases
from pretrain.data.wordings.claims import claims_table

REST = "[with {hair}] [with {carried}] [wearing {hat}]"
TEMPLATES = {  # halves of the body that a sentence speaks of -> its forms
    ("upper_color", "lower_color"): ("{person} [with {hair}] in {clothes} [with {carried}]", "{person} wearing {clothes} [and {hat}]"),
    ("upper_color",): (f"{{person}} in {{upper}} {REST}", "{person} [with {hair}] wearing {upper}"),
    ("lower_color",): (f"{{person}} in {{lower}} {REST}", "{person} [with {hair}] wearing {lower}"),
    (): (f"{{person}} {REST}",),
}
SHARES = (0.38, 0.24, 0.26, 0.12)  # of the sentences, in the order of TEMPLATES
KINDS = {"upper_color": ("sleeve_length",), "lower_color": ("lower_length", "lower_type")}  # half -> attributes that choose the garment
GARMENT = 0.8  # probability that sleeves choose the upper garment, such as a jacket; otherwise it is a shirt or a top
PLAIN = 0.6  # probability that colours have their plain names: "blue", and not "navy blue"
BESIDE = 0.1  # probability of hair and of what is carried beside clothes; of the sex three times as much
CARRYING = ("hat", "backpack", "handbag", "bag")
STREAM = 0x5E17  # sets the random numbers of sentences apart from others


class SearchSentences:
    """Sentences about the labels [N, A] in {-1, 0, 1} of the rows of a training, in the attribute space of `labeller`.

    Raises UserError for a space without words for clothes.
    """

    def __init__(self, labeller: Labeller, labels: Tensor, count: int, seed: int) -> None:
        self.labeller, self.labels, self.count, self.seed = labeller, labels.numpy(), count, seed
        space = labeller.space
        self._phrases = [[Phrases(space, forms, plain_colors=plain) for forms in TEMPLATES.values()] for plain in (False, True)]
        known = self._phrases[0][0]
        if not known.phrased or not all(known.colors.values()):
            raise UserError(
                "aptm.loss_weights.sentences asks for colours of clothes in the form of market1501, and the attribute space "
                f"{space.name} has none; set it to 0"
            )
        self._at = known.at
        self._halves = {half: [known.at[name] for name in known.colors[half].values()] for half in HALVES}

    def __call__(self, step: int) -> tuple[list[str], np.ndarray]:
        """The sentences of a step, and their claims [S, A]: the claimed value 0 or 1, -1 for none. A function of seed, step and labels."""
        random = np.random.default_rng((self.seed, step, STREAM))
        texts = [self._sentence(row, random) for row in self.labels[random.integers(len(self.labels), size=self.count)]]
        return texts, claims_table(self.labeller, texts)

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
