"""Files that pickle wrote, read as data: tensors, numbers, texts, lists and dicts. No function or class that a file names is run.

`torch.load` with weights_only=True reads checkpoints. What it does not know and other projects' checkpoints contain becomes plain data
here: NumPy scalars become numbers, an EasyDict a dict, an argparse.Namespace stays one. `pretrain.torchscript` reads TorchScript archives.
"""

import pickle
import re
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mals.errors import UserError

NUMBER = re.compile(r"[fiub][1248]")  # NumPy's names of the types of scalars that become numbers
SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # of NumPy 1 and 2


class _Dtype:
    """Stands for numpy.dtype in a pickle: the name of a type and its byte order."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name, self.order = str(name), "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="


def _scalar(dtype: _Dtype, data: bytes) -> float:
    """Stands for NumPy's constructor of a scalar: a Python number."""
    if not (isinstance(dtype, _Dtype) and NUMBER.fullmatch(dtype.name) and isinstance(data, bytes)):
        raise pickle.UnpicklingError("a NumPy scalar that is no number")
    number: float = np.frombuffer(data, dtype.order + dtype.name, 1)[0].item()
    return number


ALLOWED: list[Any] = [
    Namespace,
    (OrderedDict, "easydict.EasyDict"),  # which torch fills without calling a method of the file's choice
    _Dtype,
    (_Dtype, "numpy.dtype"),
    *[(_scalar, name) for name in SCALARS],
]


def read_checkpoint(file: Path) -> Any:
    """What a file of `torch.save` holds; UserError where it is not complete, or names other classes or functions."""
    try:
        with torch.serialization.safe_globals(ALLOWED):
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
        return _plain(content, {})
    except Exception as error:  # a truncated or malicious file raises many kinds of exceptions
        raise _refusal(file, "tensors", error) from None


def read_plain(file: Path) -> Any:
    """The lists, dicts, texts and numbers in a pickle; UserError where it is not complete, or names a class or a function."""
    try:
        with file.open("rb") as stream:
            return _Containers(stream).load()
    except Exception as error:  # a truncated or malicious file raises many kinds of exceptions
        raise _refusal(file, "lists, texts and numbers", error) from None


class _Containers(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")


def _plain(value: Any, known: dict[int, Any]) -> Any:
    """Dicts, lists and tuples as such, without what the attributes of a dict might override; `known` are those that were seen before."""
    if id(value) not in known and isinstance(value, dict | list | tuple):
        if isinstance(value, dict):
            copy: Any = {key: _plain(dict.__getitem__(value, key), known) for key in dict.keys(value)}
        else:
            copy = value if isinstance(value, torch.Size) else type(value)(_plain(part, known) for part in value)
        known[id(value)] = copy
    return known.get(id(value), value)


def _refusal(file: Path, allowed: str, error: Exception) -> UserError:
    """The sentence for a file that could not be read as data."""
    foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
    reason = f" (it holds {foreign[1]}, which was not run)" if foreign else ", or is not complete"
    way = "convert it to safetensors if you trust it" if allowed == "tensors" else "write them to a text file if you trust it"
    return UserError(f"{file} holds more than {allowed}{reason}; {way}")
