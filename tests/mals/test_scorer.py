"""Scorers: the protocol, and loading one by name."""

import numpy as np
import pytest
from PIL import Image

from mals.errors import UserError
from mals.scorer import Scorer, load_scorer


class ColorScorer:
    """Compares the mean color of an image with the color that a text names."""

    COLORS = ("red", "green", "blue")

    def embed_images(self, images):
        means = np.stack([np.asarray(image, np.float32).mean((0, 1)) for image in images])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def embed_texts(self, texts):
        return np.stack([np.array([color in text for color in self.COLORS], np.float32) for text in texts])

    def match(self, texts, images):
        return self.embed_texts(texts) @ self.embed_images(images).T


def load_color_scorer(target: str, device: str) -> Scorer:
    assert (target, device) == ("colors", "cpu")
    return ColorScorer()


def load_nothing(target: str, device: str) -> None:
    return None


def test_a_scorer_is_loaded_by_name_and_matches_texts_with_images() -> None:
    scorer = load_scorer("colors", "tests.mals.test_scorer:load_color_scorer", device="cpu")
    images = [Image.new("RGB", (4, 8), color) for color in ("blue", "red")]
    assert scorer.match(["a red coat", "a blue coat"], images).tolist() == [[0, 1], [1, 0]]
    assert np.linalg.norm(scorer.embed_images([*images, np.full((8, 4, 3), 9, np.uint8)]), axis=1) == pytest.approx(1)


def test_a_loader_that_is_missing_or_returns_no_scorer_is_refused() -> None:
    with pytest.raises(UserError, match=r"search\.scorer = 'no_such:thing' cannot be imported"):
        load_scorer("colors", "no_such:thing", setting="search.scorer")
    with pytest.raises(UserError, match="returned a NoneType"):
        load_scorer("colors", "tests.mals.test_scorer:load_nothing")
