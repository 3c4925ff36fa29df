import ast
import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from benchmarks.images import encoded, photograph
from mals.images import BadImage, Decoder, decode_image, image_size
from tests.images_of_every_kind import images


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_eight_orientations_are_upright(kind: str) -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = encoded(photograph(1, 24, 16), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
        with Image.open(BytesIO(file)) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        assert np.array_equal(decode_image(file), expected)
        assert np.array_equal(Decoder()(file), expected)
        assert image_size(file) == (expected.shape[1], expected.shape[0])


def test_a_bad_image_keeps_its_reason_through_pickling() -> None:
    error = pickle.loads(pickle.dumps(BadImage("damaged_image", "it ends too early")))
    assert (type(error), error.reason, str(error)) == (BadImage, "damaged_image", "it ends too early")


IMAGES = images()
ROOT = Path(__file__).parents[2]
DECODERS = {"imdecode", "imread", "decode_jpeg", "decode_jpeg_header", "read_image", "pil_loader", "Parser"}
MEASURED = {"benchmarks/filter.py", "benchmarks/loader.py"}  # compare the speed of several decoders
OWN = {"benchmarks/screenshots.py"}  # reads what the browser drew


def decodes(node: ast.AST) -> bool:
    """Whether a call decodes an image file."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    of_pillow = node.func.attr == "open" and ast.unparse(node.func.value).split(".")[-1] == "Image"
    return of_pillow or node.func.attr in DECODERS


def test_images_are_decoded_in_one_place() -> None:
    files = [file for folder in ("mals", "pretrain", "cli", "benchmarks") for file in sorted((ROOT / folder).rglob("*.py"))]
    places = {str(file.relative_to(ROOT)) for file in files if any(map(decodes, ast.walk(ast.parse(file.read_text("utf-8")))))}
    assert places == {"mals/images.py", *MEASURED, *OWN}


@pytest.mark.parametrize("name", IMAGES)
def test_every_kind_of_file_becomes_what_a_person_would_say(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    data, expected = IMAGES[name]
    if expected.reason is None:
        pixels = decode_image(data)
        assert expected.differences(pixels) == []
        assert pixels.flags.writeable and image_size(data) == expected.size
        assert np.array_equal(Decoder()(data), pixels)
    else:
        for decode in (decode_image, Decoder()):
            with pytest.raises(BadImage) as caught:
                decode(data)
            assert caught.value.reason == expected.reason, caught.value
            assert " at 0x" not in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
