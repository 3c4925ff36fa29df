"""The pages in Debian's chromium: no error, no foreign request, no violation of axe-core, sliders, filters, keys, live progress."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mals.dataset.pack import pack
from mals.dataset.verdicts import Verdict, add
from mals.look import report
from mals.look.run_source import RunSource
from mals.look.set_source import SetSource
from mals.look.training import Training
from pretrain.page_search import TrainedSearch
from pretrain.trained_method import read
from tests.conftest import ROOT
from tests.mals.look.person_run import person_run
from tests.mals.look.serving import serving
from tests.mals.look.test_app import MARKUP
from tests.mals.look.test_training import LINE, write
from tests.pretrain import trainings
from tests.pretrain.packs import packed
from tests.pretrain.releases import released
from tests.small import cells

BROWSER = shutil.which("chromium")
AXE = ROOT / ".venv/axe.min.js"  # of npm's axe-core, which `.ci/run` fetches
SIZES = {"wide": (1280, 900, "light"), "narrow": (390, 844, "dark")}
PATIENCE = 60_000  # milliseconds, of a machine that does much else
SCREENS = ("/", "/thresholds", "/images", "/image/3?at=3", "/captions", "/balance", "/persons", "/person/1", "/training")
TWINS = ("/duplicates", "/persons?order=agreement", "/person/7")  # screens of a run with the stages identity and dedup

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no chromium; `apt-get install chromium` brings it (.ci/run does)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    run = cells.small_run(tmp_path_factory.mktemp("browser") / "run", 100)
    pack(run)
    shown = [Training(str(write(tmp_path_factory.mktemp("trainings") / name, steps))) for name, steps in (("a", 30), ("b", 500))]
    with serving(RunSource(run.store.url), trainings=shown) as address:
        yield address


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(RunSource(person_run(tmp_path_factory.mktemp("twins") / "run").store.url)) as address:
        yield address


class Visit:
    """A page of the browser, and what went wrong in it."""

    def __init__(self, browser: Any, address: str, size: str = "wide") -> None:
        width, height, scheme = SIZES[size]
        self.address, self.problems = address, list[str]()
        self.page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda message: self.problems.append(message.text) if message.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self._check(request.url))
        self.page.on("response", lambda answer: self.problems.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)

    def _check(self, url: str) -> None:
        if not url.startswith((self.address, "data:")):
            self.problems.append(f"foreign request: {url}")

    def open(self, path: str) -> Any:
        self.page.goto(self.address + path)
        return self.page

    def violations(self, path: str) -> list[Any]:
        """What axe-core finds on a page."""
        page = self.open(path)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        return [(rule["id"], [node["html"] for node in rule["nodes"]][:3]) for rule in page.evaluate("axe.run()")["violations"]]

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    def wait(self, expression: str) -> None:
        """Until an expression is true in the page; by questions from here, since pages may not evaluate text themselves."""
        from playwright.sync_api import Error

        until = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < until:
            with suppress(Error):  # the page is being left
                if self.page.evaluate(expression):
                    return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never true: {expression}")


def test_the_script_of_others_is_the_one_that_was_read() -> None:
    script = (resources.files("mals.look") / "static/htmx.min.js").read_bytes()
    assert sha256(script).hexdigest() in (ROOT / "mals/look/static/README.md").read_text()


@pytest.mark.parametrize("size", SIZES)
def test_every_screen_is_without_errors_foreign_requests_and_sideways_scrolling(browser: Any, address: str, twins: str, size: str) -> None:
    for at, paths in ((address, SCREENS), (twins, TWINS)):
        visit = Visit(browser, at, size)
        for path in paths:
            page = visit.open(path)
            page.wait_for_load_state("networkidle") if path != "/" else page.wait_for_timeout(300)
            assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0], path
            broken = "[...document.querySelectorAll('main img')].filter((i) => i.complete && !i.naturalWidth).length"
            assert page.evaluate(broken) == 0, path
        assert visit.problems == []


@pytest.mark.parametrize("size", SIZES)
def test_a_report_opens_from_a_disk_without_an_error(browser: Any, tmp_path_factory: pytest.TempPathFactory, size: str) -> None:
    run = cells.small_run(tmp_path_factory.mktemp("report") / "run %41 'ü", 60)
    add(run.store, [Verdict(id="row-000004", keep=False)])
    report.write(run)
    folder = Path(run.store.url) / "report"
    visit = Visit(browser, folder.as_uri(), size)
    for page in sorted(folder.glob("*.html")):
        if page.name.startswith("image-") and page.name not in ("image-0.html", "image-8.html"):
            continue
        opened = visit.open(f"/{page.name}")
        assert opened.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0], page.name
        assert opened.evaluate("[...document.images].every((i) => !i.complete || i.naturalWidth > 0)"), page.name
    assert visit.problems == []


@pytest.mark.skipif(not AXE.is_file(), reason=".venv/axe.min.js is not there; .ci/run fetches axe-core from npm")
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_no_violation(browser: Any, address: str, twins: str, size: str) -> None:
    for at, paths in ((address, (*SCREENS, "/nothing")), (twins, TWINS)):
        visit = Visit(browser, at, size)
        for path in paths:
            assert visit.violations(path) == [], path


def test_a_slider_changes_the_count_and_the_command(browser: Any, address: str) -> None:
    visit = Visit(browser, address)
    page = visit.open("/thresholds?rule=filter.channel_variance")
    page.locator("#least").fill("20")
    visit.wait("document.querySelector('#effect .outcome').innerText.startsWith('79 of 98 rows pass')")
    assert "--set filter.min_channel_variance=20 --rerun filter" in visit.text("#command")
    slider = page.locator("input.slider")
    assert float(slider.input_value()) == pytest.approx(20, abs=1)
    slider.focus()
    page.keyboard.press("End")
    visit.wait("Number(document.querySelector('#least').value) > 90")
    visit.wait("!document.querySelector('#effect .outcome').innerText.startsWith('79 of')")
    assert visit.problems == []


def test_filters_and_arrow_keys(browser: Any, address: str) -> None:
    visit = Visit(browser, address)
    page = visit.open("/images")
    page.locator("select[name=state]").select_option("refused")
    page.locator("select[name=number]").select_option("ref_bytes")
    page.locator("button[type=submit]").click()
    visit.wait("location.search.includes('state=refused') && document.readyState === 'complete'")
    assert visit.text(".outcome").startswith("20 rows fit")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.closest('figure').dataset.row") == "6"
    page.keyboard.press("ArrowDown")
    assert int(page.evaluate("document.activeElement.closest('figure').dataset.row")) > 6
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    visit.wait("document.querySelector('h1')?.innerText === 'row-000006' && document.readyState === 'complete'")
    page.keyboard.press("ArrowRight")
    visit.wait("document.querySelector('h1')?.innerText === 'row-000013'")
    assert visit.problems == []


@contextmanager
def at_first_kept_image(browser: Any, folder: Path) -> Iterator[Visit]:
    """The images that a small run keeps, the first of which has the focus, while the server is there."""
    run = cells.small_run(folder, 20)
    with serving(RunSource(run.store.url)) as address:
        visit = Visit(browser, address)
        visit.open("/images?state=kept").keyboard.press("ArrowRight")
        yield visit


def test_verdicts_arrive_in_the_order_of_the_keys(browser: Any, tmp_path: Path) -> None:
    with at_first_kept_image(browser, tmp_path / "run") as visit:
        page = visit.page
        press = "(key, repeat) => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key, repeat, bubbles: true }))"
        page.evaluate(f"const press = {press}; for (const key of 'rkrukr') press(key); for (let i = 0; i < 9; i++) press('k', true)")
        visit.wait("waiting.then(() => true)")
        lines = [json.loads(line)["keep"] for line in (tmp_path / "run/verdicts.jsonl").read_text().splitlines()]
        assert lines == [False, True, False, True, True, False]  # the fourth takes the third back; a key that is held down counts once
        assert page.locator("figure.cell >> nth=0").get_attribute("data-verdict") == "reject" and visit.problems == []


def test_a_verdict_that_does_not_arrive_is_a_sentence(browser: Any, tmp_path: Path) -> None:
    with at_first_kept_image(browser, tmp_path / "run") as visit:
        page = visit.page
        shutil.rmtree(tmp_path / "run")
        page.keyboard.press("r")
        visit.wait("document.querySelector('#refusal').innerText.includes('is not there any more')")
    page.keyboard.press("r")
    visit.wait("document.querySelector('#refusal').innerText.includes('does not answer')")
    assert page.locator("figure[data-verdict=reject]").count() == 0
    box = page.locator("#refusal").bounding_box()
    assert box["y"] + box["height"] <= 900
    assert all("409" in problem or "REFUSED" in problem for problem in visit.problems)


def test_arrows_scroll_a_table_that_has_the_focus(browser: Any, address: str) -> None:
    page = Visit(browser, address, "narrow").open("/")
    page.locator(".scroll").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert page.evaluate("document.activeElement.className") == "scroll" and page.evaluate("document.activeElement.scrollLeft") > 0


def test_verdicts_by_keyboard_on_the_page_of_a_person(browser: Any, tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", 20)
    with serving(RunSource(run.store.url)) as address:
        visit = Visit(browser, address)
        page = visit.open("/person/1")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("r")
        visit.wait("document.querySelectorAll('figure[data-verdict=reject]').length === 1")
        assert RunSource(run.store.url).verdicts() == {"row-000001": False} and visit.problems == []


def test_curves_grow_while_a_training_goes_on(browser: Any, tmp_path: Path) -> None:
    folder = write(tmp_path / "out", 3, 0)
    with serving(None, trainings=[Training(str(folder))]) as address:
        visit = Visit(browser, address)
        page = visit.open("/")
        before = page.locator(".chart path.curve >> nth=0").get_attribute("d")
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(LINE | {"step": 40, "loss": 0.125}) + "\n")
        visit.wait("document.querySelector('#training td:nth-child(4)').innerText.startsWith('40')")
        assert page.locator(".chart path.curve >> nth=0").get_attribute("d") != before
        assert visit.problems == []


@pytest.fixture(scope="module")
def searching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The pages of a packed set with two methods: a small training, and weights that were never trained."""
    folder = tmp_path_factory.mktemp("searching")
    data = packed(folder / "run", 60)
    trainings.here(data, folder / "out")
    source = SetSource(str(data))
    places = [folder / "out", released(folder / "untrained", data)]
    methods = [TrainedSearch(place.name, read(str(place)), source) for place in places]
    with serving(source, methods=methods) as address:
        yield address


