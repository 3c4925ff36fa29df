"""Attributes from captions by explicit matching and implicit extension.

How it decides: `grammar` reads in one pass over tagged words what a caption says about its subject (who is described, what is worn, held
or denied, and which colour belongs to what; its docstring tells the rules), and an attribute space's lexicon says which value that is:
explicit. Then `verdict` extends: what goes without saying, such as the hat of somebody of whom no hat is mentioned, the other colours of
a half of the body of which one colour is known, and blue jeans, is implicit. Everything else is unknown: -1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mals.attributes import Space, load_space
from mals.labeller.decision import SOURCES, Judge, Trace
from mals.labeller.grammar import Grammar
from mals.labeller.tags import TOKEN, Vocabulary


class Labeller:
    """Labels captions in one attribute space; building it takes some milliseconds."""

    def __init__(self, space: str | Path = "market1501"):
        self.space: Space = load_space(space)
        self.vocabulary = Vocabulary(self.space)
        self.grammar = Grammar(self.vocabulary)
        self.judge = Judge(self.vocabulary, self.grammar.nouns)

    def label(self, captions: Sequence[str]) -> "Labels":
        """The attributes of each caption's subject."""
        split, read, decide = self.vocabulary.split, self.grammar.read, self.judge.decide
        values, sources = bytearray(), bytearray()
        for caption in captions:
            words = split(caption)
            found, source = decide(read(words), words)
            values += bytes(found)
            sources += bytes(source)
        shape = (len(captions), len(self.space.names))
        codes = np.frombuffer(values, np.uint8).reshape(shape).astype(np.int8) - 1
        return Labels(self, captions, codes, np.frombuffer(sources, np.uint8).reshape(shape))

    def evidence(self, caption: str) -> list[list[tuple[int, int]]]:
        """For each attribute the spans of `caption` that decided its value."""
        words, spans = self.words(caption)
        trace: Trace = {}
        self.judge.decide(self.grammar.read(words), words, trace)
        return [sorted({spans[at] for at in trace.get(attribute, ())}) for attribute in range(len(self.space.names))]

    def words(self, caption: str) -> tuple[list[str], list[tuple[int, int]]]:
        """The caption's words, phrases joined, and their spans."""
        found = list(TOKEN.finditer(caption))
        spans = [match.span() for match in found]
        return self.vocabulary.join([match[0].lower().replace("’", "'") for match in found], spans), spans


@dataclass(frozen=True)
class Labels:
    """Labels of N captions in A attributes."""

    labeller: Labeller
    captions: Sequence[str]
    values: np.ndarray  # [N, A] int8: the number of the value, -1 where nobody can tell
    codes: np.ndarray  # [N, A] uint8: indices into SOURCES

    @cached_property
    def sources(self) -> np.ndarray:
        """[N, A] of "explicit", "implicit" and "unknown"."""
        return np.array(SOURCES)[self.codes]

    @property
    def evidence(self) -> "Evidence":
        """For each caption and attribute the spans (start, end) of the words that decided; worked out when it is looked at."""
        return Evidence(self.labeller, self.captions)


class Evidence(Sequence[list[list[tuple[int, int]]]]):
    """Spans by caption and attribute."""

    def __init__(self, labeller: Labeller, captions: Sequence[str]):
        self.labeller, self.captions = labeller, captions

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self.labeller.evidence(caption) for caption in self.captions[at]]
        return self.labeller.evidence(self.captions[at])
