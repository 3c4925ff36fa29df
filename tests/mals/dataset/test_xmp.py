"""The mark of synthetic images."""

import io

import numpy as np
import pytest
from PIL import Image

from mals.dataset.xmp import TRAINED_ALGORITHMIC_MEDIA, with_xmp
from mals.grid.cells import Damaged
from tests.small import cells


def test_the_mark_of_a_synthetic_image_leaves_its_pixels_alone() -> None:
    plain = cells.small_jpeg("some", 30, 40)
    marked = with_xmp(plain)
    assert len(plain) < len(marked) < len(plain) + 600
    with Image.open(io.BytesIO(plain)) as original, Image.open(io.BytesIO(marked)) as copy:
        assert np.array_equal(np.asarray(original), np.asarray(copy))
        copy.load()
        assert TRAINED_ALGORITHMIC_MEDIA in str(copy.getxmp())
        assert "xmp" not in original.info
    assert with_xmp(marked) == marked


def test_a_crop_that_is_no_jpeg_is_refused() -> None:
    with pytest.raises(Damaged, match="not a JPEG"):
        with_xmp(b"\x89PNG\r\n")