@pytest.mark.parametrize("size", SIZES)
def test_search_by_a_trained_method_in_sentences_attributes_and_images(browser: Any, searching: str, size: str, tmp_path: Path) -> None:
    visit = Visit(browser, searching, size)
    page = visit.open("/search")
    visit.wait("!document.querySelector('#results').hasAttribute('hx-get')")
    page.locator("textarea").fill("a man in a red shirt\na woman with a bag")
    page.locator("form[role=search] button").click()
    visit.wait("document.querySelectorAll('#results article').length === 4 && document.querySelectorAll('#results figure').length === 48")
    assert visit.text("#results h3 >> nth=0") == "a man in a red shirt" and page.locator(".evidence").count() == 48
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    if AXE.is_file():
        assert visit.violations(page.url.removeprefix(searching)) == []
    visit.open("/search")
    page.locator("summary").click()
    page.locator("select[name=attribute]").first.select_option(index=1)
    page.locator("form[role=search] button").click()
    visit.wait("location.search.includes('attribute=') && document.querySelectorAll('#results figure').length >= 12")
    visit.open("/image/5")
    page.get_by_text("Search for this image").click()
    visit.wait("document.querySelector('#results figure')?.dataset.row === '5'")
    (tmp_path / "query.jpg").write_bytes(cells.small_jpeg("query", 32, 64))
    page.locator("input[type=file]").set_input_files(str(tmp_path / "query.jpg"))
    page.get_by_text("Search by image").click()
    visit.wait("location.search.startsWith('?upload=') && document.querySelectorAll('#results figure').length >= 12")
    visit.wait("document.querySelector('.upload img').naturalWidth > 0")
    assert visit.problems == []


