"""Settings of a server that captions or makes images: where it is, how hard it is asked, and what it costs.

They change no result but for `extra`, so the others stay out of the fingerprints.
"""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from mals.section import Count, Section

Amount = Annotated[float, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
OURS = ("model", "messages", "prompt", "size", "n", "stream")  # keys of a request that `extra` cannot hold


class Price(Section):
    """What a server charges, in the currency that you think of."""

    prompt: Amount = 0.0  # of a million tokens that the model reads, those of images included
    completion: Amount = 0.0  # of a million tokens that the model writes
    image: Amount = 0.0  # of an image that the model makes


class Server(Section):
    """A server that speaks the protocol of OpenAI: vLLM, SGLang, LMDeploy, `transformers serve`, llama.cpp, or one that is paid."""

    url: str  # no results; up to and with /v1, such as http://localhost:8000/v1
    concurrency: Count = 64  # no results; requests at a time, of each process
    timeout: Seconds = 120.0  # no results; seconds that one request may take
    attempts: Count = 6  # no results; at a request on which the server fails, before that is an error of its row
    patience: Seconds = 120.0  # no results; seconds without any answer of the server after which the run stops
    key_env: str | None = None  # no results; the environment variable that holds the key, not the key; none: no key is sent
    extra: dict[str, Any] = {}  # more keys of every request, such as {top_k: 20}; null leaves out one that is sent otherwise, such as seed
    price: Price = Price()  # no results

    @field_validator("url")
    @classmethod
    def is_plain(cls, url: str) -> str:
        """An address without credentials, which would be written into files and messages."""
        try:
            parts = urlsplit(url)
            plain = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment or "@" in parts.netloc)
            plain = plain and url.isascii() and url.isprintable() and " " not in url and (parts.port is None or parts.port > 0)
        except ValueError:  # of a port that is no number
            plain = False
        if not plain:
            raise ValueError(
                "the url of a server is like http://localhost:8000/v1, without a user, a password or a query; "
                "the environment variable that key_env names holds the key"
            )
        return url.rstrip("/")

    @field_validator("key_env")
    @classmethod
    def names_a_variable(cls, name: str | None) -> str | None:
        """The name of a variable; what is there instead may be the key itself, and is not repeated."""
        if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", name):
            raise ValueError(
                "key_env is the name of an environment variable in capitals, such as OPENAI_API_KEY; the key itself is no setting"
            )
        return name

    @field_validator("extra")
    @classmethod
    def leaves_ours(cls, extra: dict[str, Any]) -> dict[str, Any]:
        """Keys that other settings make."""
        if taken := [key for key in extra if key in OURS]:
            raise ValueError(f"extra cannot hold {taken[0]}, which follows from the other settings")
        return extra


def check_server(name: str, backend: str, server: Server | None, revision: str | None) -> None:
    """Raise ValueError where the backend openai lacks what it needs, or another backend has a server."""
    if backend != "openai" and server is not None:
        raise ValueError(f"{name} of the backend {backend} asks no server; set its backend to openai, or leave out server")
    if backend == "openai" and server is None:
        raise ValueError(f"{name} of the backend openai needs a server; set server.url, such as http://localhost:8000/v1")
    if backend == "openai" and revision is None:
        raise ValueError(
            f"{name} of the backend openai needs a revision: a label of yours for what the server runs, such as the commit of its weights; "
            "raise it when they change, so that what they made is made again"
        )
