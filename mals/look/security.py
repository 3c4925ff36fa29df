"""What a request must have before a page answers it, and the headers of every answer.

The server listens on this machine only, so any page in the same browser could reach it: the Host header must be one of its own names
(another name is a rebound DNS entry), and what changes something must come from its own pages. On another address everyone in the network
could reach it, so each request needs the token there, from the address that `mals look` prints or from the cookie that this sets.
"""

import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "mals-look-{port}"  # a browser gives the cookies of a machine to all its ports
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


def is_loopback(host: str) -> bool:
    """Whether an address that is listened on is of this machine alone."""
    return host in LOOPBACK


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(24)


class Guard:
    """ASGI middleware: refuses requests that may not be answered, and adds HEADERS to all answers."""

    def __init__(self, app: ASGIApp, token: str | None = None) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        answer = self._refusal(scope, Headers(scope=scope))
        await (answer or self.app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request that does not reach the pages; None for one that does."""
        if self.token is None and _host_name(headers.get("host", "")) not in LOOPBACK:
            return PlainTextResponse("this page is for this machine only; open it at http://127.0.0.1\n", 421)
        if self.token is not None and (answer := self._without_token(scope, headers)) is not None:
            return answer
        if scope["method"] not in ("GET", "HEAD") and not same_origin(headers):
            return PlainTextResponse("only the pages of mals look may change something\n", 403)
        return None

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request without the cookie; the token in the address sets it, and is taken out of the address."""
        assert self.token is not None
        cookie = COOKIE.format(port=scope["server"][1])
        if hmac.compare_digest(_cookies(headers).get(cookie, "").encode(), self.token.encode()):
            return None
        pairs = parse_qsl(scope["query_string"].decode(errors="replace"))
        if not hmac.compare_digest(dict(pairs).get("token", "").encode(), self.token.encode()):
            return PlainTextResponse("open the address with the token that `mals look` has printed\n", 401)
        path, query = "/" + scope["path"].lstrip("/"), urlencode([pair for pair in pairs if pair[0] != "token"])
        answer = RedirectResponse(f"{path}?{query}" if query else path, 303)
        answer.set_cookie(cookie, self.token, httponly=True, samesite="strict")
        return answer


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a page of this server sent the request: browsers say so in Origin, and newer ones in Sec-Fetch-Site."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    if origin is None:
        return site == "same-origin"
    return urlsplit(origin).netloc == headers.get("host", "")


def _host_name(host: str) -> str:
    """The name of a Host header without its port."""
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]


def _cookies(headers: Headers) -> dict[str, str]:
    pairs = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
    return {name: value for name, _, value in pairs}
