"""Attribute labels from captions, by explicit matching and implicit extension (the two mechanisms of the MALS paper).

`grammar` reads in one pass over tagged words what a caption says about its subject: who is described, what is worn, held or negated, and
which colour belongs to what. The words of the attribute space say which values that means; these are explicit. `decision` then adds the
implicit values: no hat where none is mentioned, the other colours of a half of the body of which one colour is known, and blue jeans.
Everything else is unknown, -1. docs/how/caption.md follows one caption through all steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from struct import Struct
from typing import overload

import numpy as np

from mals.attributes import Space, load_space
from mals.labeller import decision
from mals.labeller.decision import SOURCES, Decider
from mals.labeller.grammar import Grammar
from mals.labeller.vocabulary import Vocabulary

AttributeSpans = list[list[tuple[int, int]]]  # for each attribute of one caption the places (start, end) of words


class Labeller:
    """Labels captions in one attribute space.

    Building one takes some milliseconds; `label` does 10,000 to 20,000 captions a second on one CPU core and needs no model. The same
    captions always get the same labels.

    Args:
        space: "market1501", "pa100k", or the path of a YAML file, as for `load_space`.

    Raises:
        UserError: there is no such space, or its file has a mistake.

    Examples:
        >>> from mals import Labeller
        >>> labeller = Labeller("market1501")
        >>> labels = labeller.label(["a woman in a red coat", "a man without a hat"])
        >>> labels.values.shape
        (2, 27)
        >>> hat = labeller.space.names.index("hat")
        >>> labels.values[:, hat].tolist(), labels.sources[:, hat].tolist()
        ([1, 1], ['implicit', 'explicit'])
        >>> labeller.space.values[hat]
        ('yes', 'no')
    """

    def __init__(self, space: str | Path = "market1501"):
        self.space: Space = load_space(space)
        self.vocabulary = Vocabulary(self.space)
        self.grammar = Grammar(self.vocabulary)
        self.decider = Decider(self.vocabulary, self.grammar.analyser)

    def label(self, captions: Sequence[str]) -> "Labels":
        """Label the subject of each caption: the first person that it mentions.

        Any text is accepted; what is not English leaves the attributes unknown, or at their values for "not mentioned".
        """
        split, read, decide = self.vocabulary.split, self.grammar.read, self.decider.decide
        values, sources = bytearray(), bytearray()
        pack = Struct(f"{len(self.space.names)}b").pack  # faster than array.extend
        for caption in captions:
            words = split(caption)
            caption_values, caption_sources = decide(read(words), words)
            values += pack(*caption_values)
            sources += bytes(caption_sources)
        shape = (len(captions), len(self.space.names))
        numbers = np.frombuffer(values, np.int8).reshape(shape)
        return Labels(self, captions, numbers, np.frombuffer(sources, np.uint8).reshape(shape))

    def evidence(self, caption: str) -> AttributeSpans:
        """For each attribute the spans (start, end) of the words in `caption` that decided its value; empty if none did."""
        words, spans = self.vocabulary.split_with_spans(caption)
        evidence: decision.Evidence = {}
        self.decider.decide(self.grammar.read(words), words, evidence)
        return [sorted({spans[at] for at in evidence.get(attribute, ())}) for attribute in range(len(self.space.names))]


@dataclass(frozen=True)
class Labels:
    """The labels of N captions in a space with A attributes.

    Examples:
        >>> from mals import Labeller
        >>> caption = "a man in a red shirt"
        >>> labels = Labeller().label([caption])
        >>> red = labels.labeller.space.names.index("upper_red")
        >>> int(labels.values[0, red]), str(labels.sources[0, red])
        (0, 'explicit')
        >>> [caption[start:end] for start, end in labels.evidence[0][red]]
        ['red']
    """

    labeller: Labeller
    captions: Sequence[str]
    values: np.ndarray  # [N, A] int8: the number of the value in Space.values; -1 if it is unknown
    source_codes: np.ndarray  # [N, A] uint8: indices into SOURCES

    @cached_property
    def sources(self) -> np.ndarray:
        """[N, A] strings: "explicit" if words of the caption express the value, "implicit" if it follows from them or from their absence,
        "unknown" where the value is -1."""
        return np.array(SOURCES)[self.source_codes]

    @property
    def evidence(self) -> "CaptionEvidence":
        """For each caption and attribute the spans (start, end) of the words that decided; computed when an item is looked up."""
        return CaptionEvidence(self.labeller, self.captions)


class CaptionEvidence(Sequence[AttributeSpans]):
    """The evidence of N captions: item i is `Labeller.evidence` of caption i."""

    def __init__(self, labeller: Labeller, captions: Sequence[str]):
        self.labeller, self.captions = labeller, captions

    def __len__(self) -> int:
        return len(self.captions)

    @overload
    def __getitem__(self, at: int) -> AttributeSpans: ...
    @overload
    def __getitem__(self, at: slice) -> list[AttributeSpans]: ...
    def __getitem__(self, at: int | slice) -> AttributeSpans | list[AttributeSpans]:
        if isinstance(at, slice):
            return [self.labeller.evidence(caption) for caption in self.captions[at]]
        return self.labeller.evidence(self.captions[at])
