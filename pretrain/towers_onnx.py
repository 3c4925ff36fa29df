"""The towers as ONNX, for search in programs without PyTorch: image.onnx and text.onnx, each compared with PyTorch before it is kept.

A method that compares images alone has no text.onnx.

Shapes: B images or texts, any number; L tokens, any number up to the positions of the text encoder; D width of the embeddings.
"""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mals.errors import UserError
from pretrain.method import Method, Text
from pretrain.trained_method import Trained

IMAGE, TEXT = "image.onnx", "text.onnx"
NEEDED = ("onnx", "onnxruntime", "onnxscript")  # the extra `onnx`
OPSET = 18
TOLERANCE = 1e-4  # the largest difference allowed in an element of an embedding of length 1


class ImageTower(nn.Module):
    """[B, 3, H, W] float32, normalised -> embeddings [B, D]."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> Tensor:
        return self.method.embed_image(images)


class TextTower(nn.Module):
    """Ids and mask [B, L] int64, the mask 1 for real tokens -> embeddings [B, D]."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.method.embed_text(Text(ids, mask))


def require() -> None:
    """UserError if the packages of the extra `onnx` are not installed."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(f"ONNX files need {' and '.join(missing)}, not installed here; `pip install 'mals[onnx]'` installs them")


def export(trained: Trained, folder: Path) -> dict[str, float]:
    """Write the towers into a folder; returns file name -> largest difference to PyTorch. UserError if one is above TOLERANCE."""
    require()
    if not {"embed", "identify"} & trained.method.abilities:
        raise UserError("a plain classifier computes no embeddings: it has no towers for ONNX")
    method, data = trained.method.float().cpu().eval(), trained.config.data
    longest = trained.tokenizer.max_tokens
    positions = method.positions or longest
    longest = min(positions, longest)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=positions)
    generator = torch.Generator().manual_seed(0)

    def images(count: int) -> dict[str, Tensor]:
        return {"images": torch.randn(count, 3, data.height, data.width, generator=generator)}

    def texts(count: int, tokens: int) -> dict[str, Tensor]:
        lengths = torch.randint(1, tokens + 1, (count, 1), generator=generator)
        ids = torch.randint(trained.tokenizer.size, (count, tokens), generator=generator)
        return {"ids": ids, "mask": (torch.arange(tokens) < lengths).long()}

    _write(ImageTower(method), images(2), {"images": {0: batch}}, folder / IMAGE)
    differences = {IMAGE: _largest_difference(ImageTower(method), [images(1), images(3)], folder / IMAGE)}
    if "embed" in method.abilities:
        _write(TextTower(method), texts(2, longest), {name: {0: batch, 1: length} for name in ("ids", "mask")}, folder / TEXT)
        examples = [texts(1, 2), texts(3, longest), texts(2, max(2, longest // 2))]
        differences[TEXT] = _largest_difference(TextTower(method), examples, folder / TEXT)
    return differences


def _write(tower: nn.Module, example: dict[str, Tensor], sizes: dict[str, Any], file: Path) -> None:
    """One file that includes the weights."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns about axes of one name
        torch.onnx.export(
            tower.eval(),
            kwargs=example,
            f=str(file),
            dynamo=True,
            input_names=list(example),
            output_names=["embeddings"],
            dynamic_shapes=sizes,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )


def _largest_difference(tower: nn.Module, examples: list[dict[str, Tensor]], file: Path) -> float:
    """The largest difference between the embeddings of onnxruntime and PyTorch over some inputs; UserError if above TOLERANCE."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    largest = 0.0
    for example in examples:
        (exported,) = session.run(None, {name: value.numpy() for name, value in example.items()})
        with torch.no_grad():
            expected = tower(**example).numpy()
        largest = max(largest, float(np.abs(exported - expected).max()))
    if not largest <= TOLERANCE:
        raise UserError(f"{file.name} differs by {largest:.1g} from the method, where {TOLERANCE:g} is allowed; it is not released")
    return largest
