"""What the images of each person have in common: the labels of most of them, and the first one that has these."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Labels = NDArray[np.int8]  # [rows or persons, attributes] in {-1, 0, 1}; -1: unknown
CANDIDATES = 8  # images of a person among which the first one is chosen


class Persons:
    """Counts of the labels of persons, who are numbered from 0 in the order in which they come."""

    def __init__(self, width: int):
        """`width`: attributes of a row."""
        self.rows = 0  # that were added
        self.numbers: dict[str, int] = {}  # person -> number
        self._counts = np.zeros((1024, width, 2), np.uint32)  # [persons or more, attributes, value]

    def add(self, names: Sequence[str | None], labels: Labels) -> None:
        """Count rows; those without a person are left out."""
        self.rows += len(names)
        rows = [row for row, name in enumerate(names) if name is not None]
        numbers = np.array([self.numbers.setdefault(names[row] or "", len(self.numbers)) for row in rows], np.int64)
        while len(self.numbers) > len(self._counts):
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        for value in (0, 1):
            np.add.at(self._counts[:, :, value], numbers, labels[rows] == value)

    def consensus(self, person: int | None = None) -> Labels:
        """[persons, attributes] the value that most images of each person have, or of the one with this number; -1 for a tie."""
        start, end = (0, len(self.numbers)) if person is None else (person, person + 1)
        first, second = self._counts[start:end, :, 0], self._counts[start:end, :, 1]
        return np.where(first > second, 0, np.where(second > first, 1, -1)).astype(np.int8)


def agreements(labels: Labels, consensus: Labels) -> list[float | None]:
    """For each row of both the share of the attributes with the same value, of those known in both, in 32 bits; None if there is none."""
    known = (labels >= 0) & (consensus >= 0)
    same = (labels == consensus) & known
    return [float(np.float32(equal / count)) if count else None for equal, count in zip(same.sum(1), known.sum(1), strict=True)]


def first_images(
    rows: Iterable[tuple[Sequence[str | None], Labels, pa.Array]], persons: Persons, least: float | None
) -> Iterator[tuple[int, bytes]]:
    """(number of a person, its first image) for each person, while `persons` counts the rows that pass.

    `rows` are blocks of persons, labels and encoded images. The first image of a person is the first one whose labels agree with the others
    by at least `least`, so that an outlier is not what the others are measured by; if there is none, or without `least`, the very first.
    The images of a person are looked at where it comes first, in neighbouring rows: a person that comes back later keeps its first image.
    """
    waiting: dict[str, list[tuple[Labels, bytes]]] = {}
    done: set[int] = set()
    for names, labels, images in rows:
        persons.add(names, labels)
        for row, name in enumerate(names):
            if name is not None and persons.numbers[name] not in done and len(waiting.setdefault(name, [])) < CANDIDATES:
                waiting[name].append((labels[row : row + 1], images[row].as_py()))
        for name in [name for name in waiting if not names or name != names[-1]]:  # the last one may go on in the next block
            done.add(persons.numbers[name])
            yield persons.numbers[name], _first(waiting.pop(name), persons.consensus(persons.numbers[name]), least)
    for name, candidates in waiting.items():
        yield persons.numbers[name], _first(candidates, persons.consensus(persons.numbers[name]), least)


def _first(candidates: list[tuple[Labels, bytes]], consensus: Labels, least: float | None) -> bytes:
    for labels, image in candidates:
        (share,) = agreements(labels, consensus)
        if least is None or share is None or share >= least:
            return image
    return candidates[0][1]
