"""How stages and pages use a trained method that compares texts with images, without importing the package that trained it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mals.config import LOADER
from mals.errors import UserError
from mals.plugins import load_object

RgbImage = Image.Image | NDArray[np.uint8]  # a PIL image of any mode, or RGB pixels [H, W, 3]


@runtime_checkable
class Scorer(Protocol):
    """A trained method that embeds images and texts in one space of D dimensions; all numbers are float32."""

    def embed_images(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """N images -> embeddings [N, D] of length 1."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """N texts -> embeddings [N, D] of length 1."""
        ...

    def match(self, texts: Sequence[str], images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """T texts and N images -> scores [T, N]: the higher, the better does the text describe the image.

        At least the cosine of the embeddings; a method with a matching head answers with that head, whose scale is its own.
        """
        ...


def load_scorer(target: str | Path, loader: str = LOADER, *, device: str = "auto", setting: str = "scorer") -> Scorer:
    """The scorer of a trained method: `target` is what its loader reads, a folder of a training or release, or a hub id.

    `loader` names a function `(target, device=...) -> Scorer` as "my_package.my_module:my_function", and `setting` the option that held
    this name, for messages. `device` is "cpu", "cuda", or "auto" for a GPU where there is one. Raises UserError where the loader cannot be
    imported, returns something else than a Scorer, or refuses the target.
    """
    load: Callable[..., object] = load_object(loader, setting)
    scorer = load(str(target), device=device)
    if not isinstance(scorer, Scorer):
        raise UserError(f"{setting} = {loader!r} returned a {type(scorer).__name__}, which has not the methods of mals.scorer.Scorer")
    return scorer
