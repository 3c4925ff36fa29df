"""Readers of MAT files: their variables, and lists of cells, of which some may be empty."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mals.errors import UserError
from pretrain.datasets.layout import require_names


def read_matlab(file: Path, *names: str) -> dict[str, Any]:
    """The variables of a MAT file, structs as dictionaries; UserError if one of `names` is missing."""
    from scipy.io import loadmat

    try:
        variables = loadmat(file, simplify_cells=True)
    except Exception as error:  # an incomplete file fails in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file} is not a readable MAT file ({reason}); perhaps it was downloaded in part") from None
    require_names(file, variables, names)
    return variables


def cell_texts(where: str, values: Any) -> list[str | None]:
    """The texts of a list of cells, None for an empty cell; UserError for a cell that holds neither a text nor a number."""
    texts: list[str | None] = []
    for number, cell in enumerate(_cells(values), 1):
        if isinstance(cell, str):
            texts.append(cell.strip() or None)
        elif _is_empty(cell):
            texts.append(None)
        elif _is_number(cell) and float(cell).is_integer():
            texts.append(str(int(cell)))
        else:
            raise UserError(f"{where}: cell {number} holds {_kind(cell)}, not a text")
    return texts


def cell_numbers(where: str, values: Any) -> list[float]:
    """The numbers of an array or of a list of cells, NaN for an empty cell; UserError for a cell that holds something else."""
    numbers: list[float] = []
    for number, cell in enumerate(_cells(values), 1):
        if not (_is_empty(cell) or _is_number(cell)):
            raise UserError(f"{where}: cell {number} holds {_kind(cell)}, not a number")
        numbers.append(math.nan if _is_empty(cell) else float(cell))
    return numbers


def _cells(values: Any) -> Sequence[Any]:
    """The cells of a list; scipy gives a list of one cell as that cell."""
    return values.ravel().tolist() if isinstance(values, np.ndarray) else [values]


def _is_empty(cell: Any) -> bool:
    return isinstance(cell, np.ndarray) and cell.size == 0


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float | np.number)


def _kind(cell: Any) -> str:
    """What a cell holds, for a sentence."""
    return "a struct" if isinstance(cell, dict) else "a list" if isinstance(cell, np.ndarray) else f"a {type(cell).__name__}"
