"""The client of a server that speaks the protocol of OpenAI: many requests at a time, sent again where that helps.

The key comes from the environment and goes into one header. Whatever a server sends back, the key is blanked in it before anything else
is done with it, so that a server that repeats it in an answer or an error puts it nowhere.
"""

import asyncio
import json
import os
import re
import threading
import time
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from mals.errors import UserError
from mals.server_settings import Server as Settings
from mals.stages.server_replies import LONGEST_MESSAGE, Cause, Problem, RequestFailed, cause_of, message_of, pause, retry_after

MOST_ERROR_BYTES = 64 << 10  # of the reply that tells an error
KEY = re.compile(r"[\w.~+/=:-]{4,}", re.ASCII)
BLANK = "[key]"  # in place of the key
T = TypeVar("T")
Read = Callable[[Any], Awaitable[T]]  # takes what it needs out of an answer; raises Problem for an answer without it


class Server:
    """One server, with the loop and the thread in which its requests are sent.

    `most_bytes`: of an answer; a longer one is given up. Raises UserError where the key is missing.
    """

    def __init__(self, settings: Settings, model: str, most_bytes: int):
        import httpx2

        self.settings, self.model, self.most_bytes = settings, model, most_bytes
        self.counts: Counter[str] = Counter()  # of Used, since they were last taken
        self._key = read_key(settings)
        self._answered = self._succeeded = 0.0  # monotonic seconds: the last reply of the server, the last that was no refusal to work
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx2.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency)
        timeout = httpx2.Timeout(settings.timeout, pool=None)
        self._client = httpx2.AsyncClient(headers=headers, limits=limits, timeout=timeout, follow_redirects=False)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_serve, args=(self._loop, self._client), daemon=True, name="mals-server").start()
        weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)

    def post_all(self, path: str, count: int, payload: Callable[[int], dict[str, Any]], read: "Read[T]") -> list[T | RequestFailed]:
        """What `read` takes out of the answers to `count` requests, in their order, or why there is none.

        `payload` makes the JSON of a request when its turn comes. Raises UserError for mistakes of the user, and where the server does not
        answer for as long as `patience` says; the other requests are given up then.
        """
        work = asyncio.run_coroutine_threadsafe(self._post_all(f"{self.settings.url}{path}", count, payload, read), self._loop)
        try:
            return work.result()
        except BaseException:  # Ctrl-C among them
            work.cancel()
            raise

    async def _post_all(self, url: str, count: int, payload: Callable[[int], dict[str, Any]], read: "Read[T]") -> list[T | RequestFailed]:
        slots = asyncio.Semaphore(self.settings.concurrency)
        self._answered = self._succeeded = time.monotonic()

        async def one(number: int) -> T | RequestFailed:
            async with slots:
                return await self._post(url, payload(number), read)

        tasks = [asyncio.create_task(one(number)) for number in range(count)]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _post(self, url: str, payload: dict[str, Any], read: "Read[T]") -> T | RequestFailed:
        """One request, as often as its problems allow."""
        tries = faults = 0
        while True:
            began = time.monotonic()
            try:
                answer = await self._send(url, payload)
                self._count(answer)
                value = await read(answer)
                self._succeeded = time.monotonic()
                return value
            except Problem as problem:
                tries += 1
                # A server that answered other requests meanwhile is there: then it fails on this one.
                faults += problem.cause is Cause.FAULT or (problem.cause is Cause.AWAY and self._answered > began)
                if problem.cause is Cause.USER:
                    raise UserError(problem.text) from None
                if problem.cause is Cause.ROW or faults >= self.settings.attempts:
                    self._succeeded = time.monotonic()
                    return RequestFailed(problem.text, problem.code)
                self._stop_if_gone(problem)
                await asyncio.sleep(pause(tries, problem.wait))

    def _stop_if_gone(self, problem: Problem) -> None:
        """Raise UserError where nothing came of any request for as long as `patience` says."""
        patience = self.settings.patience
        silent = time.monotonic() - (self._succeeded if problem.cause is Cause.BUSY else self._answered)
        if problem.wait > patience:
            why = f"asks to wait for {problem.wait:.0f} s ({problem.text}); give the same command again after that"
        elif problem.cause is Cause.AWAY and silent >= patience:
            why = f"has not answered for {silent:.0f} s ({problem.text}); start it, the same command goes on; if it is slow, raise timeout"
        elif problem.cause is Cause.BUSY and silent >= patience:
            why = f"has turned away all requests for {silent:.0f} s ({problem.text}); lower concurrency, or give the command again later"
        else:
            return
        raise UserError(f"the server {self.settings.url} {why}; finished shards are kept")

    async def _send(self, url: str, payload: dict[str, Any]) -> Any:
        """The JSON of the answer to one request; raises Problem."""
        self.counts["requests"] += 1
        body = await self._fetch("POST", url, payload)
        try:
            return self._blanked_tree(json.loads(body))
        except (ValueError, RecursionError):
            raise Problem(Cause.FAULT, "the answer of the server is no JSON") from None

    async def fetch_from_own(self, url: str) -> bytes:
        """The file at an address that an answer names, relative or whole, of the server itself; raises Problem for any other server."""
        whole = urljoin(f"{self.settings.url}/", url)
        if _origin(whole) != _origin(self.settings.url):
            raise Problem(Cause.ROW, f"the answer names a file of another server, {_origin(whole)}, which is not fetched")
        return await self._fetch("GET", whole)

    async def _fetch(self, method: str, url: str, payload: dict[str, Any] | None = None) -> bytes:
        """The body of a successful reply; raises Problem."""
        import httpx2

        try:
            async with asyncio.timeout(self.settings.timeout), self._client.stream(method, url, json=payload) as reply:
                cause = cause_of(reply.status_code)
                if cause is not Cause.AWAY:
                    self._answered = time.monotonic()
                body = await _body(reply, self.most_bytes if cause is None else MOST_ERROR_BYTES, cut=cause is not None)
        except TimeoutError:
            raise Problem(Cause.AWAY, f"no answer in {self.settings.timeout:g} s") from None
        except httpx2.DecodingError:
            raise Problem(Cause.FAULT, "the answer of the server is not compressed as it says") from None
        except httpx2.RequestError as error:
            raise Problem(Cause.AWAY, self._blanked(f"{type(error).__name__}: {error}".rstrip(": "))[:LONGEST_MESSAGE]) from None
        if cause is not None:
            raise self._problem(cause, reply.status_code, reply.headers, body)
        self._answered = time.monotonic()
        return body

    def _problem(self, cause: Cause, status: int, headers: Any, body: bytes) -> Problem:
        """What an unsuccessful reply says."""
        message, code = message_of(body)
        message = self._blanked(message)[:LONGEST_MESSAGE]
        text = f"HTTP {status}{f': {message}' if message else ''}"
        if cause is Cause.USER:
            text = f"the server {self.settings.url} answers {text}; {self._way_on(status, headers)}"
        return Problem(cause, text, retry_after(headers.get("retry-after")), self._blanked(code)[:LONGEST_MESSAGE])

    def _way_on(self, status: int, headers: Any) -> str:
        """What the user can do about a status that is a mistake of the user."""
        if status in (401, 403) and self.settings.key_env is None:
            return "it wants a key: set key_env of the server to the name of the environment variable that holds it"
        if status in (401, 403):
            return f"it refuses the key in the environment variable {self.settings.key_env}, or that key may not use {self.model}"
        if status == 402:
            return "the account has to be paid; the same command goes on after that"
        if status < 400:
            return f"set the url of the server to where it leads, {self._blanked(str(headers.get('location', '')))[:LONGEST_MESSAGE]}"
        return f"its url goes up to and with /v1, and the model {self.model} has to be one that it serves"

    def _blanked(self, text: str) -> str:
        return text.replace(self._key, BLANK) if self._key else text

    def _blanked_tree(self, value: Any) -> Any:
        """A JSON value without the key: after it was read, since JSON can write a letter in several ways."""
        if isinstance(value, dict):
            return {self._blanked(name): self._blanked_tree(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self._blanked_tree(part) for part in value]
        return self._blanked(value) if isinstance(value, str) else value

    def _count(self, answer: Any) -> None:
        """Add up the use that an answer tells."""
        usage = answer.get("usage") if isinstance(answer, dict) else None
        usage = usage if isinstance(usage, dict) else {}
        for name, other in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")):
            count = usage.get(name, usage.get(other))
            if isinstance(count, int) and count > 0:
                self.counts[name] += count
        self.counts["answers"] += 1
        self.counts["counted"] += bool(usage)

    def take_counts(self) -> dict[str, int]:
        """Requests, tokens, and answers that tell no use, since the last call."""
        counts, self.counts = self.counts, Counter()
        uncounted = counts.pop("answers", 0) - counts.pop("counted", 0)
        return {name: count for name, count in {**counts, "uncounted": uncounted}.items() if count}


def read_key(settings: Settings) -> str:
    """The key in the environment, empty where none is asked for; UserError where the variable is missing or holds no key."""
    if settings.key_env is None:
        return ""
    key = os.environ.get(settings.key_env, "").strip()
    if not key:
        raise UserError(f"the server {settings.url} gets the key in the environment variable {settings.key_env}, which is not set; set it")
    if not KEY.fullmatch(key):
        raise UserError(f"what the environment variable {settings.key_env} holds is no key: it is short or has characters that none has")
    return key


def _serve(loop: asyncio.AbstractEventLoop, client: Any) -> None:
    """Run the loop until it is stopped."""
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.run_until_complete(client.aclose())
    loop.close()


async def _body(reply: Any, most: int, cut: bool) -> bytes:
    """The body of a reply; Problem where it is longer than `most` bytes, or with `cut` its beginning."""
    body = bytearray()
    async for part in reply.aiter_bytes():
        body += part
        if len(body) > most:
            if cut:
                return bytes(body[:most])
            raise Problem(Cause.FAULT, f"the answer of the server is longer than {most >> 20} MiB")
    return bytes(body)


def _origin(url: str) -> str:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or {'http': 80, 'https': 443}.get(parts.scheme, 0)}"
