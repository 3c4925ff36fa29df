"""Attribute labels of data sets: a field of a struct column or a list of numbers, each -1 (unknown), 0 or 1; other values raise UserError.

Shapes: n rows, A attributes.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from mals.errors import UserError
from mals.planning import json_lists
from pretrain.data.errors import NoLabels

Classes = Mapping[str, Sequence[str]]  # attribute -> the names of its values 0 and 1


def check_classes(file: Path, schema: pa.Schema, classes: Classes) -> None:
    """Raises NoLabels if a file lacks one of these attributes, UserError if its values have other names."""
    if "attributes" not in schema.names:
        raise NoLabels(f"{file} has no attribute labels")
    kind = schema.field("attributes").type
    names_in_file = [field.name for field in kind] if pa.types.is_struct(kind) else []
    if missing := [name for name in classes if name not in names_in_file]:
        raise NoLabels(f"{file} has no labels of the attribute {missing[0]}")
    features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {}).get("attributes", {})
    for name, values in classes.items():
        names = features.get(name, {}).get("names") if isinstance(features, dict) else None
        if names is not None and list(names) != list(values):
            raise UserError(f"{file}: the values of {name} are {' and '.join(map(str, names))}, where {' and '.join(values)} are expected")
        if not pa.types.is_integer(kind.field(name).type):
            raise UserError(f"{file}: the attribute {name} holds {kind.field(name).type}, not the numbers -1, 0 and 1")


def column_labels(values: pa.ChunkedArray, name: str, file: Path) -> NDArray[np.int8]:
    """The labels [n] of an attribute, from integers of any width; null is unknown. Raises UserError for any other value than -1, 0 or 1."""
    numbers = pc.fill_null(values, 0).to_numpy()
    (wrong,) = ((numbers < -1) | (numbers > 1)).nonzero()
    if len(wrong):
        raise _label_error(file, name, int(wrong[0]), int(numbers[wrong[0]]))
    labels = numbers.astype(np.int8)
    labels[pc.is_null(values).to_numpy()] = -1
    return labels


def _label_error(file: Path, name: str, row: int, value: int) -> UserError:
    return UserError(f"{file}: the label of {name} in row {row} is {value}, not -1, 0 or 1")


def known_labels(labels: NDArray[np.int8], path: Path) -> Tensor:
    """Labels as a tensor, [n, A] int8; raises NoLabels if all are unknown."""
    if not (labels >= 0).any():
        raise NoLabels(f"{path} has no attribute label that is known")
    return torch.from_numpy(labels)


def list_labels(file: Path, objects: Sequence[Mapping[str, Any]], classes: Classes) -> NDArray[np.int8]:
    """The field `label` of the objects of a JSON list, [n, A], a row for each caption."""
    rows: list[list[int]] = []
    for number, entry in enumerate(objects, 1):
        where = f"{file}: object {number}"
        if "label" not in entry:
            raise NoLabels(f"{where} has no attribute labels")
        label = entry["label"]
        if not isinstance(label, list) or len(label) != len(classes) or not all(type(value) is int for value in label):
            raise NoLabels(f"{file}: the label of object {number} is not a list of {len(classes)} numbers")
        for name, value in zip(classes, label, strict=True):
            if not -1 <= value <= 1:
                raise _label_error(file, name, len(rows), value)
        rows += [label] * len(json_lists.captions_of(where, entry))
    return np.array(rows, np.int8)
