"""Weights of the denoiser in fewer bits, by torchao."""

from importlib.util import find_spec
from typing import Any

from mals import config as settings
from mals.errors import UserError
from mals.stages.speed import denoiser


def quantize_denoiser(pipeline: Any, generate: settings.Generate, device: str) -> None:
    """Make the weights of the denoiser's linear layers int8, one layer after the other, each on the device, where it stays.

    UserError where torchao is missing, or the denoiser has no linear layer.
    """
    if generate.quantize is None:
        return
    if find_spec("torchao") is None:
        raise UserError("generate.quantize needs the package torchao; pip install 'mals[quantize]', or leave generate.quantize out")
    import torch
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    network = denoiser(pipeline, "quantize")
    if not any(isinstance(module, torch.nn.Linear) for module in network.modules()):
        raise UserError(f"generate.quantize is set, but {type(network).__name__} has no linear layer; leave generate.quantize out")
    quantize_(network, Int8WeightOnlyConfig(), device=device)
