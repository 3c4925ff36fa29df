"""Towers that encode a batch in micro-batches, so that large batches fit on small cards and the losses still see every row.

The forward pass encodes one micro-batch after the other and keeps what comes out, not what is inside. The losses are those of the whole
batch. Backward encodes each micro-batch again, with the same random numbers, and back-propagates the gradients of its outputs: gradient
caching (Gao et al., RepL4NLP 2021), for tokens as well as for embeddings, so that the losses of token features are exact too. A rank's
gradients are averaged once a step, as without.

Only dropout and drop path depend on the number of micro-batches: each draws its own, as ranks do.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mals.errors import UserError
from pretrain.towers.batch_norm import BatchNorm

Output = TypeVar("Output")


class MicroBatched:
    """A tower whose outputs of a row depend on this row alone; a module that is one calls `in_parts` in its `forward`."""

    training: bool
    micro_batch: int | None = None  # rows that are encoded at once in training; None: all of the batch

    def count_parts(self, rows: int) -> int:
        """The number of micro-batches of a batch of `rows` rows; 1 where no gradient is needed."""
        if self.micro_batch is None or not (self.training and torch.is_grad_enabled()):
            return 1
        return -(-rows // self.micro_batch)

    def in_parts(self, encode: Callable[..., Output], *inputs: Tensor | None) -> Output:
        """What `encode` returns of inputs whose first dimension are the rows of the batch, encoded in micro-batches of nearly equal size.

        It returns a tensor, or a dataclass of tensors with the rows in their first dimension and of other values, which every part has.
        """
        if self.micro_batch is None:
            return encode(*inputs)
        parts = self.count_parts(next(len(each) for each in inputs if each is not None))
        if parts < 2:
            return encode(*inputs)
        pieces = zip(*([None] * parts if each is None else each.tensor_split(parts) for each in inputs), strict=True)
        return _join([run_again(encode, *piece) for piece in pieces])


def run_again(encode: Callable[..., Output], *inputs: Any) -> Output:
    """What `encode` returns; backward calls it again instead of keeping what it computes.

    It draws the same random numbers again, on the CPU and on the devices of the tensors among `inputs`.
    """
    return cast(Output, checkpoint(_with_own_casts, encode, *inputs, use_reentrant=False))


def _with_own_casts(encode: Callable[..., Output], *inputs: Any) -> Output:
    """Under autocast a micro-batch casts the weights for itself: gradients of a shared cast would be added up in its few digits."""
    kind = "cuda" if torch.is_autocast_enabled("cuda") else "cpu"
    with torch.autocast(kind, torch.get_autocast_dtype(kind), enabled=torch.is_autocast_enabled(kind), cache_enabled=False):
        return encode(*inputs)


def _join(parts: Sequence[Any]) -> Any:
    """The outputs of micro-batches as those of the batch."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    assert is_dataclass(first) and not isinstance(first, type)
    values = {field.name: [getattr(part, field.name) for part in parts] for field in fields(first)}
    return replace(first, **{name: torch.cat(each) for name, each in values.items() if isinstance(each[0], Tensor)})


def use(method: nn.Module, name: str, rows: int | None) -> None:
    """Let the towers of a method encode `rows` rows at once in training; UserError where the method cannot. None: all of a batch."""
    if rows is None:
        return
    towers = [module for module in method.modules() if isinstance(module, MicroBatched)]
    if norm := _norm_of_micro_batches(method):
        raise UserError(
            f"data.micro_batch = {rows}: the method {name} normalises over the whole batch ({norm}), and its parts would have other "
            "statistics; leave it at null"
        )
    if not towers:
        raise UserError(f"data.micro_batch = {rows}: the method {name} has no tower that encodes a batch in parts; leave it at null")
    for tower in towers:
        tower.micro_batch = rows


def _norm_of_micro_batches(method: nn.Module) -> str | None:
    """The name of a batch normalisation in training whose rows would be those of a micro-batch; None where there is none."""
    whole = [name for name, module in method.named_modules() if getattr(module, "sees_whole_batch", False)]
    method.train()
    for name, module in method.named_modules():
        is_norm = isinstance(module, BatchNorm | nn.modules.batchnorm._BatchNorm)
        if is_norm and module.training and not any(name.startswith(f"{place}.") for place in whole):
            return name
    return None