def test_progress_goes_on_after_the_run_could_not_be_read_for_a_while(browser: Any, tmp_path: Path) -> None:
    cells.small_run(tmp_path / "run", 20)
    with serving(RunSource(str(tmp_path / "run"))) as address:
        visit = Visit(browser, address)
        visit.open("/")
        (tmp_path / "run").rename(tmp_path / "away")
        visit.wait("document.querySelector('#live').innerText.includes('is not there any more')")
        (tmp_path / "away").rename(tmp_path / "run")
        visit.wait("document.querySelector('#stage-label') !== null")


def test_progress_is_shown_while_cells_are_made(browser: Any, tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", 40)
    for path in (tmp_path / "run/label").iterdir():
        path.unlink()
    with serving(RunSource(run.store.url)) as address:
        visit = Visit(browser, address)
        visit.open("/")
        assert "0/3" in visit.text("#stage-label")
        cells.make_cells(run)
        visit.wait("document.querySelector('#stage-label').innerText.includes('3/3')")
        assert visit.problems == []


def test_markup_in_captions_and_ids_is_shown_as_text(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = [{"id": f"'\"{MARKUP}", "image": {"bytes": cells.small_jpeg("x", 16, 32)}, "caption": MARKUP}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data/train-00000-of-00001.parquet")
    with serving(SetSource(str(tmp_path))) as address:
        visit = Visit(browser, address)
        visit.page.on("dialog", lambda dialog: visit.problems.append(f"dialog: {dialog.message}"))
        visit.open("/images")
        assert visit.text("figure .caption") == MARKUP
        visit.open("/image/0")
        assert MARKUP in visit.text(".texts >> nth=0") and visit.problems == []


def test_pages_work_without_scripts(browser: Any, address: str) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}/thresholds?rule=filter.channel_variance")
    page.locator("#least").fill("20")
    page.locator("form.limits button").click()
    assert page.locator("#effect .outcome").inner_text().startswith("79 of 98 rows pass")


def test_a_verdict_can_be_given_without_scripts(browser: Any, tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", 20)
    with serving(RunSource(run.store.url)) as address:
        page = browser.new_context(java_script_enabled=False).new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{address}/image/1?at=1")
        page.locator("button[value=reject]").click()
        assert page.locator("#said").inner_text() == "A person says: reject."
        assert RunSource(run.store.url).verdicts() == {"row-000001": False}


def test_verdicts_by_keyboard_are_honoured_by_the_pack(browser: Any, tmp_path: Path) -> None:
    run = cells.small_run(tmp_path / "run", 40)
    pack(run)
    with serving(RunSource(run.store.url)) as address:
        visit, other = Visit(browser, address), Visit(browser, address)
        page, second = visit.open("/images?state=kept"), other.open("/images?state=kept")
        for key in ("ArrowRight", "r", "ArrowRight", "r"):
            page.keyboard.press(key)
            visit.page.wait_for_timeout(200)
        for key in ("ArrowRight", "ArrowRight", "ArrowRight", "r"):
            second.keyboard.press(key)
        other.wait("document.querySelectorAll('figure[data-verdict=reject]').length === 1")
        visit.wait("document.querySelectorAll('figure[data-verdict=reject]').length === 2")
        page.keyboard.press("u")
        visit.wait("document.querySelectorAll('figure[data-verdict=reject]').length === 1")
        visit.open("/images?verdict=reject")
        assert visit.text(".outcome").startswith("2 rows fit")
        visit.open("/image/3")  # refused by the filter
        visit.page.locator("button[value=keep]").click()
        visit.wait("!document.querySelector('#refusal').hidden")
        assert "before it had a caption" in visit.text("#refusal")
        assert [problem for problem in visit.problems if "409" not in problem] == [] and other.problems == []
    receipt = pack(run).receipt
    assert (receipt.kept, receipt.planned) == (29, 40)
    rejected = pq.read_table(tmp_path / "run/dataset/rejected/train-00000-of-00001.parquet").to_pylist()
    assert [row["id"] for row in rejected if row["reject_reason"] == "person_rejected"] == ["row-000000", "row-000002"]
