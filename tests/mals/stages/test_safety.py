import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from mals import settings
from mals.config import Config
from mals.errors import UserError
from mals.stages.safety import Safety, stage
from tests.fakes import png
from tests.small import diffusion
from tests.small.spoiled import spoiled


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion.build_safety_checker(tmp_path_factory.mktemp("models") / "checker")


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion.build_classifier(tmp_path_factory.mktemp("models") / "classifier")


@pytest.fixture(scope="session")
def images() -> list[Image.Image]:
    """24 images, different enough for a random model to tell apart."""
    images = []
    for seed in range(24):
        random = np.random.default_rng(seed)
        levels = random.normal(random.uniform(0, 255, 3), random.uniform(0, 120), (64, 32, 3)).clip(0, 255).astype(np.uint8)
        images.append(Image.fromarray(levels))
    return images


def encoded(images: list[Image.Image]) -> pa.RecordBatch:
    return pa.record_batch({"image": pa.array([png(np.asarray(image)) for image in images], pa.binary())})


def configured(model: Path | None, **changes: Any) -> Config:
    return settings.check({"safety": {"model": str(model) if model else None, **changes}})


def ready(model: Path | None, **changes: Any) -> Safety:
    safety = stage(configured(model, **changes))
    safety.setup()
    return safety


def test_without_a_model_every_row_passes_with_no_score_and_no_gpu(images: list[Image.Image]) -> None:
    safety = ready(None)
    assert safety.resources.gpus == 0 and safety.params() == {"model": None}
    rows = safety(encoded(images)).to_pylist()
    assert rows == [{"nsfw_score": None, "reject": None, "error": None}] * len(images)


def test_at_threshold_0_the_checker_refuses_exactly_what_its_own_forward_would_blank(checker: Path, images: list[Image.Image]) -> None:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    own: Any = StableDiffusionSafetyChecker.from_pretrained(checker)
    inputs = CLIPImageProcessor.from_pretrained(checker)(images=images, return_tensors="pt")
    _, blanked = own(clip_input=inputs.pixel_values, images=np.ones((len(images), 8, 8, 3)))
    rows = ready(checker, threshold=0.0)(encoded(images)).to_pylist()
    assert [row["reject"] == ["unsafe"] for row in rows] == blanked
    assert True in blanked and False in blanked
    assert all((row["nsfw_score"] > 0) == blank for row, blank in zip(rows, blanked, strict=True))


def test_a_special_care_concept_lowers_every_threshold_by_a_hundredth(tmp_path: Path, images: list[Image.Image]) -> None:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    scores = {}
    for name, threshold in (("never", 2.0), ("always", -2.0)):
        folder = diffusion.build_safety_checker(tmp_path / name)
        own: Any = StableDiffusionSafetyChecker.from_pretrained(folder)
        own.special_care_embeds_weights.data.fill_(threshold)
        own.save_pretrained(folder)
        scores[name] = ready(folder)(encoded(images))["nsfw_score"].to_numpy()
    np.testing.assert_allclose(scores["always"] - scores["never"], 0.01, atol=1.1e-3)  # both are rounded to three places


def test_a_checker_inside_a_pipelines_folder_brings_its_own_image_size(tmp_path: Path, images: list[Image.Image]) -> None:
    folder = diffusion.build_stable_diffusion(tmp_path / "sd") / "safety_checker"
    rows = ready(folder, threshold=0.0)(encoded(images)).to_pylist()
    assert {row["reject"][0] for row in rows} == {"unsafe"}


def test_a_classifiers_score_is_the_probability_of_the_label(classifier: Path, images: list[Image.Image]) -> None:
    from transformers import pipeline

    judge: Any = pipeline("image-classification", model=str(classifier), device="cpu")
    expected = [next(entry["score"] for entry in entries if entry["label"] == "nsfw") for entries in judge(images)]
    middle = float(np.median(expected))
    rows = ready(classifier, label="NSFW", threshold=middle)(encoded(images)).to_pylist()
    np.testing.assert_allclose([row["nsfw_score"] for row in rows], expected, atol=1e-5)
    refused = [row["reject"] == ["unsafe"] for row in rows]
    assert 0 < sum(refused) < len(rows)
    assert refused == [row["nsfw_score"] > middle for row in rows]


def test_a_score_does_not_depend_on_the_rows_around_it(classifier: Path, images: list[Image.Image]) -> None:
    safety = ready(classifier)
    first = safety(encoded(images[:4]))["nsfw_score"].to_pylist()
    other = safety(encoded([images[0], *images[9:12]]))["nsfw_score"].to_pylist()
    assert first[0] == other[0] and first[1] != other[1]


def test_a_label_that_the_classifier_does_not_have_is_refused_with_its_labels(classifier: Path) -> None:
    with pytest.raises(UserError, match=r"safety.label = 'porn': classifier has the labels normal, nsfw"):
        ready(classifier, label="porn")


def test_a_model_of_another_kind_is_refused(tmp_path: Path, classifier: Path) -> None:
    import shutil

    shutil.copytree(classifier, tmp_path / "bert")
    config = json.loads((tmp_path / "bert" / "config.json").read_text())
    (tmp_path / "bert" / "config.json").write_text(json.dumps(config | {"architectures": ["BertForMaskedLM"]}))
    with pytest.raises(UserError, match="bert is neither a StableDiffusionSafetyChecker nor an image classifier"):
        ready(tmp_path / "bert")


@pytest.mark.parametrize("kind", ["checker", "classifier"])
def test_weights_that_are_not_finite_are_refused_with_the_tensor(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    name = spoiled(request.getfixturevalue(kind), tmp_path / "bad")
    with pytest.raises(UserError, match=rf"bad: 1 of the [\d,]+ numbers of {name} are not finite"):
        ready(tmp_path / "bad")


@pytest.mark.parametrize("kind", ["checker", "classifier"])
def test_an_image_that_cannot_be_read_fails_its_row_alone(kind: str, images: list[Image.Image], request: pytest.FixtureRequest) -> None:
    safety = ready(request.getfixturevalue(kind))
    good = encoded(images[:3])["image"].to_pylist()
    rows = safety(pa.record_batch({"image": pa.array([b"broken", *good[1:]], pa.binary())})).to_pylist()
    assert rows[0] == {
        "nsfw_score": None,
        "reject": None,
        "error": "BadImage: cannot read the image: the file is no image of a kind that is read",
    }
    assert [row["error"] for row in rows[1:]] == [None, None]
    alone = safety(pa.record_batch({"image": pa.array([b"broken"], pa.binary())})).to_pylist()
    assert alone[0]["error"] == rows[0]["error"]


def test_the_stage_gives_scores_and_never_an_image(checker: Path, images: list[Image.Image]) -> None:
    rows = encoded(images)
    before = rows["image"].to_pylist()
    answer = ready(checker, threshold=-2.0)(rows)
    assert answer.schema.names == ["nsfw_score", "reject", "error"]
    assert answer["reject"].to_pylist() == [["unsafe"]] * len(images)
    assert rows["image"].to_pylist() == before


def test_the_threshold_and_the_model_change_the_fingerprints_parameters(checker: Path, classifier: Path) -> None:
    params = [
        stage(configured(model, **changes)).params()
        for model, changes in ((checker, {}), (checker, {"threshold": 0.0}), (classifier, {}), (classifier, {"label": "normal"}))
    ]
    assert len({json.dumps(entry, sort_keys=True) for entry in params}) == 4
    assert stage(configured(checker, batch=3)).params() == params[0]
