"""Which rows a step has: a pure function of the seed and the step, the same for any number of workers and ranks.

Shapes: N rows of the data, B of a global batch.
"""

from collections import deque
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mals.errors import UserError

GROUPS = 0x6809  # sets the random numbers of groups apart from those of plain orders

Rows = NDArray[np.int64]


@lru_cache(2)
def permutation(seed: int, epoch: int, count: int) -> Rows:
    """The numbers 0 ... count-1 in the random order of an epoch; from raw bits, which every version of numpy draws alike."""
    bits = np.random.Philox(np.random.SeedSequence((seed, epoch))).random_raw(count)
    return np.argsort(bits, kind="stable")


def order(seed: int, count: int, step: int, batch: int) -> Rows:
    """The rows [B] of a step: each epoch has all rows once, in random order, except the few that fill no whole batch."""
    epoch, at = divmod(step, count // batch)
    return permutation(seed, epoch, count)[at * batch : (at + 1) * batch]


class Sampler:
    """The rows of every step.

    With `group` (1, 1) an epoch has each row once, in random order. Otherwise (fewest, most) rows of one person follow each other: each
    epoch draws for every person how many, cuts the person's shuffled rows into groups of that size, and takes one group of each person in
    turn, persons in random order, until none is left. A group that would be smaller than `fewest` is filled with rows of the same person
    again; one that the end of a batch would cut has another size from `fewest` to `most` there. (K, K) gives the batches of P persons with
    K rows each; (1, 2) is the sampler of SEN (UIT).

    An epoch leaves out the few rows that fill no whole batch; with `complete` these are in a last batch, which the epoch's first rows fill.
    """

    def __init__(self, persons: Rows, batch: int, seed: int, group: tuple[int, int] = (1, 1), complete: bool = False) -> None:
        """`persons` [N] are the identities of the rows, `batch` is B. UserError where there is no whole batch, or no whole group in it."""
        self.persons, self.batch, self.seed, self.group, self.complete = persons, batch, seed, group, complete
        fewest, most = group
        if not 1 <= fewest <= most:
            raise ValueError(f"groups of {fewest} to {most} rows")
        if complete and most > 1:
            raise ValueError("an epoch of groups cannot be complete")
        if not self._fits(batch):
            sizes = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            raise UserError(f"a batch of {batch} rows cannot be divided into groups of {sizes} rows of one person; change batch")
        rows = len(persons) if most == 1 else self._least_rows()
        self.steps_per_epoch = -(-rows // batch) if complete else rows // batch
        if not self.steps_per_epoch:
            raise UserError(f"a batch of {batch:,} rows is more than the {rows:,} rows of the data")
        self._last: tuple[int, Rows] | None = None  # an epoch and its rows

    def epoch(self, step: int) -> int:
        """Counted from 0."""
        return step // self.steps_per_epoch

    def rows(self, step: int) -> Rows:
        """The rows [B] of a step, counted from 0."""
        epoch, at = divmod(step, self.steps_per_epoch)
        if self.complete:
            filled = np.resize(permutation(self.seed, epoch, len(self.persons)), self.steps_per_epoch * self.batch)
            return filled[at * self.batch : (at + 1) * self.batch]
        if self.group[1] == 1:
            return order(self.seed, len(self.persons), step, self.batch)
        if self._last is None or self._last[0] != epoch:
            self._last = epoch, self._grouped(epoch)
        return self._last[1][at * self.batch : (at + 1) * self.batch]

    def _least_rows(self) -> int:
        """Rows of an epoch whichever sizes of groups are drawn."""
        counts = np.bincount(self.persons)
        counts = counts[counts > 0]
        fewest, most = self.group
        return int(np.min([_filled(counts, size, fewest) for size in range(fewest, most + 1)], axis=0).sum())

    def _grouped(self, epoch: int) -> Rows:
        """All rows of an epoch, in groups."""
        bits = np.random.Philox(np.random.SeedSequence((self.seed, epoch, GROUPS)))
        fewest, most = self.group
        shuffled = np.argsort(bits.random_raw(len(self.persons)), kind="stable")
        shuffled = shuffled[np.argsort(self.persons[shuffled], kind="stable")]  # by person, each person's rows in random order
        cuts = np.flatnonzero(np.diff(self.persons[shuffled])) + 1
        sizes = fewest + bits.random_raw(len(cuts) + 1) % np.uint64(most - fewest + 1)
        groups: list[tuple[int, Rows]] = []  # the turn of a group, and its rows
        for rows, size in zip(np.split(shuffled, cuts), sizes.astype(np.int64).tolist(), strict=True):
            missing = int(_filled(np.array(len(rows)), size, fewest)) - len(rows)
            filled = np.concatenate([rows, np.resize(rows, missing)]) if missing else rows
            groups += [(turn, filled[at : at + size]) for turn, at in enumerate(range(0, len(filled), size))]
        turns, chance = np.array([turn for turn, _ in groups]), bits.random_raw(len(groups))
        ordered = [groups[at][1] for at in np.lexsort((chance, turns))]
        return np.concatenate(ordered if fewest in (1, most) else self._within_batches(ordered))

    def _within_batches(self, groups: list[Rows]) -> list[Rows]:
        """The groups in sizes that fill each batch exactly: what is cut off one follows later, and rows of a person are taken again."""
        fewest, most = self.group
        waiting, placed, room = deque(groups), list[Rows](), self.batch
        while waiting:
            group = waiting.popleft()
            sizes = [size for size in range(fewest, min(most, room) + 1) if self._fits(room - size)]
            size = min(sizes, key=lambda size: abs(size - len(group)))
            placed.append(np.resize(group, size))
            if len(rest := group[size:]):
                waiting.insert(1, np.resize(np.concatenate([rest, group[:size]]), max(fewest, len(rest))))
            room = (room - size) or self.batch
        return placed

    def _fits(self, rows: int) -> bool:
        """Whether so many rows can be divided into groups."""
        fewest, most = self.group
        return -(-rows // most) * fewest <= rows


def _filled(counts: NDArray[np.int64], size: int, fewest: int) -> NDArray[np.int64]:
    """Rows of persons after their last group of `size` has been filled up to `fewest`."""
    rest = counts % size
    return counts + np.where((rest > 0) & (rest < fewest), fewest - rest, 0)
