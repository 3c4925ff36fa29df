"""Captions side by side: each captioner, its instructions, and the prompt, with numbers over a sample of the rows."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mals.look.query import Filters, page
from mals.look.source import KEPT, Source

SAMPLE = 600  # kept rows that the numbers are counted over


@dataclass(frozen=True)
class Captioner:
    """The captions of one captioner and instruction over the sample; the numbers of words are of its captions."""

    name: str
    captions: int
    words: float  # mean
    vocabulary: int  # different words
    distinct: float  # share of the captions that no other row has
    repetition: float  # share of the captions in which three words in a row stand twice
    opening: str  # the commonest first three words
    opening_share: float
    agreement: float | None  # mean share of words in common with the other captions of the row; None where there is no other


@dataclass(frozen=True)
class Text:
    """One caption of a row."""

    source: str
    text: str


def texts(row: dict[str, Any]) -> list[Text]:
    """The captions of a row, the prompt or the caption that the image came with last."""
    lines = [
        Text(_source(caption), caption["text"])
        for caption in row.get("captions") or ()
        if isinstance(caption, dict) and caption.get("text")
    ]
    if not lines and row.get("caption"):
        lines.append(Text("caption", row["caption"]))
    known = {line.source for line in lines}
    name, text = ("prompt", row["prompt"]) if row.get("prompt") else ("collection", row.get("source_caption"))
    return [*lines, Text(name, text)] if text and name not in known else lines


def _source(caption: dict[str, Any]) -> str:
    """The captioner and, where it has several, the kind of its instruction."""
    name = str(caption.get("model") or caption.get("source") or "caption").rstrip("/").rsplit("/", 1)[-1]
    kind = caption.get("instruction") if "model" in caption else caption.get("kind")
    return f"{name} ({kind})" if kind else name


def columns(source: Source) -> list[str]:
    """The columns that `texts` reads, of those that the source has."""
    return [name for name in ("id", "caption", "captions", "prompt", "source_caption") if name in source.columns]


def captioners(source: Source) -> list[Captioner]:
    """Every captioner over the first kept rows."""

    def count() -> list[Captioner]:
        rows = page(source, Filters(state=KEPT), 0, SAMPLE).rows
        return compare(map(texts, source.take(rows, columns(source))))

    return source.cached("captioners", count)


def compare(rows: Iterable[list[Text]]) -> list[Captioner]:
    """The numbers of every captioner over rows of captions."""
    of: dict[str, list[tuple[list[str], float | None]]] = {}
    for row in rows:
        words = [line.text.lower().split() for line in row]
        for number, line in enumerate(row):
            others = [_common(words[number], words[other]) for other in range(len(row)) if other != number]
            of.setdefault(line.source, []).append((words[number], sum(others) / len(others) if others else None))
    return [_captioner(name, captions) for name, captions in of.items()]


def _captioner(name: str, captions: list[tuple[list[str], float | None]]) -> Captioner:
    words = [words for words, _ in captions]
    whole = Counter(map(tuple, words))
    openings = Counter(" ".join(sentence[:3]) for sentence in words)
    agreements = [agreement for _, agreement in captions if agreement is not None]
    (opening, rows), *_ = openings.most_common(1)
    return Captioner(
        name=name,
        captions=len(captions),
        words=sum(map(len, words)) / len(captions),
        vocabulary=len({word for sentence in words for word in sentence}),
        distinct=sum(count for count in whole.values() if count == 1) / len(captions),
        repetition=sum(_repeats(sentence) for sentence in words) / len(captions),
        opening=opening,
        opening_share=rows / len(captions),
        agreement=sum(agreements) / len(agreements) if agreements else None,
    )


def _common(one: list[str], other: list[str]) -> float:
    """Words in common as a share of all words of two captions."""
    return len({*one} & {*other}) / max(1, len({*one} | {*other}))


def _repeats(words: list[str]) -> bool:
    """Whether three words in a row stand in the caption twice."""
    grams = list(zip(words, words[1:], words[2:], strict=False))
    return len(grams) != len(set(grams))
