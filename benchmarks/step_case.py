"""What `benchmarks.step` measures of a method; the module `benchmarks.step_METHOD` has it as `case(preset, dtype, compiled, rows)`."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn, optim

from pretrain.config import Training
from pretrain.data.tokenizers import Tokenizer
from pretrain.method import Batch, Method


@dataclass(frozen=True)
class Case:
    """A method with random weights and one batch."""

    config: Training
    method: Method
    batch: Batch
    published: nn.Module  # the same losses of the same parameters, with the work done as often as in the authors' code
    published_optimizer: optim.Optimizer
    tokenizer: Tokenizer
    another: Callable[[int, int], Batch]  # a batch by a seed and the words or tokens of its longest caption
