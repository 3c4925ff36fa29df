"""A CLIP that open_clip saved as a scorer of mals: the same numbers, whole persons, clear refusals, no network."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from mals import models
from mals.errors import UserError
from mals.scorer import Scorer, load_scorer
from tests.small.open_clip_folder import MEAN, SIDE, STD, open_clip_folder

TEXTS = ["a woman in a red coat", "a man with a bag, in a long caption that no short text tower reads to its end " + "and so on " * 20]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return open_clip_folder(tmp_path_factory.mktemp("clip") / "small-clip")


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 96, 32, 3), np.uint8)
    return [Image.fromarray(image) for image in pixels]


def test_the_embeddings_are_open_clips_of_the_whole_image_and_the_text(folder: Path, images: list[Image.Image]) -> None:
    scorer = load_scorer(folder, device="cpu")
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    squashed = np.stack([np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for image in images])
    inputs = torch.tensor((squashed / 255 - np.array(MEAN)) / np.array(STD)).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = model.encode_image(inputs, normalize=True), model.encode_text(open_clip.tokenize(TEXTS, 24), normalize=True)
    assert isinstance(scorer, Scorer)
    np.testing.assert_allclose(scorer.embed_images(images), expected[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(scorer.embed_images([np.asarray(image) for image in images]), expected[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(scorer.embed_texts(TEXTS), expected[1].numpy(), atol=1e-5)
    np.testing.assert_allclose(scorer.match(TEXTS, images), expected[1].numpy() @ expected[0].numpy().T, atol=1e-5)
    assert np.linalg.norm(scorer.embed_images(images), axis=1) == pytest.approx(1)


def test_a_file_of_torch_is_read_as_safetensors_are(folder: Path, tmp_path: Path, images: list[Image.Image]) -> None:
    other = load_scorer(open_clip_folder(tmp_path / "clip", "open_clip_pytorch_model.bin"), device="cpu")
    assert np.array_equal(other.embed_images(images), load_scorer(folder, device="cpu").embed_images(images))


def test_without_weights_and_with_a_config_of_another_library_it_is_refused(tmp_path: Path) -> None:
    folder = open_clip_folder(tmp_path / "clip")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"embed_dim": 16}}))
    with pytest.raises(UserError, match=r"open_clip does not read the model in .*clip"):
        load_scorer(folder, device="cpu")
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no weights beside it: open_clip_model\.safetensors or open_clip_pytorch_model\.bin"):
        load_scorer(folder, device="cpu")


def test_a_malicious_file_of_weights_runs_nothing(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "harmed",))

    folder = open_clip_folder(tmp_path / "clip")
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({"visual.proj": Harmful()}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(UserError, match="open_clip does not read"):
        load_scorer(folder, device="cpu")
    assert not (tmp_path / "harmed").exists()


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = open_clip_folder(tmp_path / "clip")
    state = load_file(folder / "open_clip_model.safetensors")
    state["ln_final.weight"][0] = torch.nan
    save_file(state, folder / "open_clip_model.safetensors")
    with pytest.raises(UserError, match=r"ln_final\.weight are not finite"):
        load_scorer(folder, device="cpu")


def test_the_folder_is_a_model_in_the_role_of_a_scorer(folder: Path) -> None:
    assert models.resolve(str(folder), role="scorer").name == "small-clip"
