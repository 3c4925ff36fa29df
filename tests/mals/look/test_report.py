"""The pages of a run as files."""

import re
from pathlib import Path

from mals.dataset import verdicts
from mals.dataset.pack import pack
from mals.images import is_plain_jpeg
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
            assert not link or (folder / link).is_file(), (page.name, link)
    sheet = (folder / "images-filter-small_file.html").read_text()
    assert "row-000003" in sheet and "10</strong> rows fit" in sheet
    result = mals("report", "run")
    assert result.returncode == 0 and "pages: run/report/index.html" in result.stdout and "contact sheet: " in result.stdout
    assert sorted(folder.glob("*.html")) == pages


def test_images_of_a_report_before_are_removed(tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", 20)
    write(run)
    images = tmp_path / "run/report/images"
    assert is_plain_jpeg((images / "8.jpg").read_bytes())  # of a row that failed: a sign in its place
    (images / "999.jpg").write_bytes(b"of a row that is not shown any more")
    before = {image.name for image in images.iterdir()}
    write(run)
    assert {image.name for image in images.iterdir()} == before - {"999.jpg"}


def test_rows_that_people_judged_have_a_sheet(tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", 20)
    verdicts.add(run.store, [verdicts.Verdict(id="row-000004", keep=False)])
    write(run)
    folder = tmp_path / "run/report"
    assert 'href="images-reject-by-a-person.html"' in (folder / "index.html").read_text()
    sheet = (folder / "images-reject-by-a-person.html").read_text()
    assert "row-000004" in sheet and sheet.count("<figure") == 1 and "Images: reject by a person" in sheet
