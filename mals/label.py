"""Attributes from captions by explicit matching and implicit extension, and the `label` stage.

How it decides: `grammar` reads in one pass over tagged words what a caption says about its subject (who is described, what is worn, held
or denied, and which colour belongs to what; its docstring tells the rules), and an attribute space's lexicon says which value that is:
explicit. Then `verdict` extends: what goes without saying, such as the hat of somebody of whom no hat is mentioned, the other colours of
a half of the body of which one colour is known, and blue jeans, is implicit. Everything else is unknown: -1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mals.attributes import Space, load_space
from mals.config import Config
from mals.grammar import Grammar
from mals.stage import Resources, Stage, answer
from mals.verdict import EXPLICIT, SOURCES, Judge, Trace
from mals.vocabulary import TOKEN, Vocabulary


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


def merge(values: np.ndarray, codes: np.ndarray) -> tuple[list[int], list[int]]:
    """One picture's labels from those of its k captions, [k, A] each.

    Explicit beats implicit beats unknown; where the captions of the strongest source differ, the majority decides, then the first.
    """
    merged, sources = [], []
    for said, code in zip(values.T.tolist(), codes.T.tolist(), strict=True):
        source = EXPLICIT if EXPLICIT in code else max(code)
        heard = [value for value, its in zip(said, code, strict=True) if its == source]
        merged.append(max(heard, key=heard.count))  # of equals, max takes the first
        sources.append(source)
    return merged, sources


def agreement(values: np.ndarray) -> float | None:
    """Of the attributes that two or more of the k captions [k, A] know, the share on which all of them agree; None where there is none."""
    known = values >= 0
    several = known.sum(0) >= 2
    if not several.any():
        return None
    least, most = np.where(known, values, 127).min(0), values.max(0)
    return float((least == most)[several].mean())


def agreement_with(wanted: Sequence[int] | None, values: Sequence[int]) -> float | None:
    """Of the attributes known to both, the share that is as wanted; None where there is none."""
    both = [(w, v) for w, v in zip(wanted or (), values, strict=False) if w is not None and w >= 0 and v >= 0]
    return sum(w == v for w, v in both) / len(both) if both else None


class LabelStage:
    """The attributes of each picture from all its captions."""

    name: str = "label"
    version: int = 1
    needs: tuple[str, ...] = ("caption", "captions", "wanted")
    adds = pa.schema(
        [
            ("attributes", pa.list_(pa.int8())),  # in the order of the space; -1: nobody can tell
            ("attribute_source", pa.list_(pa.string())),  # explicit, implicit or unknown
            ("agreement_captions", pa.float32()),
            ("agreement_wanted", pa.float32()),
        ]
    )
    resources = Resources()

    def __init__(self, space: str = "market1501", batch: int = 256):
        self.space, self.batch = space, batch
        self.labeller: Labeller | None = None

    def params(self) -> dict[str, Any]:
        return {"space": self.space, "space_sha256": load_space(self.space).sha256}

    def setup(self) -> None:
        self.labeller = Labeller(self.space)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.labeller is None:
            self.setup()
        assert self.labeller is not None
        texts = [
            [said["text"] or "" for said in captions or ()] or [caption or ""]
            for caption, captions in zip(batch["caption"].to_pylist(), batch["captions"].to_pylist(), strict=True)
        ]
        labels = self.labeller.label([text for row in texts for text in row])
        columns: dict[str, list[Any]] = {field.name: [] for field in self.adds}
        start = 0
        for row, wanted in zip(texts, batch["wanted"].to_pylist(), strict=True):
            mine = slice(start, start := start + len(row))
            values, sources = merge(labels.values[mine], labels.codes[mine])
            columns["attributes"].append(values)
            columns["attribute_source"].append([SOURCES[source] for source in sources])
            columns["agreement_captions"].append(agreement(labels.values[mine]))
            columns["agreement_wanted"].append(agreement_with(wanted, values))
        return answer(self.adds, columns)


def stage(config: Config) -> Stage:
    return LabelStage(config.label.space, config.label.batch)


def label_stats(tables: Iterator[pa.Table], space: str) -> dict[str, Any]:
    """Per attribute how often each value, each source, and what the plan wanted; `tables` hold attributes, attribute_source and wanted."""
    known = load_space(space)
    count = len(known.names)
    rows, asked_rows = 0, 0
    values, sources = np.zeros((count, 3), np.int64), np.zeros((count, 3), np.int64)
    asked, met = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for table in tables:
        table = table.filter(pc.is_valid(table["attributes"]))
        if not len(table):
            continue
        said = np.array(table["attributes"].to_pylist(), np.int8).reshape(-1, count)
        words = np.array(table["attribute_source"].to_pylist()).reshape(-1, count)
        rows += len(said)
        values += np.stack([(said == value).sum(0) for value in (0, 1, -1)], 1)
        sources += np.stack([(words == source).sum(0) for source in SOURCES], 1)
        if "wanted" in table.column_names:
            given = table["wanted"].is_valid().to_numpy()
            wanted = np.array([row for row in table["wanted"].to_pylist() if row is not None], np.int8).reshape(-1, count)
            both = (wanted >= 0) & (said[given] >= 0)
            asked_rows += len(wanted)
            asked += both.sum(0)
            met += (both & (wanted == said[given])).sum(0)
    attributes = [
        {
            "name": name,
            "values": dict(zip([*known.values[at], "unknown"], values[at].tolist(), strict=True)),
            "sources": dict(zip(SOURCES, sources[at].tolist(), strict=True)),
            "wanted": {"compared": int(asked[at]), "agree": float(met[at] / asked[at]) if asked[at] else None},
        }
        for at, name in enumerate(known.names)
    ]
    return {"space": known.name, "rows": rows, "rows_with_wanted": asked_rows, "attributes": attributes}
