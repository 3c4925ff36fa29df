"""The pages behind a real socket, and plain requests to them."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mals.look.app import LookApp
from mals.look.server import listen
from mals.look.source import Source


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    code: int
    text: str
    headers: Mapping[str, str]
    data: bytes


@contextmanager
def serving(source: Source | None, token: str | None = None, **more: Any) -> Iterator[str]:
    """The address of a server of `source`, and what else `LookApp` takes."""
    import uvicorn

    listening = listen("127.0.0.1", 0)
    app = LookApp(source, token, **more)
    server = uvicorn.Server(uvicorn.Config(app.asgi, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Shows a redirect as it is."""

    def redirect_request(self, *arguments: object) -> None:
        return None


def ask(address: str, headers: Mapping[str, str] | None = None, data: bytes | None = None) -> Answer:
    """One request, GET, or POST with `data`."""
    opener = urllib.request.build_opener(NoRedirects)
    try:
        with opener.open(urllib.request.Request(address, data, dict(headers or {})), timeout=60) as answer:
            body = answer.read()
            return Answer(answer.status, body.decode(errors="replace"), answer.headers, body)
    except urllib.error.HTTPError as error:
        body = error.read()
        return Answer(error.code, body.decode(errors="replace"), error.headers, body)
