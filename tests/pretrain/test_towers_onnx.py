"""ONNX files of the towers: what onnxruntime makes of them is what PyTorch does, for any number of rows and tokens."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import pretrain
from mals.errors import UserError
from pretrain import towers_onnx
from pretrain.gallery import tokenize
from pretrain.release import release
from tests.pretrain.packs import pictures


def test_a_release_with_onnx_embeds_as_pytorch_does(out: Path, tmp_path: Path) -> None:
    report = release(str(out), str(tmp_path / "to"), onnx=True)
    assert {"image.onnx", "text.onnx"} <= {file.path for file in report.files} and max(report.onnx.values()) <= 1e-4
    card = (tmp_path / "to/README.md").read_text()
    assert "## ONNX" in card and "\n- onnx\n" in card
    method = pretrain.load(tmp_path / "to")
    files = [tmp_path / "images" / name for name in pictures(tmp_path, 5)]
    image, text = (onnxruntime.InferenceSession(tmp_path / "to" / name) for name in ("image.onnx", "text.onnx"))
    (images,) = method._image_batches(files)
    np.testing.assert_allclose(image.run(None, {"images": images.numpy()})[0], method.embed_image(files), atol=1e-4)
    for sentences in (["a man"], ["a woman in a red coat with a black bag", "a man", "someone in blue"]):
        tokens = tokenize(method.trained.tokenizer, sentences)
        embeddings = text.run(None, {"ids": tokens.ids.numpy(), "mask": tokens.mask.long().numpy()})[0]
        np.testing.assert_allclose(embeddings, method.embed_text(sentences), atol=1e-4)


def test_a_tower_that_differs_is_not_released(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(tower: torch.nn.Module, example: object, sizes: object, file: Path) -> None:
        """Writes no file at all."""

    class Session:
        def __init__(self, file: str, providers: list[str]) -> None:
            """Whatever the file holds."""

        def run(self, names: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [np.zeros((len(next(iter(inputs.values()))), 96), np.float32)]

    monkeypatch.setattr(towers_onnx, "_write", other)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    with pytest.raises(UserError, match=r"image.onnx differs by .* where 0.0001 is allowed; it is not released"):
        release(str(out), str(tmp_path / "to"), onnx=True)
    assert not (tmp_path / "to").exists()


def test_without_the_packages_it_is_one_sentence(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towers_onnx, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(UserError, match=r"ONNX files need onnxscript, not installed here; `pip install 'mals\[onnx\]'`"):
        release(str(out), str(tmp_path / "to"), onnx=True)
