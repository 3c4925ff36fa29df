"""A look at a packed data set."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mals.dataset.pack import pack
from mals.dataset.report import CELL, COLUMNS, ROWS, report
from mals.dataset.sheet import GAP, contact_sheet
from mals.errors import UserError
from tests.images_of_every_kind import images
from tests.small import cells


def test_a_report_names_the_data_set_the_funnel_captions_with_labels_and_a_sheet(tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", 100)
    with pytest.raises(UserError, match="is not packed yet"):
        report(run)
    pack(run)
    summary = report(run)
    assert (summary.dataset, summary.planned, summary.kept) == (f"{tmp_path}/run/dataset", 100, 78)
    assert len(summary.captions) == 8 and all(shown.caption and shown.attributes for shown in summary.captions)
    with Image.open(tmp_path / "run/report/contact-sheet.jpg") as sheet:
        assert sheet.size == (COLUMNS * CELL[0], ROWS * CELL[1])
    text = summary.text()
    assert "78 of 100 pairs kept" in text and " refused: " in text and text.count("contact sheet") == 1


def test_images_are_upright_on_a_contact_sheet() -> None:
    data, expected = images()["exif_6.jpg"]
    width, height = expected.size
    with Image.open(BytesIO(contact_sheet([data], 1, (width + GAP, height + GAP)))) as sheet:
        pixels = np.asarray(sheet)[GAP // 2 : GAP // 2 + height, GAP // 2 : GAP // 2 + width]
    assert expected.differences(pixels) == []
