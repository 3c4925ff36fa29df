"""A look at a packed data set."""

from pathlib import Path

import pytest
from PIL import Image

from mals.dataset.pack import pack
from mals.dataset.report import CELL, COLUMNS, ROWS, report
from mals.errors import UserError
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
