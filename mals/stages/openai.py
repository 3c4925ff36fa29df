"""Captions by a vision-language model behind a server that speaks the protocol of OpenAI; the prompt of a request is the question."""

import base64
from collections.abc import Sequence
from typing import Any

from mals.config import Captioner as Settings
from mals.stages.captioning.model import Request
from mals.stages.server import Server
from mals.stages.server_replies import Cause, Problem, RequestFailed

MOST_BYTES = 4 << 20  # of an answer
SEEDS = 2**31  # servers take seeds of 32 bits, some with a sign
KINDS = ((b"\x89PNG", "png"), (b"RIFF", "webp"))  # first bytes of files that are no JPEG


class OpenAi:
    """The model that a server runs: vLLM, SGLang, LMDeploy, `transformers serve`, llama.cpp, or one that is paid."""

    def __init__(self, settings: Settings):
        assert settings.server is not None  # Captioner has checked it
        self.settings = settings
        self.server = Server(settings.server, settings.model, MOST_BYTES)

    def caption(self, requests: Sequence[Request]) -> list[str | RequestFailed]:
        """See mals.stages.captioning.model.CaptionModel; a row that stands in a batch twice, to fill it, is asked for once."""
        keys = [(request.seed, request.prompt) for request in requests]
        distinct = dict(zip(keys, requests, strict=True))
        sent = list(distinct.values())
        replies = self.server.post_all("/chat/completions", len(sent), lambda number: payload(self.settings, sent[number]), _read)
        by_key = dict(zip(distinct, replies, strict=True))
        return [by_key[key] for key in keys]


def payload(settings: Settings, request: Request) -> dict[str, Any]:
    """The JSON of one request."""
    kind = next((name for start, name in KINDS if request.file.startswith(start)), "jpeg")
    url = f"data:image/{kind};base64,{base64.b64encode(request.file).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": request.prompt}]
    sampling = {"temperature": settings.temperature, "top_p": settings.top_p} if settings.sample else {"temperature": 0.0}
    keys: dict[str, Any] = {
        "model": settings.model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": settings.max_tokens,
        "seed": request.seed % SEEDS,
        **sampling,
    }
    if settings.json_schema is not None and not request.is_question:
        schema = {"name": settings.json_field, "schema": settings.json_schema, "strict": True}
        keys["response_format"] = {"type": "json_schema", "json_schema": schema}
    assert settings.server is not None
    return {name: value for name, value in {**keys, **settings.server.extra}.items() if value is not None}


async def _read(answer: Any) -> str:
    """The text in an answer; Problem for an answer of another form."""
    try:
        text = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        text = 0
    if text is not None and not isinstance(text, str):
        raise Problem(Cause.FAULT, "the answer of the server has no text at choices.0.message.content")
    return (text or "").strip()
