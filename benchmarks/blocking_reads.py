"""Counts what makes a training step wait for its device, on a machine without one.

On a GPU the trainer only orders work; it waits wherever it needs a number to go on: a size (`nonzero`, a boolean mask as an index), a
condition, a loss to print. On a CPU the same code waits for nothing, so the places are counted: operations whose result the host needs, on
tensors that depend on the parameters or on the batch. What is computed from host tensors alone costs nothing and is not counted.

Not seen are copies to the device that block: torch.cuda.set_sync_debug_mode, which `benchmarks.gpu` uses, sees those too.
"""

import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pretrain.data.batch import Batch, Text

VALUES = {  # of Python's interface: the numbers themselves
    getattr(Tensor, name) for name in ("tolist", "item", "numpy", "__bool__", "__int__", "__float__", "__index__", "__array__")
}
SIZES = {  # operations whose results have a size that the device has to compute, or that give the host a number
    f"aten::{name}"
    for name in (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "bincount",
        "equal",
        "is_nonzero",
    )
}
INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}  # by a boolean mask: `nonzero` of it


def on_device(batch: Batch) -> tuple[Batch, list[Tensor]]:
    """A batch as it is on a GPU, beside that of the host, and its tensors."""

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.clone()
        return Text(value.ids.clone(), value.mask.clone()) if isinstance(value, Text) else value

    copy = replace(batch, **{name: moved(value) for name, value in vars(batch).items() if name != "host"}, host=batch.on_host())
    return copy, copy.tensors()


class BlockingReads:
    """Where the host read from the device, one entry a read: the operation and the line of code."""

    def __init__(self, on_device: Iterable[Tensor]) -> None:
        """`on_device` are the tensors that would be on the GPU: parameters, buffers, the batch."""
        self.places: list[str] = []
        self._kept: dict[int, Any] = {}  # storages of the device, kept so that no other tensor gets their memory
        for tensor in on_device:
            self.put(tensor)

    def __len__(self) -> int:
        return len(self.places)

    def put(self, tensor: Tensor) -> None:
        """This tensor is on the device."""
        storage = tensor.untyped_storage()
        self._kept[storage.data_ptr()] = storage

    def has(self, values: Any) -> bool:
        """Whether any of the tensors in `values` is on the device."""
        return any(isinstance(each, Tensor) and each.untyped_storage().data_ptr() in self._kept for each in tree_leaves(values))

    def note(self, name: str) -> None:
        """Count a read by the operation of this name."""
        lines = [line for line in traceback.extract_stack() if "/pretrain/" in line.filename]
        where = f"{lines[-1].filename.rsplit('/pretrain/')[-1]}:{lines[-1].lineno}" if lines else "backward"
        self.places.append(f"{name} at {where}")

    @contextmanager
    def counted(self) -> Iterator["BlockingReads"]:
        """Count inside."""
        with _Operations(self), _Interface(self):
            yield self


class _Interface(TorchFunctionMode):
    """What code calls by name."""

    def __init__(self, reads: BlockingReads) -> None:
        super().__init__()
        self.reads = reads

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in VALUES and self.reads.has(args):
            self.reads.note(func.__name__)
            with torch.utils._python_dispatch._disable_current_modes():
                return func(*args, **kwargs)
        if func is Tensor.cpu and self.reads.has(args):
            self.reads.note("cpu")
            with torch.utils._python_dispatch._disable_current_modes():
                return args[0].detach().clone()  # a tensor of the host
        return func(*args, **kwargs)


class _Operations(TorchDispatchMode):
    """What is called below: by autograd, by other operations."""

    def __init__(self, reads: BlockingReads) -> None:
        super().__init__()
        self.reads = reads

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        on_device = self.reads.has((args, kwargs))
        name = func._schema.name
        if on_device and (name in SIZES or (name in INDEXED and _by_mask(args[1]))):
            self.reads.note(name.removeprefix("aten::"))
        result = func(*args, **kwargs)
        if on_device:
            for tensor in tree_leaves(result):
                if isinstance(tensor, Tensor):
                    self.reads.put(tensor)
        return result


def _by_mask(indices: Iterable[Tensor | None]) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)
