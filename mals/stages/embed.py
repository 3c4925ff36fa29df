"""Stage `embed`: what the stage `dedup` compares of each crop, a perceptual hash and an embedding.

    crop_phash        imagehash's 64-bit perceptual hash of the crop's luma; that of the filter is of the whole image
    image_embedding   numbers in 16 bits, little-endian: the embedding of `dedup.scorer`, or without one the thumbnail

The thumbnail is the crop reduced by area averaging to 8 x 16 pixels, as RGB; of each channel its mean is taken away, and the whole is
divided by its length. The cosine of two thumbnails is the correlation of their colours at the same places. An image of one colour has the
thumbnail zero, whose cosine with any is 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mals.config import Config
from mals.config import Dedup as Settings
from mals.grid.stage import Resources, output_batch
from mals.images import Pixels
from mals.stages.measures import luma, perceptual_hash
from mals.stages.row_images import read_images
from mals.stages.stage_scorer import StageScorer

THUMBNAIL = (8, 16)  # pixels, width and height
ADDS = pa.schema([("crop_phash", pa.uint64()), ("image_embedding", pa.binary())])


class Embedder:
    """Hashes and embeddings of images by the settings of `dedup`; also of the images of benchmarks."""

    def __init__(self, settings: Settings, threads: int):
        self.settings = settings
        self.scorer = StageScorer(settings, "dedup", threads) if settings.scorer is not None else None

    def params(self) -> dict[str, Any]:
        """What results depend on; raises ModelMissing."""
        if self.scorer is None:
            return {"thumbnail": list(THUMBNAIL)}
        model = self.scorer.model()
        return {"model": model.name, "revision": model.revision, "loader": self.settings.loader}

    def setup(self) -> None:
        """Load the scorer, or what thumbnails need."""
        import cv2  # noqa: F401 - loaded here, so that the threads of all libraries are set before work begins

        if self.scorer is not None:
            self.scorer.load()

    def embed(self, images: Sequence[Pixels]) -> NDArray[np.float16]:
        """Images [H, W, 3] -> embeddings [N, D] of length 1, or 0."""
        if self.scorer is not None:
            return np.asarray(self.scorer.embed_images(images), np.float16)
        return np.stack([thumbnail(pixels) for pixels in images]).astype(np.float16)


class Embed:
    """A perceptual hash and an embedding of every crop."""

    name = "embed"
    version = 1
    needs = ("crop",)
    adds = ADDS

    def __init__(self, settings: Settings, threads: int):
        self.embedder = Embedder(settings, threads)
        self.batch = settings.batch
        self.resources = Resources(gpus=1 if settings.scorer is not None else 0)

    def params(self) -> dict[str, Any]:
        return self.embedder.params()

    def setup(self) -> None:
        self.embedder.setup()

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        images = read_images(batch["crop"].to_pylist())
        hashes = [None if pixels is None else image_hash(pixels) for pixels in images.pixels]
        values = images.apply(lambda pixels: [embedding.tobytes() for embedding in self.embedder.embed(pixels)])
        return output_batch(ADDS, {"crop_phash": hashes, "image_embedding": values}, images.reject, images.errors)


def stage(config: Config) -> Embed:
    """The stage with the settings of `config`; loads nothing."""
    assert config.dedup is not None
    return Embed(config.dedup, config.run.threads)


def image_hash(pixels: Pixels) -> int:
    """The perceptual hash of an image [H, W, 3]."""
    import cv2

    return perceptual_hash(luma(cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA)))


def thumbnail(pixels: Pixels) -> NDArray[np.float32]:
    """The image [H, W, 3] as a vector [D] of length 1 or 0, see the module's docstring."""
    import cv2

    small = cv2.resize(pixels, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
    vector = (small - small.mean((0, 1))).reshape(-1)
    length = float(np.sqrt((vector.astype(np.float64) ** 2).sum()))
    return vector / np.float32(length) if length > 0 else vector
