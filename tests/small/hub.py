"""A Hugging Face hub in a thread: the part of its HTTP interface that creates data sets and models, uploads, lists and downloads.

Commits contain the files themselves (no LFS).
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub(ThreadingHTTPServer):
    """The server, with the created data sets and models and their files."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.commits = 0
        self.forbidden = False  # whether writing is refused
        self.loses = ""  # a file that the server drops
        self.break_after: int | None = None  # number of commits after which the connection breaks

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is printed."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        body, words = self._body(), self.path.split("?")[0].strip("/").split("/")
        if self.server.forbidden:
            return self._answer({"error": "forbidden"}, 403)
        if words == ["api", "repos", "create"]:
            request = json.loads(body)
            name = "/".join(filter(None, (request.get("organization"), request["name"])))
            self.server.repos.setdefault(name, {".gitattributes": b""})
            folder = "datasets/" if request.get("type") == "dataset" else ""
            return self._answer({"url": f"{self.server.url}/{folder}{name}", "name": name, "id": "1"})
        if words == ["api", "validate-yaml"]:
            return self._answer({"errors": [], "warnings": []})
        repo = "/".join(words[2:4])
        if words[4] == "preupload":
            listed = json.loads(body)["files"]
            return self._answer({"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in listed]})
        if words[4] == "commit":
            return self._commit(self.server.repos[repo], repo, [json.loads(line) for line in body.splitlines()])
        return self._answer({"error": self.path}, 404)

    def _commit(self, files: dict[str, bytes], repo: str, lines: list[dict[str, Any]]) -> None:
        if self.server.break_after is not None and self.server.commits >= self.server.break_after:
            return self.connection.close()
        for line in lines:
            if line["key"] == "file" and line["value"]["path"] != self.server.loses:
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        self.server.commits += 1
        oid = f"{self.server.commits:040d}"
        self._answer({"success": True, "commitOid": oid, "commitUrl": f"{self.server.url}/datasets/{repo}/commit/{oid}"})

    def do_HEAD(self) -> None:
        self._file(self.path.split("?")[0].strip("/").split("/"), False)

    def _file(self, words: list[str], whole: bool) -> None:
        """A file of a model, OWNER/NAME/resolve/REVISION/PATH."""
        data = self.server.repos.get("/".join(words[:2]), {}).get("/".join(words[4:]))
        if data is None:
            return self._answer({"error": "no such file"}, 404)
        self.send_response(200)
        for name, value in (("ETag", f'"{hashlib.sha1(data).hexdigest()}"'), ("X-Repo-Commit", "0" * 40), ("Content-Length", len(data))):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data if whole else b"")

    def do_GET(self) -> None:
        words = self.path.split("?")[0].strip("/").split("/")
        if words[2:3] == ["resolve"]:
            return self._file(words, True)
        files = self.server.repos.get("/".join(words[2:4]))
        if files is None:
            return self._answer({"error": "no such repository"}, 404)
        if words[4:5] == ["tree"]:
            return self._answer(
                [{"type": "file", "path": path, "size": len(data), "oid": "0" * 40} for path, data in sorted(files.items())]
            )
        if words[4:5] == ["revision"] or len(words) == 4:
            siblings = [{"rfilename": path} for path in sorted(files)]
            return self._answer({"id": "/".join(words[2:4]), "sha": "0" * 40, "siblings": siblings, "tags": [], "private": False})
        return self._answer({"error": self.path}, 404)


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub on a free port, stopped at the end."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
