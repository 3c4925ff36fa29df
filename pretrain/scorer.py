"""Trained methods of `pretrain` as scorers of mals, see `mals.scorer`: stages and pages of mals load them by the name of `load_scorer`.

Shapes: T texts, N images, D width of the embeddings.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mals.errors import UserError
from mals.scorer import RgbImage
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


def load_scorer(target: str, device: str = "auto", batch: int = 64) -> MethodScorer:
    """The scorer of a release, a training or hf://OWNER/NAME; `device` "auto" is a GPU if there is one.

    Raises UserError if there is no method at that place, or if it computes no embeddings.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    method = load(target, device, batch)
    if "embed" not in method.trained.method.abilities:
        raise UserError(f"the method {target} computes no embeddings, so it cannot score images by texts")
    return MethodScorer(method)
