"""The trained method by which a stage compares images, or images with texts: `scorer`, `revision` and `loader` of its settings."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mals import models
from mals.config import LOADER, Agree, Dedup, Identity
from mals.errors import ModelMissing, UserError
from mals.grid.worker import limit_threads
from mals.scorer import RgbImage, Scorer, load_scorer


class StageScorer:
    """The scorer of one section of the settings, which must name one; loaded when it is first used."""

    def __init__(self, settings: Agree | Identity | Dedup, section: str, threads: int):
        """`section` is the name of the settings, for messages; `threads` are the run's."""
        self.settings, self.section, self.threads = settings, section, threads
        self._scorer: Scorer | None = None

    def model(self) -> models.ResolvedModel:
        """The scorer on this machine; what a loader of one's own reads is known by its name and the revision of the settings.

        Raises ModelMissing, which names the setting.
        """
        scorer, revision = self.settings.scorer, self.settings.revision
        assert scorer is not None
        if self.settings.loader != LOADER:
            return models.ResolvedModel(scorer.rstrip("/").rsplit("/", 1)[-1], scorer, revision or "not stated")
        try:
            return models.resolve(scorer, revision, "scorer")
        except ModelMissing as error:
            raise ModelMissing(str(error).replace(models.SETTING["scorer"], f"{self.section}.scorer")) from None

    def load(self) -> Scorer:
        if self._scorer is None:
            self._scorer = load_scorer(self.model().path, self.settings.loader, setting=f"{self.section}.loader")
            limit_threads(self.threads)  # of libraries that were imported just now: a summary is made before any other stage is set up
        return self._scorer

    def embed_images(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """N images -> embeddings [N, D] of length 1; UserError where the scorer returns something else than `mals.scorer.Scorer` says."""
        return self._checked(self.load().embed_images(images), len(images), "embed_images")

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """N texts -> embeddings [N, D] of length 1; UserError as `embed_images`."""
        return self._checked(self.load().embed_texts(texts), len(texts), "embed_texts")

    def _checked(self, embeddings: NDArray[np.float32], count: int, name: str) -> NDArray[np.float32]:
        if embeddings.ndim != 2 or len(embeddings) != count:
            raise UserError(
                f"the scorer {self.settings.scorer}: {name} returned the shape {embeddings.shape} for {count}, not [{count}, D]"
            )
        if not np.isfinite(embeddings).all():
            raise UserError(f"the scorer {self.settings.scorer}: {name} returned numbers that are not finite")
        return embeddings
