"""Where a model runs, in which numbers, and how quietly its library loads it."""

import importlib
from typing import Any

from mals.config import Dtype


def device() -> str:
    """What torch calls the place of a model's weights: the GPU where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def dtype(name: Dtype) -> Any:
    """The torch.dtype that a setting names: the kind of number of a model's weights and of what it is given."""
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]


def hush(*libraries: str) -> None:
    """No progress bars and no advice from `transformers` or `diffusers`, whichever are named, in this process: a run has its own."""
    for library in libraries:
        log = importlib.import_module(f"{library}.utils.logging")
        log.set_verbosity_error()
        log.disable_progress_bar()
