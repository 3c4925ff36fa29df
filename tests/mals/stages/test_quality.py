from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from mals import settings
from mals.config import Config, stage_names
from mals.dataset.card import licence_chain
from mals.errors import ModelMissing, UserError
from mals.models import required_models
from mals.stages.quality import Quality, stage
from tests.fakes import png
from tests.small.diffusion import build_classifier


@pytest.fixture(scope="module")
def watermark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return build_classifier(tmp_path_factory.mktemp("models") / "watermarks", labels=("clean", "Watermark"))


@pytest.fixture(scope="module")
def aesthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_classifier(tmp_path_factory.mktemp("models") / "beauty", labels=("score",), seed=1)


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    random = np.random.default_rng(0)
    levels = [random.normal(random.uniform(0, 255, 3), random.uniform(0, 120), (64, 32, 3)) for _ in range(12)]
    return [Image.fromarray(level.clip(0, 255).astype(np.uint8)) for level in levels]


def rows_of(images: list[Image.Image]) -> pa.RecordBatch:
    return pa.record_batch({"crop": pa.array([png(np.asarray(image)) for image in images], pa.binary())})


def configured(**scorers: Any) -> Config:
    return settings.check({"quality": scorers})


def ready(**scorers: Any) -> Quality:
    quality = stage(configured(**scorers))
    quality.setup()
    return quality


def test_a_run_without_such_a_model_has_no_such_stage_and_names_no_model() -> None:
    config = settings.check({})
    assert "quality" not in stage_names(config)
    assert not [need for need in required_models(config) if need.key.startswith("quality")]


def test_with_a_model_the_stage_is_between_crop_and_caption_and_the_model_is_one_of_the_runs(watermark: Path) -> None:
    config = configured(watermark={"model": str(watermark), "label": "watermark"})
    assert stage_names(config)[3:6] == ["crop", "quality", "caption"]
    assert [need.key for need in required_models(config)][-2:] == ["quality.watermark.model", "caption.captioners.0.model"]
    assert ("scores of watermarks and text", "watermarks") in [(part.output, part.model) for part in licence_chain(config)]


def test_a_classifiers_score_is_the_probability_of_its_label_and_over_the_threshold_it_refuses(
    watermark: Path, images: list[Image.Image]
) -> None:
    from transformers import pipeline

    judge: Any = pipeline("image-classification", model=str(watermark), device="cpu")
    expected = [next(entry["score"] for entry in entries if entry["label"] == "Watermark") for entries in judge(images)]
    middle = float(np.median(expected))
    rows = ready(watermark={"model": str(watermark), "label": "watermark", "threshold": middle})(rows_of(images)).to_pylist()
    np.testing.assert_allclose([row["watermark_score"] for row in rows], expected, atol=1e-5)
    assert [row["reject"] for row in rows] == [["watermark"] if row["watermark_score"] > middle else [] for row in rows]
    assert 0 < sum(bool(row["reject"]) for row in rows) < len(rows)
    assert "aesthetic_score" not in rows[0]


def test_a_regressors_score_is_its_output_and_under_the_threshold_it_refuses(aesthetic: Path, images: list[Image.Image]) -> None:
    from transformers import ViTForImageClassification, ViTImageProcessor

    network: Any = ViTForImageClassification.from_pretrained(aesthetic)
    inputs = ViTImageProcessor.from_pretrained(aesthetic)(images=images, return_tensors="pt")
    with torch.inference_mode():
        expected = network(**inputs).logits[:, 0].numpy()
    middle = float(np.median(expected))
    rows = ready(aesthetic={"model": str(aesthetic), "threshold": middle})(rows_of(images)).to_pylist()
    np.testing.assert_allclose([row["aesthetic_score"] for row in rows], expected, rtol=1e-4, atol=1e-4)
    assert [row["reject"] for row in rows] == [["unaesthetic"] if row["aesthetic_score"] < middle else [] for row in rows]
    assert 0 < sum(bool(row["reject"]) for row in rows) < len(rows)


def test_without_thresholds_scores_are_stored_and_nothing_is_refused(watermark: Path, aesthetic: Path, images: list[Image.Image]) -> None:
    both = ready(watermark={"model": str(watermark), "label": "watermark"}, aesthetic={"model": str(aesthetic)})
    rows = both(rows_of(images)).to_pylist()
    assert both.adds.names == ["watermark_score", "aesthetic_score"]
    assert all(row["watermark_score"] is not None and row["aesthetic_score"] is not None and row["reject"] == [] for row in rows)


def test_all_reasons_are_listed_and_an_unreadable_crop_fails_alone(watermark: Path, aesthetic: Path, images: list[Image.Image]) -> None:
    both = ready(
        watermark={"model": str(watermark), "label": "watermark", "threshold": -1.0},
        aesthetic={"model": str(aesthetic), "threshold": 1e9},
    )
    good = rows_of(images[:2])["crop"].to_pylist()
    rows = both(pa.record_batch({"crop": pa.array([good[0], b"broken", good[1]], pa.binary())})).to_pylist()
    assert [row["reject"] for row in rows] == [["watermark", "unaesthetic"], [], ["watermark", "unaesthetic"]]
    assert rows[1]["error"].startswith("BadImage") and rows[1]["watermark_score"] is None
    assert rows[0]["watermark_score"] == both(rows_of(images[:3])).to_pylist()[0]["watermark_score"]


@pytest.mark.parametrize(
    ("model", "label", "words"),
    [
        ("watermark", "text", r"quality\.watermark\.label = 'text': watermarks has the labels clean, Watermark"),
        ("watermark", None, r"quality\.watermark\.label is needed: watermarks has the labels clean, Watermark"),
        ("aesthetic", "score", r"quality\.watermark\.label = 'score' has no effect: beauty has one output"),
    ],
)
def test_a_label_that_does_not_fit_the_model_is_refused(model: str, label: str | None, words: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(UserError, match=words):
        ready(watermark={"model": str(request.getfixturevalue(model)), "label": label})


def test_a_model_of_another_kind_and_a_missing_one_are_refused(watermark: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"architectures": ["BertForMaskedLM"]}')
    (tmp_path / "other" / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(UserError, match=r"quality\.aesthetic\.model = other is no image classifier of transformers"):
        ready(aesthetic={"model": str(tmp_path / "other")})
    with pytest.raises(ModelMissing, match=r"--set quality\.aesthetic\.model=DIR"):
        stage(configured(aesthetic={"model": "/no/such/model"})).params()
    with pytest.raises(UserError, match=r"there is no embedded model for quality\.watermark\.model"):
        stage(configured(watermark={"model": "embedded"})).params()


def test_each_setting_but_the_batch_changes_the_fingerprint(watermark: Path) -> None:
    plain = {"model": str(watermark), "label": "watermark"}
    first = stage(configured(watermark=plain)).params()
    assert stage(configured(watermark=plain, batch=3)).params() == first
    assert stage(configured(watermark=plain | {"threshold": 0.5})).params() != first
    assert str(watermark.parent) not in str(first)
