"""Labels from captions: a first rule set, by explicit matching of the space's words and implicit extension.

A caption is read once from left to right. Everything before the first word for another person, and outside phrases that begin with a
place, is about the subject. Colours wait for the next garment; a denial reaches to the next noun.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from mals.attributes import Space, load_space
from mals.config import Config
from mals.stage import Resources, Stage, answer

COLORS = {"grey": "gray", "navy": "blue", "denim": "blue", "maroon": "red", "burgundy": "red", "crimson": "red", "violet": "purple"}
COLORS |= {"lavender": "purple", "gold": "yellow", "mustard": "yellow", "silver": "gray", "charcoal": "gray", "cream": "white"}
COLORS |= {"ivory": "white", "olive": "green", "lime": "green", "mint": "green", "tan": "brown", "beige": "brown", "khaki": "brown"}
COLORS |= {"camel": "brown"} | {
    c: c
    for c in [
        "black",
        "white",
        "red",
        "purple",
        "yellow",
        "blue",
        "green",
        "gray",
        "pink",
        "brown",
        "orange",
        "teal",
        "peach",
        "coral",
        "turquoise",
    ]
}
QUALIFIERS = {"dark", "light", "bright", "royal", "sky", "pale", "deep", "striped", "plaid", "and", "patterned", "floral", "leather"}
QUALIFIERS |= {"cotton", "wool", "long", "short", "sleeve", "sleeved", "sleeves", "denim", "off", "loose", "tight", "fitted", "casual", ","}
NEUTRAL = {
    "upper": ["shirt", "top", "blouse", "vest", "waistcoat", "uniform", "jersey", "turtleneck", "tunic", "button", "down", "apron"],
    "lower": ["skirt"],
}
NEUTRAL["whole"] = ["dress", "jumpsuit", "outfit", "robe"]
DENIALS = {"no", "without", "not", "isn", "hatless"}
AWAY = {"behind", "background", "front", "wall", "street", "car", "near", "beside", "against"}
WORD = re.compile(r"[a-z]+|[,.;]")
EXPLICIT, IMPLICIT, UNKNOWN = "explicit", "implicit", "unknown"


@dataclass
class Labels:
    """values [N, A] int8 in {-1, 0, 1}; sources [N, A]: explicit, implicit or unknown; evidence: (attribute, begin, end) in characters."""

    values: np.ndarray
    sources: list[list[str]]
    evidence: list[list[tuple[str, int, int]]]


class Labeller:
    """Reads captions by one attribute space."""

    def __init__(self, space: str = "market1501"):
        self.space = load_space(space)
        self.lexicon, self.longest = _lexicon(self.space)

    def label(self, captions: list[str]) -> Labels:
        read = [self._read(caption or "") for caption in captions]
        values = np.array([[row[0].get(name, -1) for name in self.space.names] for row in read], np.int8).reshape(len(read), -1)
        sources = [[row[1].get(name, UNKNOWN) for name in self.space.names] for row in read]
        return Labels(values, sources, [row[2] for row in read])

    def _read(self, caption: str) -> tuple[dict[str, int], dict[str, str], list[tuple[str, int, int]]]:
        text = caption.lower()
        words = [(m.group(), m.start(), m.end()) for m in WORD.finditer(text)]
        state = _State(self.space)
        at = 0
        while at < len(words):
            at += self._step(words, at, state)
        state.finish()
        return state.values, state.sources, state.evidence

    def _step(self, words: list[tuple[str, int, int]], at: int, state: "_State") -> int:
        for size in range(min(self.longest, len(words) - at), 0, -1):
            key = tuple(_single(word) if size == 1 or i == size - 1 else word for i, (word, _, _) in enumerate(words[at : at + size]))
            exact = tuple(word for word, _, _ in words[at : at + size])
            found = self.lexicon.get(exact) or self.lexicon.get(key)
            if found:
                state.meet(found, " ".join(exact), words[at][1], words[at + size - 1][2])
                return size
        state.word(*words[at])
        return 1


class _State:
    """What is known of the subject so far."""

    def __init__(self, space: Space):
        self.space = space
        self.values: dict[str, int] = {}
        self.sources: dict[str, str] = {}
        self.evidence: list[tuple[str, int, int]] = []
        self.colors: list[tuple[str, int, int]] = []
        self.known = {"upper": False, "lower": False}
        self.denied = self.away = False
        self.subject: str | None = None

    def word(self, word: str, begin: int, end: int) -> None:
        if word in COLORS:
            self.colors.append((COLORS[word], begin, end))
        elif word in DENIALS:
            self.denied = True
        elif word in (".", ";"):
            self.away = self.denied = False
            self.colors = []
        elif word in AWAY:
            self.away, self.colors = True, []
        elif word in ("wearing", "wears", "dressed", "holding", "carrying"):
            self.away = False
            self.colors = []
        elif word not in QUALIFIERS:
            self.colors = []

    def meet(self, found: list[tuple[str, str, str]], said: str, begin: int, end: int) -> None:
        roles = {role for role, _, _ in found}
        if "person" in roles and self.subject is not None and said != self.subject:
            self.away = True
        if "person" in roles and self.subject is None:
            self.subject = said
        if self.away:
            self.colors = []
            return
        for role, name, value in found:
            if not name:
                continue
            if role == "pronoun" and name in self.values:
                continue
            number = self.space.classes[name].index(value)
            if self.denied:
                if name not in self.space.silent:
                    continue
                number = self.space.classes[name].index(self.space.silent[name])
            if name not in self.values or self.sources[name] == IMPLICIT or (name == "sleeve_length" and value == "long"):
                self.values[name], self.sources[name] = number, EXPLICIT
                self.evidence.append((name, begin, end))
        halves = [half for half, names in (("upper", {"upper", "whole"}), ("lower", {"lower", "whole"})) if roles & names]
        for half in halves:
            colors = self.colors or ([(self.space.default_colors[said], begin, end)] if said in self.space.default_colors else [])
            for color, first, last in colors:
                self._color(half, color, first, last)
        if roles & {"upper", "lower", "whole", "thing"}:
            self.denied = False
            if roles & {"thing"} or not halves:
                self.colors = []
        self.pending = halves

    def _color(self, half: str, color: str, begin: int, end: int) -> None:
        self.known[half] = True
        for group in self.space.groups.values():
            if group.half == half and color in group.colors:
                name = group.colors[color]
                self.values[name], self.sources[name] = 0, EXPLICIT
                self.evidence.append((name, begin, end))

    def finish(self) -> None:
        for group in self.space.groups.values():
            if self.known[group.half]:
                for name in group.colors.values():
                    self._silent(name, 1)
        for name, value in self.space.silent.items():
            self._silent(name, self.space.classes[name].index(value))

    def _silent(self, name: str, number: int) -> None:
        if name not in self.values:
            self.values[name], self.sources[name] = number, IMPLICIT


@lru_cache(50_000)
def _single(word: str) -> str:
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "ers", "ants", "ans", "orts", "acks")):
        return word[:-1]
    return word


def _lexicon(space: Space) -> tuple[dict[tuple[str, ...], list[tuple[str, str, str]]], int]:
    """Words -> (role, attribute, value), and the most words of a phrase."""
    found: dict[tuple[str, ...], list[tuple[str, str, str]]] = {}
    for said in space.says:
        name, value = space.names[said.attribute], space.values[said.attribute][said.value]
        words = (*said.quality.split(), *said.words.split())
        if said.role == "sleeves":
            found.setdefault((*words, "sleeved"), []).append((said.role, name, value))
            words = (*words, "sleeve")
        if said.role == "hair" and words[-1] != "hair":
            words = (*words, "hair")
        found.setdefault(words, []).append((said.role, name, value))
    for half, nouns in NEUTRAL.items():
        for noun in nouns:
            if not any(role in ("upper", "lower", "whole") for role, _, _ in found.get((noun,), [])):
                found.setdefault((noun,), []).append((half, "", ""))
    return found, max(map(len, found), default=1)


ADDS = pa.schema(
    [
        ("attributes", pa.list_(pa.int8())),
        ("attribute_source", pa.list_(pa.string())),
        ("agreement_captions", pa.float32()),
        ("agreement_wanted", pa.float32()),
    ]
)


def stage(config: Config) -> Stage:
    return Label(config.label.space, config.label.batch)


class Label:
    """The label stage."""

    name = "label"
    version = 1
    needs: tuple[str, ...] = ("caption", "captions", "wanted")
    adds = ADDS
    resources = Resources(cpus=1)

    def __init__(self, space: str, batch: int):
        self.space, self.batch = space, batch

    def params(self) -> dict[str, Any]:
        space = load_space(self.space)
        return {"space": space.name, "space_sha256": space.sha256}

    def setup(self) -> None:
        self.labeller = Labeller(self.space)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows: dict[str, list[Any]] = {name: [] for name in ADDS.names}
        for row in batch.to_pylist():
            texts = [said["text"] for said in row["captions"] or []] or [row["caption"] or ""]
            labels = self.labeller.label(texts)
            values, sources, agreement = merge(labels)
            rows["attributes"].append(values)
            rows["attribute_source"].append(sources)
            rows["agreement_captions"].append(agreement)
            rows["agreement_wanted"].append(_share(values, row["wanted"]))
        return answer(ADDS, rows)


def merge(labels: Labels) -> tuple[list[int], list[str], float | None]:
    """Values and sources of several captions of one picture; explicit beats implicit beats unknown, then the majority, then the first."""
    values, sources, agreed, compared = [], [], 0, 0
    for column in range(labels.values.shape[1]):
        votes = [(int(labels.values[row, column]), labels.sources[row][column]) for row in range(len(labels.values))]
        known = [vote for vote in votes if vote[1] != UNKNOWN]
        if len(known) > 1:
            compared += 1
            agreed += len({value for value, _ in known}) == 1
        best = [v for v in votes if v[1] == EXPLICIT] or [v for v in votes if v[1] == IMPLICIT] or votes
        counts = [sum(v[0] == b[0] for v in best) for b in best]
        value, source = best[counts.index(max(counts))]
        values.append(value)
        sources.append(source)
    return values, sources, agreed / compared if compared else None


def _share(values: list[int], wanted: list[int] | None) -> float | None:
    both = [(a, b) for a, b in zip(values, wanted or [], strict=False) if a >= 0 and b >= 0]
    return sum(a == b for a, b in both) / len(both) if both else None


def label_stats(tables: Iterator[pa.Table], space: str) -> dict[str, Any]:
    """Per attribute the counts of values and sources, and the share of rows where label and plan agree."""
    names = load_space(space).names
    found: dict[str, Any] = {}
    for name in names:
        counts = {"values": {"0": 0, "1": 0, "-1": 0}, "sources": {EXPLICIT: 0, IMPLICIT: 0, UNKNOWN: 0}}
        found[name] = {**counts, "agreed": 0, "compared": 0}
    for table in tables:
        for row in table.to_pylist():
            for at, name in enumerate(names):
                if row["attributes"] is None:
                    continue
                value = row["attributes"][at]
                found[name]["values"][str(value)] += 1
                found[name]["sources"][row["attribute_source"][at]] += 1
                if row["wanted"] and row["wanted"][at] >= 0 and value >= 0:
                    found[name]["compared"] += 1
                    found[name]["agreed"] += row["wanted"][at] == value
    return found


def explained(caption: str, space: str) -> list[dict[str, str]]:
    """Each attribute of one caption with its value, its source and the words that decided."""
    labels, found = Labeller(space).label([caption]), load_space(space)
    rows = []
    for at, (name, values) in enumerate(found.classes.items()):
        number = int(labels.values[0, at])
        words = ", ".join(caption[begin:end] for attribute, begin, end in labels.evidence[0] if attribute == name)
        rows.append(
            {"attribute": name, "value": values[number] if number >= 0 else "unknown", "source": labels.sources[0][at], "words": words}
        )
    return rows
