"""What a row's caption is in a training with other wordings: a function of the caption, the row's labels and its random numbers."""

from collections.abc import Iterator, Sequence

from numpy.random import Generator

from mals.attributes import load_space
from mals.labeller.labeller import Labeller
from pretrain.config import WordingShares
from pretrain.data.wordings.composed import LabelSentences
from pretrain.data.wordings.exchange import COLORS, GARMENTS, PRONOUNS, SEXES, exchanged
from pretrain.data.wordings.recast import recast

DEFAULT_SPACE = "market1501"  # of methods that know no attributes


class Wordings:
    """Other wordings in one attribute space; it can be sent to a worker, and builds its labeller there."""

    def __init__(self, shares: WordingShares, space: str = DEFAULT_SPACE) -> None:
        self.shares, self.space = shares, space
        self._labeller: Labeller | None = None
        self._sentences: LabelSentences | None = None

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_labeller": None, "_sentences": None}

    def reword(self, caption: str, labels: Sequence[int] | None, random: Generator) -> str:
        """A sentence made from the labels [A], the caption recast, or the caption, by the shares."""
        drawn = random.random()
        if labels is not None and drawn < self.shares.composed:
            return self.sentences.sentence(labels, random) or caption
        if self.shares.composed <= drawn < self.shares.composed + self.shares.recast:
            return recast(caption, random, self.labeller)
        return caption

    def exchange(self, caption: str, random: Generator) -> str | None:
        """The caption with one attribute word exchanged, for a share of the rows; None for the others."""
        return exchanged(caption, random, self.labeller) if random.random() < self.shares.exchanged else None

    def texts(self) -> Iterator[str]:
        """Texts with the words that captions need not have, each twice: some vocabularies leave out what stands once."""
        for _ in range(2):
            if self.shares.composed:
                yield from self.sentences.words()
            if self.shares.exchanged:
                yield from (*COLORS, *SEXES, *PRONOUNS, *(option for _, options in GARMENTS for option in options))

    @property
    def labeller(self) -> Labeller:
        """Of the attribute space."""
        if self._labeller is None:
            self._labeller = Labeller(self.space)
        return self._labeller

    @property
    def sentences(self) -> LabelSentences:
        """Made from labels of the space."""
        if self._sentences is None:
            self._sentences = LabelSentences(load_space(self.space))
        return self._sentences
