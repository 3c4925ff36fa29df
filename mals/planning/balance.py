"""Balanced captions: attribute values drawn from a distribution so that their counts are right by design, and phrased as captions.

A factor is an attribute, or a one-of-k group of colors with the additional value "other" (a color that has no attribute). Every factor also
has the value "unknown" (nothing is requested). The shares of each factor are met to within one row for any seed; the rows are shuffled for
each factor by itself, so that factors are independent. A joint table gives the shares of combinations of factors instead.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
import pyarrow as pa

from mals.attributes import Space, load_space
from mals.config import Grammar
from mals.errors import UserError
from mals.planning.phrases import CHOICES, Phrases

BLOCK = 32_768  # rows a block
OTHER, UNKNOWN = "other", "unknown"
REQUESTED_TYPE = pa.list_(pa.int8())


@dataclass(frozen=True)
class Factor:
    """An attribute, or a color group, whose value is drawn together.

    `label_vectors` [values, attributes] int8 holds, for each value of the factor, the values of its `attributes`, -1 for none requested.
    """

    name: str
    values: tuple[str, ...]  # "unknown" is the last
    attributes: tuple[int, ...]  # their indices in the attribute space
    label_vectors: np.ndarray

    def value(self, text: str, where: str) -> int:
        """The index of a value by its name, or by 0, 1 or -1 if the factor is one attribute; UserError with the nearest name."""
        # YAML reads an unquoted yes or no of the settings as a boolean, and pandas a column of them
        text = {"True": "yes", "False": "no"}.get(text, text)
        if text in self.values:
            return self.values.index(text)
        if text in ("0", "1", "-1") and len(self.attributes) == 1:
            return int(text)
        near = difflib.get_close_matches(text, self.values, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.values)}"
        raise UserError(f"{where}: {self.name} has no value {text!r}; {hint}")


def caption_blocks(grammar: Grammar, count: int, seed: int) -> Iterator[pa.Table]:
    """`count` rows of `caption` and `wanted` (the requested values, see `PLAN` of table.py), in blocks; UserError for bad settings."""
    space = load_space(grammar.space)
    phrases = Phrases(space, grammar.templates)
    requested, factors = draw(grammar, space, count, seed)
    phrases.check(factors)
    for start in range(0, count, BLOCK):
        block = requested[start : start + BLOCK]
        random_numbers = np.random.default_rng((seed, crc32(b"words"), start)).integers(0, 1 << 31, (len(block), CHOICES))
        ends = np.arange(len(block) + 1, dtype=np.int32) * block.shape[1]
        lists = pa.ListArray.from_arrays(pa.array(ends), pa.array(block.ravel()))
        yield pa.table({"caption": pa.array(phrases.captions(block, random_numbers), pa.string()), "wanted": lists.cast(REQUESTED_TYPE)})


def draw(grammar: Grammar, space: Space, count: int, seed: int) -> tuple[np.ndarray, set[str]]:
    """Requested values [count, attributes] int8 in {-1, 0, 1}, and the names of the factors that request anything."""
    factors = factors_of(space)
    requested = np.full((count, len(space.names)), -1, np.int8)
    requested_factors, joint = set(), set()  # joint: the factors that the joint table draws, wholly or in part
    if grammar.joint:
        joint = _draw_joint(Path(grammar.joint), space, factors, requested, seed)
        requested_factors |= {name for name in joint if (requested[:, factors[name].attributes] >= 0).any()}
        drawn_attributes = {attribute for name in joint for attribute in factors[name].attributes}
        joint |= {name for name, factor in factors.items() if drawn_attributes.intersection(factor.attributes)}
    for name, shares in _shares(grammar, space, factors, joint).items():
        factor = factors[name]
        drawn = apportion(shares, count, np.random.default_rng((seed, crc32(name.encode()))))
        requested[:, factor.attributes] = factor.label_vectors[drawn]
        if shares[:-1].any():
            requested_factors.add(name)
    refuse_contradictions(space, requested)
    return requested, requested_factors


def refuse_contradictions(space: Space, requested: np.ndarray) -> None:
    """Raise UserError where values are requested together that contradict each other by the implicit rules of the space."""
    for rule in space.implicit_rules:
        matches = np.logical_and.reduce([requested[:, at] == value for at, value in rule.when])
        for at, value in rule.then:
            if rows := int((matches & (requested[:, at] == 1 - value)).sum()):
                first = " and ".join(f"{space.names[when]} {space.values[when][what]}" for when, what in rule.when)
                raise UserError(
                    f"plan.attributes asks for {first} together with {space.names[at]} {space.values[at][1 - value]} in {rows:,} of "
                    f"{len(requested):,} rows, which contradict each other; give the combinations you want in a table plan.attributes.joint"
                )


def factors_of(space: Space) -> dict[str, Factor]:
    """Name -> factor, for every group and every attribute, those of groups included."""
    at = {name: number for number, name in enumerate(space.names)}
    factors = {}
    for name, group in space.color_groups.items():
        members = tuple(at[member] for member in group.colors.values())
        vectors = np.ones((len(members) + 2, len(members)), np.int8)
        np.fill_diagonal(vectors, 0)
        vectors[-1] = -1
        factors[name] = Factor(name, (*group.colors, OTHER, UNKNOWN), members, vectors)
    for name, number in at.items():
        factors[name] = Factor(name, (*space.classes[name], UNKNOWN), (number,), np.array([[0], [1], [-1]], np.int8))
    return factors


def apportion(shares: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """[count] indices into `shares`, shuffled; each occurs count * share times, rounded down or up (systematic sampling)."""
    ends = np.floor(np.round(np.cumsum(shares / shares.sum()) * count, 6) + rng.random()).astype(np.int64)
    ends[-1] = count
    return rng.permutation(np.repeat(np.arange(len(shares)), np.diff(np.minimum(ends, count), prepend=0)))


def _shares(grammar: Grammar, space: Space, factors: dict[str, Factor], joint: set[str]) -> dict[str, np.ndarray]:
    """Factor -> the share of each of its values, for factors that are drawn by themselves: as set, else uniform over all but "unknown"."""
    group_of = {member: name for name, group in space.color_groups.items() for member in group.colors.values()}
    free = [name for name in factors if name not in group_of]
    for name in grammar.shares:
        where = f"plan.attributes.shares.{name}"
        if name in group_of:
            raise UserError(f"{where}: {name} is one of {group_of[name]}; give the shares of {group_of[name]}")
        if name not in free:
            raise UserError(f"{where}: {_nearest(name, free, f'the attribute space {grammar.space}')}")
        if name in joint:
            raise UserError(f"{where}: {name} is in the table {grammar.joint} too")
    shares = {}
    for name in free:
        factor = factors[name]
        if name in joint:
            continue
        if name in grammar.shares:
            shares[name] = _set_shares(factor, grammar.shares[name])
        else:
            shares[name] = np.array([1.0] * (len(factor.values) - 1) + [0.0])
    return shares


def _set_shares(factor: Factor, shares: dict[str, float]) -> np.ndarray:
    """The share of each value of a factor, from the settings."""
    where = f"plan.attributes.shares.{factor.name}"
    array = np.zeros(len(factor.values))
    for text, share in shares.items():
        if not 0 <= share <= 1:
            raise UserError(f"{where}.{text} = {share:g} is not a share from 0 to 1")
        array[factor.value(str(text), where)] += share
    if abs(array.sum() - 1) > 1e-6:
        raise UserError(
            f"{where}: the shares sum to {array.sum():g}, not 1; the value {UNKNOWN} takes the rows in which nothing is requested"
        )
    return array


def _draw_joint(file: Path, space: Space, factors: dict[str, Factor], requested: np.ndarray, seed: int) -> set[str]:
    """Fill the columns of `requested` that the columns of the table name; returns the names."""
    table = _read_joint(file)
    names = [name for name in table.columns if name != "weight"]
    for name in names:
        if name not in factors:
            raise UserError(f"{file}, column {name}: {_nearest(name, factors, 'the attribute space')}")
    drawn_attributes = [at for name in names for at in factors[name].attributes]
    if repeated := [at for at in drawn_attributes if drawn_attributes.count(at) > 1]:
        raise UserError(f"{file} has {space.names[repeated[0]]} and its group both as columns; keep one of them")
    weights = pd.to_numeric(table["weight"], errors="coerce").to_numpy(float)
    if wrong := [row for row, weight in enumerate(weights, 1) if not 0 <= weight < np.inf]:
        raise UserError(f"{file}: the weight of row {wrong[0]} is not a number from 0 up")
    if not weights.sum() > 0:
        raise UserError(f"{file}: the weights sum to 0")
    codes = {
        name: np.array([_code(factors[name], text, f"{file}, row {row}") for row, text in enumerate(table[name], 1)]) for name in names
    }
    order = np.lexsort([codes[name] for name in names[::-1]])  # similar combinations are neighbors, so that rounding changes no margin
    drawn = order[apportion(weights[order], len(requested), np.random.default_rng((seed, crc32(b"joint"))))]
    for name in names:
        requested[:, factors[name].attributes] = factors[name].label_vectors[codes[name][drawn]]
    return set(names)


def _code(factor: Factor, text: object, where: str) -> int:
    missing = text is None or text != text or text == ""
    if isinstance(text, float) and not missing and text.is_integer():
        text = int(text)
    return len(factor.values) - 1 if missing else factor.value(str(text), where) % len(factor.values)


def _read_joint(file: Path) -> pd.DataFrame:
    """The joint table; UserError for any other file."""
    if not file.is_file():
        raise UserError(f"there is no table {file} for plan.attributes.joint")
    try:
        if file.suffix.lower() == ".csv":
            table = pd.read_csv(file, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig")
        elif file.suffix.lower() == ".parquet":
            table = pd.read_parquet(file)
        else:
            raise UserError(f"plan.attributes.joint is a .csv or .parquet table, not {file}")
    except (ValueError, OSError) as error:  # of pandas and of pyarrow
        raise UserError(f"{file} is not a table: {str(error).strip().splitlines()[0]}") from None
    if "weight" not in table.columns or len(table.columns) < 2 or not len(table):
        columns = ", ".join(table.columns)
        raise UserError(
            f"{file} needs the column weight, at least one column of an attribute or a color group, and a row; it has {columns}"
        )
    return table


def _nearest(name: str, options: Iterable[str], where: str) -> str:
    names = list(options)
    near = difflib.get_close_matches(name, names, 1, 0.5)
    return f"{where} has no {name}; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}")
