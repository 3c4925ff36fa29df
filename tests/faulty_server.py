"""A server that speaks the protocol of OpenAI over real HTTP, deterministic, and that fails as a test tells it.

`python -m tests.faulty_server PORT` is one in a process of its own, which can be killed and started again.
"""

import base64
import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
WORDS = (
    ("man", "woman", "person"),
    ("red", "blue", "green", "white", "black"),
    ("coat", "shirt", "jacket", "dress"),
    ("bag", "hat", "phone"),
)


@dataclass
class Reply:
    """What a fault sends in place of an answer."""

    status: int = 200
    body: bytes | dict[str, Any] = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds before it
    cut: bool = False  # the connection is closed in the middle of the body


Answer = dict[str, Any] | Reply
Fault = Callable[[int, dict[str, Any]], Reply | None]  # the request's number from 0, and its JSON


def chat(text: Any) -> dict[str, Any]:
    """An answer with this content."""
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}], "usage": USAGE}


def caption(request: dict[str, Any]) -> str:
    """A sentence that follows from the image and the question, and where words are sampled from the seed."""
    image, question = request["messages"][0]["content"]
    seed = request.get("seed") if request.get("temperature") else None
    digest = hashlib.sha256(json.dumps([image["image_url"]["url"], question["text"], seed]).encode()).digest()
    who, colour, clothes, carried = (words[digest[at] % len(words)] for at, words in enumerate(WORDS))
    return f"a {who} in a {colour} {clothes} with a {carried}"


def encoded(request: dict[str, Any]) -> bytes:
    """A PNG of coloured blocks that follows from prompt and seed, in the size that is asked for."""
    import numpy as np  # here, so that a process that captions starts at once
    from PIL import Image

    from tests.fakes import block_image

    width, height = map(int, request["size"].split("x"))
    seed = int.from_bytes(hashlib.sha256(f"{request['prompt']} {request.get('seed')}".encode()).digest()[:4], "big")
    sink = BytesIO()
    Image.fromarray(np.ascontiguousarray(block_image(seed, height, width))).save(sink, "PNG")
    return sink.getvalue()


class FaultyServer(ThreadingHTTPServer):
    """Keeps every request, with the most that it had at once."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0, fault: Fault = lambda number, request: None, key: str | None = None, delay: float = 0.0):
        super().__init__(("127.0.0.1", port), Handler)
        self.fault, self.key, self.delay = fault, key, delay
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.now = self.most = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def answer(self, path: str, request: dict[str, Any]) -> Answer:
        """What a good server says."""
        if path == "/v1/chat/completions":
            return chat(caption(request))
        if path == "/v1/images/generations":
            return {"created": 0, "data": [{"b64_json": base64.b64encode(encoded(request)).decode()}]}
        return Reply(404, {"error": {"message": f"there is no {path}"}})

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no error of a test."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def do_GET(self) -> None:
        self._handle({})

    def do_POST(self) -> None:
        self._handle(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _handle(self, request: dict[str, Any]) -> None:
        server = self.server
        with server.lock:
            number = len(server.requests)
            server.requests.append(request)
            server.headers.append(dict(self.headers))
            server.now += 1
            server.most = max(server.most, server.now)
        try:
            time.sleep(server.delay)
            reply: Answer | None = server.fault(number, request)
            if reply is None and server.key is not None and self.headers.get("Authorization") != f"Bearer {server.key}":
                reply = Reply(401, {"error": {"message": f"{self.headers.get('Authorization')} is no key of ours"}})
            self._send(server.answer(self.path, request) if reply is None else reply)
        finally:
            with server.lock:
                server.now -= 1

    def _send(self, answer: Answer) -> None:
        reply = answer if isinstance(answer, Reply) else Reply(body=answer)
        body = json.dumps(reply.body).encode() if isinstance(reply.body, dict) else reply.body
        time.sleep(reply.delay)
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if reply.cut else body)
        if reply.cut:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


@contextmanager
def serving(server: FaultyServer) -> Iterator[FaultyServer]:
    """The server in a thread."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    FaultyServer(int(sys.argv[1]), delay=float(sys.argv[2]) if len(sys.argv) > 2 else 0.0).serve_forever()
