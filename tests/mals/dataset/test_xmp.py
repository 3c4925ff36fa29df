"""The mark of synthetic images."""

import io

import numpy as np
import pytest
from PIL import Image

from mals.dataset.xmp import with_xmp
from mals.grid.cells import Damaged
from mals.origin import SOURCE_TYPES
from tests.small import cells


@pytest.mark.parametrize("source_type", SOURCE_TYPES.values())
def test_the_mark_of_a_synthetic_image_leaves_its_pixels_alone(source_type: str) -> None:
    plain = cells.small_jpeg("some", 30, 40)
    marked = with_xmp(plain, source_type)
    assert len(plain) < len(marked) < len(plain) + 600
    with Image.open(io.BytesIO(plain)) as original, Image.open(io.BytesIO(marked)) as copy:
        assert np.array_equal(np.asarray(original), np.asarray(copy))
        copy.load()
        assert f"{source_type}'" in str(copy.getxmp())
        assert "xmp" not in original.info
    assert with_xmp(marked, source_type) == marked


def test_a_crop_that_is_no_jpeg_is_refused() -> None:
    with pytest.raises(Damaged, match="not a JPEG"):
        with_xmp(b"\x89PNG\r\n", SOURCE_TYPES["generated"])
