"""Starts the pages: which source an address is, where the server listens, and how it ends."""

import logging
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence

from mals.errors import UserError
from mals.grid.run import SETTINGS
from mals.grid.store import Store
from mals.look.app import LookApp
from mals.look.folder_source import FolderSource
from mals.look.run_source import RunSource, warm
from mals.look.search import OpenMethods
from mals.look.security import is_loopback, new_token
from mals.look.set_source import SetSource, set_files
from mals.look.source import Source
from mals.look.training import Training, is_training

log = logging.getLogger(__name__)
FIRST_PORT, TRIES = 8710, 20
FIRST_PAGE = 5.0  # seconds after which no person seems to wait for the first page


def open_places(places: Sequence[str]) -> tuple[Source | None, list[Training]]:
    """The trainings among these places, and the one run, packed set or folder of images; UserError where there are several."""
    trainings = [place for place in places if is_training(Store(place))]
    others = [place for place in places if place not in trainings]
    if len(others) > 1:
        raise UserError(f"{others[0]} and {others[1]} cannot be shown together: give one run, set or folder, and any number of trainings")
    return (open_source(others[0]) if others else None), [Training(place) for place in trainings]


def open_source(place: str) -> Source:
    """The run, packed set or folder of images at a path or URL; UserError where there is none of them."""
    store = Store(place)
    if store.size(SETTINGS) is not None:
        return RunSource(place)
    if set_files(store):
        return SetSource(place)
    if store.folder is None:
        raise UserError(f"{place} is no run and holds no packed set")
    if not store.folder.is_dir():
        raise UserError(f"there is no folder {place}")
    return FolderSource(place)


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens: on `port`, or on the first one from FIRST_PORT on that is not in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + TRIES):
        server = socket.socket(family, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((host, number))
            server.listen()  # requests wait from now on, so that the address can be opened as soon as it is printed
            return server
        except OSError as error:
            server.close()
            problem = error
    tried = f"port {port}" if port is not None else f"the ports {FIRST_PORT} to {FIRST_PORT + TRIES - 1}"
    raise UserError(f"{host} cannot be listened on at {tried}: {(problem.strerror or str(problem)).lower()}; give another --port")


def serve(
    places: Sequence[str],
    host: str = "127.0.0.1",
    port: int | None = None,
    show: bool = False,
    open_methods: OpenMethods | None = None,
) -> None:
    """Serve the pages of `places` until the process is stopped; the address is printed on stdout when they can be opened.

    `open_methods` gives the methods that search the images.
    """
    source, trainings = open_places(places)
    if source is None and open_methods is not None:
        raise UserError("--method searches images: give a run, a packed set or a folder of images beside the training")
    methods = open_methods(source) if source is not None and open_methods is not None else []
    token = None if is_loopback(host) else new_token()
    server = listen(host, port)
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{server.getsockname()[1]}/" + (f"?token={token}" if token else "")
    if token:
        log.warning("everyone in the network who knows this address can see the images and change verdicts; it is not encrypted")
    app = LookApp(source, token, trainings, methods)
    if isinstance(source, RunSource):
        threading.Thread(target=_warm, args=(source, app.answered), daemon=True).start()
    print(address, flush=True)
    rows = [] if source is None else [f"{source.title}: {source.rows:,} rows"]
    lines = [*rows, *(f"{training.title}: a training, {training.state}" for training in trainings)]
    print("; ".join([*lines, "Ctrl-C ends this"]), file=sys.stderr, flush=True)
    if show:
        webbrowser.open(address)
    for method in methods:
        method.state()  # which begins to embed the images
    _run(app, server)


def _run(app: LookApp, listening: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        app.asgi, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1, server_header=False
    )
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[listening])
    except BaseException as stopped:  # of Ctrl-C or SIGTERM, after the server has ended
        if not app.answering:
            raise
        print("stopped; pages that were being made are given up", file=sys.stderr, flush=True)
        os._exit(128 + getattr(stopped, "signal", signal.SIGINT))  # the interpreter would wait for their threads


def _warm(source: RunSource, answered: threading.Event) -> None:
    """Read ahead once the first page was answered, which would else take twice as long, or none was asked for in a while."""
    answered.wait(FIRST_PAGE)
    try:
        warm(source)
    except Exception as error:  # the page that needs it says why
        log.debug("not read ahead: %s", error)
