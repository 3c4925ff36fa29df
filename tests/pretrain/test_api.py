"""`pretrain.load`: what other people's programs get, from what they may hand over."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pretrain
from mals.attributes import load_space
from mals.errors import UserError
from mals.images import decode_image
from pretrain.api import LoadedMethod
from pretrain.evaluate import open_gallery, predict_by_prompts
from pretrain.gallery import tokenize
from pretrain.release import release
from tests.conftest import environment
from tests.images_of_every_kind import write_images
from tests.pretrain.packs import pictures
from tests.pretrain.releases import released

SENTENCES = ["a woman in a red coat", "a man with a bag"]


@pytest.fixture(scope="module")
def folder(trainable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release and three images."""
    folder = tmp_path_factory.mktemp("loaded")
    release(str(released(folder / "out", trainable)), str(folder / "my-aptm"))
    pictures(folder, 3)
    return folder


@pytest.fixture(scope="module")
def files(folder: Path) -> list[Path]:
    return sorted((folder / "images").iterdir())


@pytest.fixture(scope="module")
def method(folder: Path) -> LoadedMethod:
    return pretrain.load(folder / "my-aptm")


def test_files_images_and_arrays_give_the_same_embeddings_of_length_one(method: LoadedMethod, files: list[Path]) -> None:
    embeddings = method.embed_image(files)
    opened = [Image.open(file) for file in files]
    arrays = [np.asarray(one.convert("RGB")) for one in opened]
    for others in (list(map(str, files)), opened, arrays, np.stack(arrays)):
        assert torch.equal(method.embed_image(others), embeddings)
    assert embeddings.shape == (3, 96) and embeddings.dtype == torch.float32 and embeddings.device.type == "cpu"
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(method.embed_text(SENTENCES).norm(dim=1), torch.ones(2))
    for alone in (files[0], str(files[0]), opened[0], arrays[0]):
        torch.testing.assert_close(method.embed_image(alone), embeddings[:1], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(method.embed_text(SENTENCES[0]), method.embed_text(SENTENCES)[:1], atol=1e-6, rtol=1e-5)


TURNED = ("exif_6.jpg", "exif_3.tif", "grey_16.png", "alpha.png", "cmyk.jpg", "adobe_rgb.png", "display_p3_exif_6.jpg")


def test_files_of_any_kind_are_embedded_as_they_are_to_be_seen(method: LoadedMethod, tmp_path: Path) -> None:
    """Upright, in 8 bits, on white, in sRGB: also where they come as PIL images."""
    write_images(tmp_path)
    paths = [tmp_path / name for name in TURNED]
    embeddings = method.embed_image([decode_image(path.read_bytes()) for path in paths])
    assert torch.equal(method.embed_image(paths), embeddings)
    assert torch.equal(method.embed_image([Image.open(path) for path in paths]), embeddings)


def test_batches_change_nothing(folder: Path, method: LoadedMethod, files: list[Path]) -> None:
    small = pretrain.load(str(folder / "my-aptm"), batch=2)
    torch.testing.assert_close(small.embed_image(files), method.embed_image(files), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(small.rerank(SENTENCES, files), method.rerank(SENTENCES, files), atol=1e-5, rtol=1e-4)
    assert [row["hat"][0] for row in small.attributes(files)] == [row["hat"][0] for row in method.attributes(files)]


def test_reranking_gives_the_cross_encoders_logit_of_each_sentence_and_image(method: LoadedMethod, files: list[Path]) -> None:
    logits, inner = method.rerank(SENTENCES, files), method.trained.method
    assert logits.shape == (2, 3) and method.rerank(SENTENCES[0], files[0]).shape == (1, 1)
    for row, sentence in enumerate(SENTENCES):
        text = tokenize(method.trained.tokenizer, [sentence])
        for column, file in enumerate(files):
            (images,) = method._image_batches(file)
            with torch.inference_mode():
                keys = inner.bert.project(inner.swin(images).tokens)
                alone = inner.match(inner.bert.text(text.ids, text.mask), text.mask, keys)[0, 1]
            assert float(logits[row, column]) == pytest.approx(float(alone), abs=1e-5)


def test_attributes_are_those_that_evaluation_recognises_with_a_score(method: LoadedMethod, trainable: Path) -> None:
    gallery = open_gallery(method.trained, [trainable], "train", "required").subset(torch.arange(3))
    space = load_space("market1501")
    prompts = tokenize(method.trained.tokenizer, [prompt for pair in space.prompts for prompt in pair])
    expected = predict_by_prompts(method.trained.method, gallery, prompts).tolist()
    files = [np.asarray(Image.open(io.BytesIO(gallery.dataset.image_bytes(int(row)))).convert("RGB")) for row in gallery.rows]
    predictions = method.attributes(files)
    assert [[space.classes[name].index(value) for name, (value, _) in row.items()] for row in predictions] == expected
    assert all(0.5 <= score <= 1 for row in predictions for _, score in row.values())
    assert list(method.attributes(files[0], "pa100k")[0]) == list(load_space("pa100k").names)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda method: method.embed_image([]), "there is no image: give at least one"),
        (lambda method: method.rerank("a man", []), "there is no image: give at least one"),
        (lambda method: method.embed_text([]), "there is no sentence: give at least one"),
        (lambda method: method.embed_text(["a man", " "]), "has no word"),
        (lambda method: method.embed_image("no/such.jpg"), r"no/such.jpg cannot be read as an image"),
        (lambda method: method.embed_image(Path(__file__)), r"test_api.py cannot be read as an image"),
        (lambda method: method.embed_image(np.zeros((4, 4))), r"image 0 is an array \(4, 4\) of float64"),
        (lambda method: method.attributes(np.zeros((2, 4, 4, 3))), r"image 0 is an array \(4, 4, 3\) of float64"),
        (lambda method: method.attributes(Image.new("RGB", (4, 8)), "nowhere"), "there is no attribute space nowhere"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(method: LoadedMethod, call, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call(method)


def test_a_plain_classifier_recognises_attributes_and_nothing_else(trainable: Path, tmp_path: Path, files: list[Path]) -> None:
    out = released(tmp_path / "out", trainable, aptm={"classifier": True})
    release(str(out), str(tmp_path / "classifier"))
    method = pretrain.load(tmp_path / "classifier")
    predictions = method.attributes(files)
    (images,) = method._image_batches(files)
    logits = method.trained.method.classify(images)
    classes = load_space("market1501").classes
    assert [[classes[name].index(value) for name, (value, _) in row.items()] for row in predictions] == (logits > 0).long().tolist()
    assert all(0.5 <= score <= 1 for row in predictions for _, score in row.values())
    for call in (lambda: method.embed_text("a man"), lambda: method.embed_image(files), lambda: method.rerank("a man", files)):
        with pytest.raises(UserError, match="this method is a plain classifier"):
            call()
    with pytest.raises(UserError, match="recognises the attributes of market1501 alone, not those of pa100k"):
        method.attributes(files, "pa100k")
    card = (tmp_path / "classifier/README.md").read_text()
    assert "with a plain classifier" in card and "embed_text" not in card and "rerank" not in card
    with pytest.raises(UserError, match="no towers for ONNX"):
        release(str(out), str(tmp_path / "onnx"), onnx=True)


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, pretrain; pretrain.load; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment(), timeout=60).returncode == 0
