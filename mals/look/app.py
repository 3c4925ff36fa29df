"""The server of the pages: addresses, and an answer for each, which is a sentence where something cannot be shown."""

import asyncio
import functools
import getpass
import logging
import threading
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl, urlencode

import anyio.to_thread
import pyarrow as pa
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from mals.errors import UserError, quoted
from mals.look import views
from mals.look.pages import Pages, ServerLinks
from mals.look.query import Filters, ids
from mals.look.run_source import RunSource
from mals.look.search import COUNTS, LARGEST, SENTENCES, SearchMethod, SearchQuery, Uploads, uploaded_file
from mals.look.security import Guard
from mals.look.source import Source, first_line
from mals.look.thumbnails import Thumbnails, thumbnail, whole
from mals.look.training import Training

log = logging.getLogger(__name__)

FILES = {"look.css": "text/css", "look.js": "text/javascript", "htmx.min.js": "text/javascript", "icon.svg": "image/svg+xml"}
LONGEST = 64 << 10  # bytes of a form without an image
POLLED = {"/live": "live", "/training/live": "training", "/search": "results"}  # what pages ask for again and again: the id of that part
POSTED = ("/verdict/", "/search/image")  # what is answered to POST alone
HOUR = {"cache-control": "private, max-age=3600"}
Answer = Callable[[Request], Response]


class RowNumber(Convertor[int]):
    """The number of a row in an address; longer ones than Python reads have no page."""

    regex = "[0-9]{1,30}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("row", RowNumber())


