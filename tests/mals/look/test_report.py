"""The pages of a run as files."""

import re
from pathlib import Path

from mals.dataset.pack import pack
from mals.look.report import FOLDER, write
from tests.conftest import Mals
from tests.small import cells


def test_every_link_of_every_page_is_a_file_beside_it(tmp_path: Path, mals: Mals) -> None:
    run = cells.small_run(tmp_path / "run", 100)
    pack(run)
    folder = tmp_path / "run" / FOLDER
    assert write(run) == f"{tmp_path}/run/report/index.html"
    pages = sorted(folder.glob("*.html"))
    assert {"index.html", "thresholds.html", "images.html", "captions.html", "balance.html"} <= {page.name for page in pages}
    for page in pages:
        text = page.read_text()
        assert "<script" not in text and "<form" not in text and "hx-" not in text and "://" not in text
        for link in re.findall(r'(?:href|src)="([^"#]*)"', text):
            is_failed_image = link.startswith("images/") and cells.number(f"x-{Path(link).stem}") % 50 == 8
            assert not link or (folder / link).is_file() or is_failed_image, (page.name, link)
    sheet = (folder / "images-filter-small_file.html").read_text()
    assert "row-000003" in sheet and "10</strong> rows fit" in sheet
    result = mals("report", "run")
    assert result.returncode == 0 and "pages: run/report/index.html" in result.stdout and "contact sheet: " in result.stdout
    assert sorted(folder.glob("*.html")) == pages
