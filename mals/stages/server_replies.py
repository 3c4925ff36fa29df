"""What follows from the reply of a server, or from none: whose mistake it is, whether the request is sent again, and how long after."""

import json
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

FIRST_WAIT = 0.5  # seconds before the second try; doubled from try to try
LONGEST_WAIT = 30.0  # seconds
LONGEST_MESSAGE = 200  # characters of what a server says about an error


class Cause(Enum):
    """Why a request has no answer."""

    USER = "a mistake of the user, which stops the run: the address, the model, the key or the account"
    ROW = "this request is refused, and another try would be too"
    FAULT = "the server failed on this request; another try may work"
    BUSY = "the server has too much to do; the request did nothing wrong"
    AWAY = "nothing answered, or only a gateway before the server"


class Problem(Exception):
    """A request without an answer."""

    def __init__(self, cause: Cause, text: str, wait: float = 0.0, code: str = ""):
        super().__init__(cause, text, wait, code)
        self.cause, self.text, self.code = cause, text, code
        self.wait = wait  # seconds that the server asks to wait, at least

    def __str__(self) -> str:
        return self.text


class RequestFailed(Exception):
    """A request that is given up, an error of its row; `code` is the server's word for it, such as content_policy_violation."""

    def __init__(self, text: str, code: str = ""):
        super().__init__(text)
        self.code = code


def cause_of(status: int) -> Cause | None:
    """What an HTTP status says; None for success."""
    if 200 <= status < 300:
        return None
    if status < 400 or status in (401, 402, 403, 404, 405):
        return Cause.USER
    if status == 429:
        return Cause.BUSY
    if status in (502, 503, 504):
        return Cause.AWAY
    return Cause.FAULT if status in (408, 425) or status >= 500 else Cause.ROW


def retry_after(value: str | None) -> float:
    """Seconds of the header Retry-After, which has a number of them or a date; 0 for anything else."""
    if not value:
        return 0.0
    if value.strip().isdigit():
        return float(min(int(value.strip()[:9]), 10**6))
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def pause(tries: int, at_least: float) -> float:
    """Seconds before the next try after `tries` ones: doubled each time, drawn so that many requests do not come back at once."""
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries - 1, 10))
    return at_least + longest * random.uniform(0.5, 1.0)


def message_of(body: bytes) -> tuple[str, str]:
    """What a server says about an error, as one line, and its code; both may be empty."""
    text, code = body.decode(errors="replace"), ""
    try:
        part: Any = json.loads(text)
    except (ValueError, RecursionError):
        part = None
    if isinstance(part, dict):
        part = part.get("error", part)
        if isinstance(part, dict):
            code = str(part.get("code") or "")
            part = next((part[name] for name in ("message", "detail", "error") if part.get(name)), "")
        text = part if isinstance(part, str) else json.dumps(part)
    return " ".join(text.split()), code
