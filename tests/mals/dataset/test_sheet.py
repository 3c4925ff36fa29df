"""Contact sheets: how large they may be."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mals.dataset.sheet import contact_sheet, sheet_size
from mals.errors import UserError


@pytest.mark.parametrize(("count", "columns"), [(2_100, 8), (100_000, 100_000), (90_000, 300)])
def test_a_sheet_that_no_jpeg_holds_is_refused(count: int, columns: int) -> None:
    with pytest.raises(UserError, match="too large for a JPEG; ask for fewer images"):
        sheet_size(count, columns, (128, 256))


def test_the_largest_sheet_is_written_and_opens_without_a_warning() -> None:
    buffer = BytesIO()
    Image.fromarray(np.full((4, 2, 3), 9, np.uint8)).save(buffer, "PNG")
    columns, lines = 1, 65_500 // 16
    with Image.open(BytesIO(contact_sheet([buffer.getvalue()] * lines, columns, (8, 16)))) as sheet:
        assert sheet.size == sheet_size(lines, columns, (8, 16)) == (8, 65_488)
