"""Requests of a run at an S3 server, counted between the two: `python -m benchmarks.store_requests URL [SHARDS]`, one JSON line a command.

URL is a new folder in a bucket of the server that AWS_ENDPOINT_URL_S3 names, such as s3://bucket/run. The run has 6 stages without models
and images of 28 kB, in shards of 512 rows. `a_cell` leaves out the folders that follow the clock, locks/ and events/.
"""

import json
import os
import re
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.pack import CAPTION, COLUMNS
from mals.dataset.pack import pack
from mals.grid.run import Run, run_stages
from mals.planning.create import create

ADDRESS = "AWS_ENDPOINT_URL_S3"
BY_THE_CLOCK = re.compile(r"(/|%2F)(locks|events)(/|%2F)")
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate</Message></Error>"


class CountingProxy:
    """Passes requests on to an S3 server and counts them, those of leases and events apart; answers with 503 if `throttled`."""

    def __init__(self, target: str) -> None:
        self.target = target.removeprefix("http://")
        self.counts: Counter[str] = Counter()  # method, LIST or "by the clock" -> requests
        self.throttled = False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def count(self, method: str, path: str) -> None:
        kind = "by the clock" if BY_THE_CLOCK.search(path) else "LIST" if "list-type" in path else method
        self.counts[kind] += 1

    def a_cell(self, cells: int) -> float:
        """Requests a cell, without those that follow the clock."""
        return round((self.counts.total() - self.counts["by the clock"]) / cells, 2)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _handler(proxy: CountingProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            proxy.count(self.command, self.path)
            if proxy.throttled:
                self.answer(503, {}, SLOW_DOWN)
                return
            connection = HTTPConnection(proxy.target, timeout=60)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)  # the name of the host is signed
            connection.endheaders(body)
            reply = connection.getresponse()
            data = reply.read()
            skipped = ("connection", "transfer-encoding", "content-length")
            headers = {name: value for name, value in reply.getheaders() if name.lower() not in skipped}
            size = reply.getheader("Content-Length") if self.command == "HEAD" else None
            connection.close()
            self.answer(reply.status, headers, data, size)

        def answer(self, status: int, headers: dict[str, str], data: bytes, size: str | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", size or str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


def plan_there(url: str, shards: int) -> None:
    """Plan the run."""
    with tempfile.TemporaryDirectory() as folder:
        captions = Path(folder) / "captions.txt"
        captions.write_text(f"{CAPTION}\n", encoding="utf-8")
        stages = [f"stages.{name}=benchmarks.pack:{name}" for name in COLUMNS]
        create(url, captions=captions, count=512 * shards, assignments=[*stages, "shard_rows=512"])


def measure(url: str, shards: int) -> Iterator[dict[str, Any]]:
    """Requests of making the cells, of a command that finds nothing to do, and of packing."""
    proxy = CountingProxy(os.environ[ADDRESS])
    os.environ[ADDRESS] = proxy.address  # for this process and the workers
    plan_there(url, shards)
    cells = shards * len(COLUMNS)
    for name, work in {"cells": run_there, "nothing to do": run_there, "pack": pack_there}.items():
        proxy.counts.clear()
        work(url)
        yield {"step": name, "cells": cells, "a_cell": proxy.a_cell(cells), "requests": dict(sorted(proxy.counts.items()))}
    proxy.close()


def run_there(url: str) -> None:
    """Make all cells that are missing."""
    run_stages(Run.open(url), quiet=True)


def pack_there(url: str) -> None:
    """Write the data set."""
    pack(Run.open(url))


if __name__ == "__main__":
    for line in measure(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 16):
        print(json.dumps(line), flush=True)