class LookApp:
    """The pages of a source, of trainings, or of both, as an ASGI application."""

    def __init__(
        self,
        source: Source | None,
        token: str | None = None,
        trainings: Sequence[Training] = (),
        methods: Sequence[SearchMethod] = (),
    ) -> None:
        """`methods` search the images of the source."""
        self._source, self.trainings, self.methods, self.uploads = source, list(trainings), list(methods), Uploads()
        self.answering: set[int] = set()  # threads that make an answer
        self.answered = threading.Event()  # a first answer was made
        screens = [] if source is None else views.screens(source)
        screens += ([("search", "Search")] if methods else []) + ([("training", "Training")] if trainings else [])
        title = ", ".join(([] if source is None else [source.title]) + [training.title for training in trainings])
        self.pages = Pages(ServerLinks(), title, screens, judged=isinstance(source, RunSource))
        routes: dict[str, Answer] = {"/static/{name}": self.static}
        if trainings:
            routes |= {"/training": self.training, "/training/live": self.training_live}
        if source is None:
            routes["/"] = self.training
        else:
            self.thumbnails = Thumbnails(source)
            routes |= self._routes_of_rows()
        if source is not None and methods:
            routes |= {"/search": self.search, "/search/image": self.search_image, "/upload/{name}.jpg": self.upload}
        starlette = Starlette(
            routes=[
                Route(path, self._answering(answer), methods=["POST"] if path.startswith(POSTED) else ["GET"])
                for path, answer in routes.items()
            ],
            exception_handlers={HTTPException: self._no_page},
        )
        self.asgi = Guard(starlette, token)

    @property
    def source(self) -> Source:
        """The rows; pages that need them have an address only where there are some."""
        assert self._source is not None
        return self._source

    def _routes_of_rows(self) -> dict[str, Answer]:
        return {
            "/": self.overview,
            "/live": self.live,
            "/thresholds": self.thresholds,
            "/images": self.images,
            "/image/{row:row}": self.image,
            "/captions": self.captions,
            "/balance": self.balance,
            "/persons": self.persons,
            "/person/{row:row}": self.person,
            "/duplicates": self.duplicates,
            "/verdict/{row:row}": self.verdict,
            "/ids.txt": self.ids,
            "/thumbnail/{row:row}.jpg": self.thumbnail,
            "/whole/{row:row}.jpg": self.whole,
        }

    def _answering(self, answer: Answer) -> Callable[[Request], Any]:
        """The endpoint of an answer, which runs in a thread; what cannot be shown becomes a sentence."""

        def answered(request: Request) -> Response:
            import duckdb

            self.answering.add(threading.get_ident())
            try:
                if self._source is not None and answer != self.static:
                    self._source.refresh()
                return answer(request)
            except UserError as error:
                return self._sentence(request, str(error), 409)
            except (OSError, pa.ArrowException, duckdb.Error) as error:
                return self._sentence(request, f"{self.pages.title} cannot be read now: {first_line(error)}", 503)
            except Exception as error:
                log.error("%s: %s: %s", request.url.path, type(error).__name__, error)
                return self._sentence(request, f"this page could not be made ({type(error).__name__}); the log has more", 500)
            finally:
                self.answering.discard(threading.get_ident())
                self.answered.set()

        @functools.wraps(answer)
        async def endpoint(request: Request) -> Response:
            try:
                if request.method == "POST":
                    limit = LARGEST if request.url.path == "/search/image" else LONGEST
                    if int(request.headers.get("content-length") or limit + 1) > limit:
                        return self._sentence(request, f"the form is too long; at most {limit >> 10:,} KiB are read", 413)
                    request.state.body = await request.body()
                return await anyio.to_thread.run_sync(answered, request)
            except asyncio.CancelledError:  # the command was stopped, and this answer took longer than it waits
                return self._sentence(request, "mals look has ended", 503)

        return endpoint

    def _sentence(self, request: Request, sentence: str, code: int) -> Response:
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse({"sentence": sentence}, code)
        part, path, query = "hx-request" in request.headers, request.url.path, request.url.query
        again = {"polled": POLLED[path], "again": path + (f"?{query}" if query else "")} if part and path in POLLED else {"polled": ""}
        page = self.pages.render("_sentence.html" if part else "sentence.html", sentence=sentence, screen="", **again)
        return HTMLResponse(page, 200 if part else code)  # htmx shows the parts that have the code 200

    async def _no_page(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self._sentence(request, f"there is no page {quoted(request.url.path)}", error.status_code)

    def _page(self, screen: str, values: views.Values, template: str = "") -> Response:
        return HTMLResponse(self.pages.render(template or f"{screen}.html", screen=screen, **values))

    def overview(self, request: Request) -> Response:
        return self._page("overview", views.overview(self.source))

    def live(self, request: Request) -> Response:
        return self._page("overview", views.live(self.source), "_live.html")

    def thresholds(self, request: Request) -> Response:
        query = request.query_params
        changed = "least" in query or "greatest" in query
        values = views.threshold_page(self.source, query.get("rule", ""), _number(query, "least"), _number(query, "greatest"), changed)
        return self._page("thresholds", values, "_effect.html" if "hx-request" in request.headers else "")

    def images(self, request: Request) -> Response:
        return self._page("images", views.image_page(self.source, filters_of(request.query_params), _page_number(request)))

    def image(self, request: Request) -> Response:
        at = request.query_params.get("at", "")
        place = int(at) if at.isdecimal() and len(at) < 12 else None
        return self._page("image", views.one_image(self.source, request.path_params["row"], filters_of(request.query_params), place))

    def captions(self, request: Request) -> Response:
        return self._page("captions", views.caption_page(self.source, _page_number(request)))

    def balance(self, request: Request) -> Response:
        return self._page("balance", views.balance_page(self.source))

    def persons(self, request: Request) -> Response:
        order = request.query_params.get("order") or "images"
        return self._page("persons", views.persons_page(self.source, order, _page_number(request)))

    def person(self, request: Request) -> Response:
        return self._page("person", views.person_page(self.source, request.path_params["row"]))

    def duplicates(self, request: Request) -> Response:
        return self._page("duplicates", views.duplicates_page(self.source, _page_number(request)))

    def training(self, request: Request) -> Response:
        return self._page("training", views.training_page(self.trainings))

    def training_live(self, request: Request) -> Response:
        return self._page("training", views.training_page(self.trainings), "_training.html")

    def search(self, request: Request) -> Response:
        """The images that fit sentences, attributes, or an image of the source or of a file."""
        parameters = request.query_params
        image = None
        if parameters.get("upload"):
            image = self.uploads.get(parameters["upload"])
        elif row := parameters.get("row"):
            if not row.isdecimal() or len(row) > 30:
                raise UserError(f"row = {quoted(row)} is no number of a row")
            image = self.source.image(int(row))
            if image is None:
                raise UserError(f"the row {int(row)} has no image to search for")
        sentences = tuple(line.strip() for line in parameters.get("text", "").splitlines() if line.strip())
        if len(sentences) > SENTENCES:
            raise UserError(
                f"{len(sentences)} sentences are too many for a page; it takes {SENTENCES}, `mals search --queries` takes any number"
            )
        attributes = tuple(pair for pair in parameters.getlist("attribute") if pair)
        query = SearchQuery((), (), image) if image is not None else SearchQuery(sentences, attributes)
        count = next((number for number in COUNTS if str(number) == parameters.get("top")), COUNTS[0])
        values = views.search_page(self.source, self.methods, query, count)
        values["again"] = f"/search?{urlencode(parameters.multi_items())}"
        values |= {
            "upload": parameters.get("upload", ""),
            "row": parameters.get("row", ""),
            "again": f"/search?{urlencode(parameters.multi_items())}",
        }
        return self._page("search", values, "_results.html" if "hx-request" in request.headers else "")

    def search_image(self, request: Request) -> Response:
        """Keep an image that was sent, and search for it."""
        data = uploaded_file(request.headers.get("content-type", ""), request.state.body)
        if whole(data) is None:
            raise UserError("the file cannot be read as an image")
        return RedirectResponse(f"/search?upload={self.uploads.add(data)}", 303)

    def upload(self, request: Request) -> Response:
        return _jpeg(thumbnail(self.uploads.get(request.path_params["name"])))

    def verdict(self, request: Request) -> Response:
        """Add a verdict about a row; scripts get JSON, a form the page of the image."""
        row, form = request.path_params["row"], dict(parse_qsl(request.state.body.decode(errors="replace")))
        if not isinstance(self.source, RunSource):
            raise UserError("verdicts are of a run; open the run that this set was packed from")
        if form.get("verdict") not in ("keep", "reject", "none"):
            raise UserError("the verdict is keep, reject or none")
        self.source.judge(row, {"keep": True, "reject": False, "none": None}[form["verdict"]], _user())
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse({"row": row, "verdict": form["verdict"]})
        query = urlencode([(name, value) for name, value in parse_qsl(form.get("query", "")) if name != "token"])
        return RedirectResponse(f"/image/{row}" + (f"?{query}" if query else ""), 303)

    def ids(self, request: Request) -> Response:
        """The ids of all rows that fit the filters, one a line."""
        lines = ids(self.source, filters_of(request.query_params))
        return PlainTextResponse("".join(f"{line}\n" for line in lines), headers={"content-disposition": "attachment; filename=ids.txt"})

    def thumbnail(self, request: Request) -> Response:
        return _jpeg(self.thumbnails.get(request.path_params["row"]))

    def whole(self, request: Request) -> Response:
        data = self.source.image(request.path_params["row"])
        return _jpeg(None if data is None else whole(data))

    def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            raise UserError(f"there is no file {quoted(name)}")
        return Response(static_file(name), media_type=FILES[name], headers=HOUR)


def static_file(name: str) -> bytes:
    """A style sheet, script or icon of the pages."""
    return (resources.files("mals.look") / "static" / name).read_bytes()


def _user() -> str:
    """The name of the user of this process; empty where the system does not know it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


NO_IMAGE = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 160">
<path d="M24 64l32 32M56 64L24 96" stroke="#8a9097" stroke-width="3"/></svg>"""


def _jpeg(data: bytes | None) -> Response:
    if data is None:
        return Response(NO_IMAGE, media_type="image/svg+xml")
    return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=30"})


def filters_of(query: QueryParams) -> Filters:
    """The filters in an address; UserError for what is none."""
    return Filters(
        state=query.get("state", ""),
        stage=query.get("stage", ""),
        reason=query.get("reason", ""),
        text=query.get("text", "").strip(),
        id=query.get("id", "").strip(),
        person=query.get("person", ""),
        verdict=query.get("verdict", ""),
        attributes=tuple(pair for pair in query.getlist("attribute") if pair),
        number=query.get("number", ""),
        least=_number(query, "least"),
        greatest=_number(query, "greatest"),
        descending=query.get("descending", "") not in ("", "0"),
    )


def _number(query: QueryParams, name: str) -> float | None:
    text = query.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{name} = {quoted(text)} is no number") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise UserError(f"{name} = {quoted(text)} is not finite")
    return value


def _page_number(request: Request) -> int:
    text = request.query_params.get("page", "1")
    return max(0, int(text) - 1) if text.isdecimal() and len(text) < 9 else 0
