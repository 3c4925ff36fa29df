"""Packed rows."""

import io

import numpy as np
import pytest
from PIL import Image

from mals.dataset.rows import published, without_folders
from mals.dataset.xmp import with_xmp
from mals.grid.cells import Damaged
from mals.origin import SOURCE_TYPES
from tests.small.cells import small_jpeg
from tests.small.photographs import SERIAL, photograph


def test_messages_lose_their_folders_and_nothing_else() -> None:
    assert without_folders("cannot open '/a/b/c.png': No such file") == "cannot open 'c.png': No such file"
    assert without_folders("see https://example.org/a/b and a/b/c, 3/4") == "see https://example.org/a/b and a/b/c, 3/4"


@pytest.mark.parametrize("origin", [*SOURCE_TYPES, "original", None])
def test_of_the_metadata_of_a_file_nothing_is_published_but_the_mark(origin: str | None) -> None:
    file = photograph("row-000001") + b"bytes after the end"
    bare = published(file, origin)
    assert SERIAL in file and not any(part in bare for part in (SERIAL, b"Exif", b"Camera", b"after the end"))
    assert (b"digitalsourcetype" in bare) == (origin in SOURCE_TYPES)
    with Image.open(io.BytesIO(file)) as before, Image.open(io.BytesIO(bare)) as after:
        assert np.array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.parametrize("source_type", SOURCE_TYPES.values())
def test_a_file_that_is_marked_stays_marked_where_nothing_else_is_known_of_it(source_type: str) -> None:
    marked = with_xmp(photograph("row-000001"), source_type)
    assert f'{source_type}"'.encode() in published(marked, None)
    assert b"digitalsourcetype" not in published(marked, "original"), "what the stage says goes before"


def test_a_crop_of_mals_is_published_as_it_is() -> None:
    crop = small_jpeg("some", 24, 64)
    assert published(crop, "original") == crop


@pytest.mark.parametrize("crop", [b"", b"\x89PNG\r\n", small_jpeg("some", 24, 64)[:300]])
def test_a_crop_that_is_no_whole_jpeg_is_not_published(crop: bytes) -> None:
    with pytest.raises(Damaged, match="not a whole JPEG"):
        published(crop, "generated")
