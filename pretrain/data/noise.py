"""Wrong pairs on purpose: which row's caption each row of a training has, to see what a method does with noisy data.

A file of such an order is a `.npy` array of integers, as RDE's authors have it, or a JSON object with "captions", and the "share" and
the "seed" that it was drawn with. Shapes: N rows.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mals.errors import UserError
from mals.files import write_file

NOISE = 0x2015E  # sets these random numbers apart from others of the same seed
ROUNDS = 100  # tries to give rows captions of other persons

Rows = NDArray[np.int64]


def draw(persons: Rows, share: float, seed: int) -> Rows:
    """An order [N] in which a share of the rows exchange their captions; each of them gets one of another person (`persons` [N]).

    Where the drawn rows have too few persons for that, some get another row's caption of the same person.
    """
    bits, rows = np.random.Philox(np.random.SeedSequence((seed, NOISE))), np.arange(len(persons))
    chosen = np.argsort(bits.random_raw(len(rows)), kind="stable")[: round(share * len(rows))]
    sources = np.roll(chosen, 1)
    for _ in range(ROUNDS):
        wrong = np.flatnonzero(persons[chosen] == persons[sources])
        if not len(wrong):
            break
        for at, other in zip(wrong.tolist(), (bits.random_raw(len(wrong)) % np.uint64(len(chosen))).astype(int).tolist(), strict=True):
            if chosen[at] != sources[other] and chosen[other] != sources[at]:
                sources[at], sources[other] = sources[other], sources[at]
    rows[chosen] = sources
    return rows


def save(file: Path, order: Rows, share: float, seed: int) -> None:
    """Write an order with what it was drawn with, whole."""
    write_file(file, json.dumps({"v": 1, "share": share, "seed": seed, "captions": order.tolist()}) + "\n")


def read_or_draw(file: Path, persons: Rows, share: float, seed: int, write: bool = True) -> Rows:
    """The order in a file; where there is no file, one that is drawn, and written with `write`.

    UserError where the file does not fit the rows, or where it was drawn with another share or seed; with share 0 any is right, and has
    to be there.
    """
    if not file.exists() and share:
        order = draw(persons, share, seed)
        if write:
            save(file, order, share, seed)
        return order
    if not file.exists():
        raise UserError(f"there is no file {file} with an order of captions; with a share of wrong pairs above 0 it is drawn")
    order = read(file, len(persons))
    if share and file.suffix != ".npy":
        drawn = json.loads(file.read_text(encoding="utf-8"))
        if (drawn.get("share"), drawn.get("seed")) != (share, seed):
            raise UserError(
                f"{file} was drawn with share {drawn.get('share')} and seed {drawn.get('seed')}, not {share:g} and {seed}; "
                "give those, or another file"
            )
    return order


def read(file: Path, rows: int) -> Rows:
    """The order in a file for N = `rows`; UserError where it is none, or for other rows."""
    try:
        if file.suffix == ".npy":
            with file.open("rb") as stream:
                order = np.lib.format.read_array(stream, allow_pickle=False)
        else:
            order = np.array(json.loads(file.read_text(encoding="utf-8"))["captions"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is no order of captions, which is a .npy array or JSON with 'captions': {error!r}") from None
    if order.ndim != 1 or order.dtype.kind not in "iu":
        raise UserError(f"{file} is no order of captions: it has {order.dtype} of shape {list(order.shape)}, not a list of row numbers")
    if len(order) != rows:
        raise UserError(f"{file} is for {len(order):,} rows, and the training has {rows:,}")
    if len(order) and not 0 <= order.min() <= order.max() < rows:
        raise UserError(f"{file} names row {order.max() if order.max() >= rows else order.min():,}, and rows are 0 to {rows - 1:,}")
    return np.asarray(order, np.int64)
