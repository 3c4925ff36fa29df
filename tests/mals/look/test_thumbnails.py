"""Images as a browser gets them."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from mals.look.folder_source import FolderSource
from mals.look.thumbnails import PLAIN, SIDE, Thumbnails, thumbnail, whole
from tests.images_of_every_kind import images


def test_every_kind_of_image_becomes_a_small_upright_jpeg() -> None:
    for name, (data, _) in images().items():
        small = thumbnail(data)
        if small is not None:
            with Image.open(BytesIO(small)) as image:
                assert image.format == "JPEG" and (len(data) <= PLAIN or max(image.size) <= SIDE), name
    data, expected = images()["exif_6.jpg"]
    with Image.open(BytesIO(whole(data) or b"")) as image:
        assert image.size == expected.size


def test_what_is_no_image_has_no_thumbnail() -> None:
    assert thumbnail(b"<svg onload=alert(1)>") is None and whole(b"") is None and thumbnail(b"\xff\xd8\xff\xe0 torn") is None


def test_thumbnails_are_kept_and_made_from_the_row(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 400, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    thumbnails = Thumbnails(FolderSource(str(tmp_path)))
    first = thumbnails.get(0)
    (tmp_path / "a.png").unlink()
    assert first is not None and thumbnails.get(0) == first
    with Image.open(BytesIO(first)) as image:
        assert image.size == (128, 288)
