"""The pages of a run, a packed set and a folder answer, and say in a sentence what cannot be shown."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mals.dataset.pack import pack
from mals.look.run_source import RunSource
from mals.look.server import open_source
from mals.look.set_source import SetSource
from tests.mals.look.serving import ask, serving
from tests.small import cells

PAGES = ("/", "/live", "/thresholds", "/images", "/image/3", "/captions", "/balance", "/static/look.css")
MARKUP = '<img src=x onerror="alert(1)"><script>alert(2)</script>'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("look") / "run"
    pack(cells.small_run(folder, 100))
    return folder


def test_every_page_of_a_run_answers_and_names_what_it_shows(run: Path) -> None:
    with serving(RunSource(str(run))) as address:
        answers = {page: ask(address + page) for page in PAGES}
        assert {page: answer.code for page, answer in answers.items()} == dict.fromkeys(PAGES, 200)
        assert "78" in answers["/live"].text and "small file" in answers["/live"].text and "OSError" in answers["/live"].text
        assert "<svg" in answers["/thresholds"].text
        assert "filter.min_channel_variance" in ask(address + "/thresholds?rule=filter.channel_variance").text
        assert answers["/images"].text.count("<figure") == 60 and "100</strong> rows fit" in answers["/images"].text
        assert "Refused by the stage <strong>filter</strong>: small file, grey" in answers["/image/3"].text
        assert "blip (static)" in answers["/captions"].text or "blip" in answers["/captions"].text
        assert ask(address + "/ids.txt?state=refused&reason=grey").text == "".join(f"row-{at:06d}\n" for at in range(3, 100, 20))
        image = ask(address + "/thumbnail/0.jpg")
        assert image.headers["content-type"] == "image/jpeg" and image.data.startswith(b"\xff\xd8")


def test_every_page_of_a_packed_set_answers(run: Path) -> None:
    with serving(SetSource(str(run / "dataset"))) as address:
        codes = {page: ask(address + page).code for page in PAGES if page != "/thresholds"}
        assert set(codes.values()) == {200}
        assert "only a run has thresholds" in ask(address + "/thresholds").text
        assert "78</strong> rows fit" in ask(address + "/images").text
        assert "small/blip" not in ask(address + "/").text


def test_what_is_wrong_in_an_address_is_one_sentence(run: Path) -> None:
    with serving(RunSource(str(run))) as address:
        sentences = {
            "/images?number=nothing": "there is no number",
            "/images?least=abc": "is no number",
            "/images?least=nan": "is not finite",
            "/images?state=lost": "there is no state",
            "/images?attribute=hat%3Dperhaps": "there is no attribute value",
            "/image/100": "there is no row 100",
            "/thumbnail/999999999999999999999.jpg": "there is no row",
            "/image/" + "9" * 5000: "there is no page",
            "/thresholds?rule=x": "there is no threshold",
            "/static/..%2fapp.py": "there is no",
            "/static/../app.py": "there is no",
            "/nothing": "there is no page",
        }
        for page, sentence in sentences.items():
            answer = ask(address + page)
            assert answer.code >= 400 and sentence in answer.text and "Traceback" not in answer.text, (page, answer.text[-400:])


def test_a_page_of_images_that_there_is_no_more_is_the_last_one(run: Path) -> None:
    with serving(RunSource(str(run))) as address:
        text = ask(f"{address}/images?page=99999").text
        assert "61 to 100 are shown" in text and "Page 2 of 2" in text and text.count("<figure") == 40


def test_text_of_a_set_is_shown_as_text(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = [{"id": f"../{MARKUP}", "image": {"bytes": b"no image"}, "caption": MARKUP, "person": MARKUP}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data/train-00000-of-00001.parquet")
    with serving(SetSource(str(tmp_path))) as address:
        for page in ("/", "/images", "/image/0", "/captions", "/images?text=%3Cscript%3E&id=%22%3E%3Cscript%3E"):
            text = ask(address + page).text
            assert "<script>alert" not in text and "<img src=x" not in text and '"><script' not in text
        assert "&lt;script&gt;alert(2)&lt;/script&gt;" in ask(address + "/image/0").text
        assert ask(address + "/thumbnail/0.jpg").headers["content-type"] == "image/svg+xml"


def test_a_run_that_is_being_deleted_is_one_sentence(tmp_path: Path) -> None:
    cells.small_run(tmp_path / "run", 20)
    source = RunSource(str(tmp_path / "run"))
    with serving(source) as address:
        shutil.rmtree(tmp_path / "run/filter")
        assert ask(address + "/images").code == 200
        shutil.rmtree(tmp_path / "run")
        for page in ("/", "/images", "/image/0", "/thresholds", "/captions"):
            answer = ask(address + page)
            assert answer.code in (409, 503) and "is not there any more" in answer.text and "Traceback" not in answer.text


def test_a_script_gets_the_sentence_of_a_verdict_that_is_not_taken(tmp_path: Path) -> None:
    cells.small_run(tmp_path / "run", 20)
    with serving(RunSource(str(tmp_path / "run"))) as address:

        def sentence(row: int, verdict: str = "keep") -> str:
            headers = {"Origin": address, "Accept": "application/json"}
            answer = ask(f"{address}/verdict/{row}", headers, f"verdict={verdict}".encode())
            assert answer.code >= 400 and answer.headers["content-type"] == "application/json"
            return str(json.loads(answer.text)["sentence"])

        assert "failed in the stage generate" in sentence(8) and "failed in the stage generate" in sentence(8, "reject")
        assert "before it had a caption" in sentence(3) and "there is no row 99" in sentence(99)
        assert "keep, reject or none" in sentence(0, "perhaps") and "the form is too long" in sentence(0, "x" * 70_000)
        (tmp_path / "run/verdicts.jsonl").write_text("nonsense\n")
        assert "line 1 of" in sentence(0)
        assert (tmp_path / "run/verdicts.jsonl").read_text() == "nonsense\n"
        shutil.rmtree(tmp_path / "run")
        assert "is not there any more" in sentence(0)
        assert ask(f"{address}/static/look.css").code == 200  # of the page with the sentence


def test_what_pages_ask_for_again_is_asked_for_after_a_sentence_too(tmp_path: Path) -> None:
    cells.small_run(tmp_path / "run", 20)
    with serving(RunSource(str(tmp_path / "run"))) as address:
        (tmp_path / "run").rename(tmp_path / "away")
        part, page = ask(f"{address}/live", {"HX-Request": "true"}), ask(f"{address}/live")
        assert (part.code, page.code) == (200, 409)
        assert 'id="live" hx-get="/live"' in part.text and "hx-get" not in page.text and "is not there any more" in part.text


def test_cells_that_are_made_later_are_shown_and_damaged_ones_are_named(tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", 40)
    for path in [*(tmp_path / "run/label").iterdir(), *(tmp_path / "run/caption").iterdir()]:
        path.unlink()
    source = open_source(str(tmp_path / "run"))
    assert isinstance(source, RunSource)
    with serving(source) as address:
        assert "not finished" in ask(address + "/live").text
        assert "0</strong> rows fit" in ask(address + "/images?state=kept").text
        assert "Waits for the stage <strong>caption</strong>" in ask(address + "/image/0").text
        cells.make_cells(run)
        source.receipts._read_at = 0
        assert "31</strong> rows fit" in ask(address + "/images?state=kept").text
        cell = tmp_path / "run/filter/00001.parquet"
        cell.write_bytes(cell.read_bytes()[:-9] + b"123456789")
        fresh = RunSource(str(tmp_path / "run"))
    with serving(fresh) as address:
        assert ask(address + "/thresholds").code == 200
        assert "filter/00001.parquet cannot be read" in ask(address + "/live").text


def test_machines_are_shown_where_there_are_several(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    cells.small_run(folder, 40)
    with serving(RunSource(str(folder))) as address:
        assert "Made on" not in ask(address + "/live").text
    receipt = folder / "label/00000.json"
    receipt.write_text(json.dumps(json.loads(receipt.read_text()) | {"node": "another"}))
    with serving(RunSource(str(folder))) as address:
        assert "another (1 cells)" in ask(address + "/live").text
