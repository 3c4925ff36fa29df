"""The tensors of a TorchScript archive, the form of OpenAI's own CLIP files, read without running its code.

The archive is a zip file: `data.pkl` is a pickle of the modules, `data/N` the numbers of a tensor. `torch.jit.load` would compile the
program in it; here the pickle is read with nothing but containers and tensors, and a module is only what it holds.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from mals.errors import UserError

DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class Module:
    """A module of the archive: its attributes and nothing else."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.attributes = state if isinstance(state, dict) else {}


def is_archive(file: Path) -> bool:
    """Whether a file is a TorchScript archive; a file of `torch.save` is a zip file as well, without code."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any(PurePosixPath(name).parts[1:] == ("constants.pkl",) for name in archive.namelist())
    except Exception:  # a file that is no archive, or a damaged one, raises many kinds of exceptions
        return False


def read_archive(file: Path) -> dict[str, Tensor]:
    """The parameters and buffers by their names, on the CPU; UserError where the file holds anything else, or is not complete."""
    try:
        with zipfile.ZipFile(file) as archive:
            (pickled,) = [name for name in archive.namelist() if PurePosixPath(name).parts[1:] == ("data.pkl",)]
            with archive.open(pickled) as stream:
                module = _Reader(stream, archive, str(PurePosixPath(pickled).parent)).load()
            return dict(_tensors(module, ""))
    except UserError:
        raise
    except Exception as error:  # a damaged pickle raises many kinds of exceptions
        raise UserError(f"{file} is no complete TorchScript archive ({' '.join(str(error).split())})") from None


def _tensors(module: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in module.attributes.items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, Module):
            yield from _tensors(value, f"{prefix}{name}.")


class _Reader(pickle.Unpickler):
    """Unpickles tensors, containers and modules; everything else is refused."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(stream)
        self.archive, self.root = archive, root
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return Module
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Rebuild()
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if module == "torch.jit._pickle":
            return _FirstArgument()
        foreign = " ".join(f"{module}.{name}".split())
        raise UserError(
            f"{self.archive.filename} holds more than tensors (it holds {foreign}, which was not run); convert it to safetensors"
        )

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, _ = pid
        if key not in self.storages:
            data = bytearray(self.archive.read(f"{self.root}/data/{key}"))
            self.storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self.storages[key]


class _Rebuild:
    """Stands for torch's constructor of a tensor. An object without attributes, so that a pickle can change nothing about it."""

    __slots__ = ()

    def __call__(self, storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
        return storage.as_strided(size, stride, offset)


class _FirstArgument:
    """Stands for the marks that TorchScript has around lists of numbers."""

    __slots__ = ()

    def __call__(self, value: Any, *_: Any) -> Any:
        return value
