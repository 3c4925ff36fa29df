"""A trained method as the scorer that mals loads by name."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pretrain
from mals.errors import UserError
from mals.scorer import Scorer, load_scorer
from tests.conftest import environment
from tests.pretrain.packs import pictures
from tests.pretrain.releases import released

TEXTS = ["a woman in a red coat", "a man with a bag"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Image.Image]:
    folder = tmp_path_factory.mktemp("images")
    return [Image.open(folder / "images" / name) for name in pictures(folder, 3)]


def test_a_trained_method_is_a_scorer_with_the_embeddings_and_logits_of_the_python_api(out: Path, images: list[Image.Image]) -> None:
    scorer, method = load_scorer(out, device="cpu"), pretrain.load(out)
    assert isinstance(scorer, Scorer)
    for numbers, expected in (
        (scorer.embed_images(images), method.embed_image(images)),
        (scorer.embed_images([np.asarray(image.convert("RGB")) for image in images]), method.embed_image(images)),
        (scorer.embed_texts(TEXTS), method.embed_text(TEXTS)),
        (scorer.match(TEXTS, images), method.rerank(TEXTS, images)),
    ):
        assert numbers.dtype == np.float32 and np.array_equal(numbers, expected.numpy())


def test_without_a_cross_encoder_the_scores_are_cosines(trainable: Path, tmp_path: Path, images: list[Image.Image]) -> None:
    weights = {"itc": 1.0, "itm": 0.0, "mlm": 0.0, "iac": 1.0, "iam": 0.0, "mam": 0.0}
    scorer = load_scorer(released(tmp_path / "out", trainable, aptm={"loss_weights": weights}), device="cpu")
    scores = scorer.match(TEXTS, images)
    assert scores.shape == (2, 3) and np.array_equal(scores, scorer.embed_texts(TEXTS) @ scorer.embed_images(images).T)


def test_a_plain_classifier_is_refused(trainable: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="computes no embeddings"):
        load_scorer(released(tmp_path / "out", trainable, aptm={"classifier": True}), device="cpu")


def test_mals_loads_no_torch_and_no_pretrain_before_a_scorer_is_loaded() -> None:
    code = "import sys, mals.scorer; sys.exit('torch' in sys.modules or 'pretrain' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment(), timeout=60).returncode == 0
