"""The device and the number format of models, and quiet loading."""

import importlib
import logging
from typing import Any

from mals.config import Dtype


def device() -> str:
    """The torch device of models: "cuda" where there is a GPU, or "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def dtype(name: Dtype) -> Any:
    """The torch.dtype of a setting, for the weights of a model and its inputs."""
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]


def hush(*libraries: str) -> None:
    """Turn off the progress bars and warnings of `transformers` or `diffusers` in this process, where a run shows its own progress.

    Before anything else of diffusers is imported: it imports torchao where that is installed, of which it and torch warn.
    """
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    for library in libraries:
        log = importlib.import_module(f"{library}.utils.logging")
        log.set_verbosity_error()
        log.disable_progress_bar()
