"""The pages of a run as files, which open from a disk without a server: `mals report`."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mals.grid.run import Run
from mals.grid.store import Store
from mals.look import thresholds, views
from mals.look.app import static_file
from mals.look.pages import Pages
from mals.look.persons import numbers_of
from mals.look.query import Filters
from mals.look.run_source import RunSource
from mals.look.source import FAILED, KEPT
from mals.look.thumbnails import no_image, thumbnail

FOLDER = "report"
INDEX = f"{FOLDER}/index.html"
NO_NAME = re.compile(r"[^\w-]")  # in the name of a file
STATIC = ("look.css", "icon.svg")


class FileLinks:
    """The names of the files; what is linked to is collected, so that it can be written."""

    live = False

    def __init__(self, sheets: dict[Filters, str]) -> None:
        self.sheets = sheets
        self.rows: dict[int, None] = {}  # that have a page
        self.shown: dict[int, None] = {}  # whose image is shown
        self.persons: dict[int, None] = {}  # rows whose person has a page

    def page(self, name: str, **parameters: Any) -> str:
        if name == "overview":
            return "index.html"
        if name == "thresholds" and parameters.get("rule"):
            return f"thresholds-{parameters['rule']}.html"
        if name == "images":
            named = {key: value for key, value in parameters.items() if key in ("state", "stage", "reason", "verdict")}
            return self.sheets.get(Filters(**named), "images.html")
        return f"{name}.html"

    def image(self, row: int, **parameters: Any) -> str:
        self.rows[row] = None
        return f"image-{row}.html"

    def person(self, row: int) -> str:
        self.persons[row] = None
        return f"person-{row}.html"

    def thumbnail(self, row: int) -> str:
        self.shown[row] = None
        return f"images/{row}.jpg"

    def whole(self, row: int) -> str:
        return self.thumbnail(row)

    def file(self, name: str) -> str:
        return name


def sheets(source: RunSource) -> dict[Filters, str]:
    """Which images have a page: those that were kept, that failed, and those of each stage and reason."""
    pages = {Filters(state=KEPT): "images.html", Filters(state=FAILED): "images-failed.html"}
    for line in source.receipts.lines(None):
        if line.errors:
            pages[Filters(state=FAILED, stage=line.stage)] = f"images-{line.stage}-failed.html"
        for reason, _ in line.rejects:
            pages[Filters(stage=line.stage, reason=reason)] = f"images-{line.stage}-{NO_NAME.sub('-', reason)}.html"
    if source.verdicts():
        pages |= {Filters(verdict=verdict): f"images-{verdict}-by-a-person.html" for verdict in ("reject", "keep")}
    return pages


def write(run: Run) -> str:
    """Write the pages of `run` into its folder `report`; the URL of the first one."""
    source, store = RunSource(run.store.url), run.store
    for name in store.list(FOLDER):
        if name.endswith((".html", ".css", ".svg")):
            store.remove(name)
    links = FileLinks(sheets(source))
    pages = Pages(links, source.title, views.screens(source))
    for name, html in _html(source, pages, links):
        store.commit(f"{FOLDER}/{name}", html.encode())
    for name in STATIC:
        store.commit(f"{FOLDER}/{name}", static_file(name))
    write_images(store, links.shown, source.image)
    return f"{store.url.rstrip('/')}/{INDEX}"


def write_images(store: Store, numbers: Iterable[int], image: Callable[[int], bytes | None]) -> None:
    """Write the images with these numbers, a sign where there is none, and remove those of a report before."""
    names = {f"{FOLDER}/images/{number}.jpg": number for number in numbers}
    for name in store.list(f"{FOLDER}/images"):
        if name not in names:
            store.remove(name)
    for name, number in names.items():
        data = image(number)
        store.commit(name, (None if data is None else thumbnail(data)) or no_image())


def _html(source: RunSource, pages: Pages, links: FileLinks) -> Iterator[tuple[str, str]]:
    """The name and the text of each page; those of single images last, when it is known which are linked to."""
    yield "index.html", pages.render("overview.html", screen="overview", **views.overview(source))
    names = [line.name for line in thresholds.lines(source)]
    for name in ("", *names):
        values = views.threshold_page(source, name, None, None, changed=False)
        yield f"thresholds-{name}.html" if name else "thresholds.html", pages.render("thresholds.html", screen="thresholds", **values)
    for filters, name in links.sheets.items():
        yield name, pages.render("images.html", screen="images", **_sheet(source, filters))
    screens = [name for name, _ in views.screens(source)]
    if "captions" in screens:
        yield "captions.html", pages.render("captions.html", screen="captions", **(views.caption_page(source, 0) | {"pages": 1}))
    if "balance" in screens:
        yield "balance.html", pages.render("balance.html", screen="balance", **views.balance_page(source))
    if "persons" in screens:
        values = views.persons_page(source, "agreement" if numbers_of(source) else "images", 0) | {"pages": 1}
        yield "persons.html", pages.render("persons.html", screen="persons", **values)
        for row in list(links.persons):
            yield f"person-{row}.html", pages.render("person.html", screen="person", **views.person_page(source, row))
    if "duplicates" in screens:
        yield "duplicates.html", pages.render("duplicates.html", screen="duplicates", **(views.duplicates_page(source, 0) | {"pages": 1}))
    for row in list(links.rows):
        yield f"image-{row}.html", pages.render("image.html", screen="image", **views.one_image(source, row, Filters(), None))


def _sheet(source: RunSource, filters: Filters) -> views.Values:
    """The first page of images that fit the filters, which has no further pages."""
    return views.image_page(source, filters, 0) | {"pages": 1}
