"""Trained methods of `pretrain`, and CLIPs that open_clip saved, as scorers of mals (`mals.scorer`), which loads them by `load_scorer`.

Shapes: T texts, N images, D width of the embeddings.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mals.errors import UserError
from mals.scorer import RgbImage, Scorer
from pretrain import open_clip_scorer
from pretrain.api import LoadedMethod, load


class MethodScorer:
    """A trained method as a `mals.scorer.Scorer`."""

    def __init__(self, method: LoadedMethod) -> None:
        self.method = method

    def embed_images(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Embeddings [N, D] of length 1."""
        return self.method.embed_image(list(images)).numpy()

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings [T, D] of length 1."""
        return self.method.embed_text(list(texts)).numpy()

    def match(self, texts: Sequence[str], images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Scores [T, N]: matching logits of the cross encoder, or cosines if the method has none."""
        if "match" in self.method.trained.method.abilities:
            return self.method.rerank(list(texts), list(images)).numpy()
        return self.embed_texts(texts) @ self.embed_images(images).T


def load_scorer(target: str, device: str = "auto", batch: int = 64) -> Scorer:
    """The scorer of a release, a training, hf://OWNER/NAME, weights alone, or a folder that open_clip saved.

    `device` "auto" is a GPU if there is one; `batch` images are computed together. Raises UserError if there is no method at that place, or
    if it computes no embeddings.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = Path(target).expanduser()
    if (folder / open_clip_scorer.CONFIG).is_file():
        return open_clip_scorer.load(folder, device, batch)
    method = load(target, device, batch)
    if "embed" not in method.trained.method.abilities:
        raise UserError(f"the method {target} computes no embeddings, so it cannot score images by texts")
    return MethodScorer(method)
