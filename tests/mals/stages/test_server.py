"""The client of a captioning server, over real HTTP against a server that fails in every way."""

import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest

from mals.config import Captioner
from mals.errors import UserError
from mals.stages.captioning.model import Request
from mals.stages.openai import OpenAi
from mals.stages.server_replies import Cause, RequestFailed, cause_of, pause, retry_after
from tests.conftest import ROOT, environment
from tests.fakes import block_image, jpeg
from tests.faulty_server import FaultyServer, Reply, caption, chat, serving

KEY = "sk-test/0123456789abcdef"


def requests(count):
    pixels = [block_image(seed) for seed in range(count)]
    return [Request(image, f"what is in image {at}", at, file=jpeg(image)) for at, image in enumerate(pixels)]


def captioner(url, sample=False, **server):
    server = {"attempts": 3, "patience": 3.0, "timeout": 5.0, "concurrency": 8, "url": url, **server}
    return OpenAi(Captioner(backend="openai", model="any", revision="1", prompt="what", sample=sample, server=server))


def answered(fault=lambda number, request: None, count=4, key=None, **server):
    """The replies to `count` requests by a server with this fault, and the server."""
    with serving(FaultyServer(fault=fault, key=key)) as faulty:
        return captioner(faulty.url, **server).caption(requests(count)), faulty


def first(reply):
    """A fault of the first request alone."""
    return lambda number, request: reply if number == 0 else None


def of_image(number, reply):
    """A fault of every request about one image."""
    return lambda _, request: reply if request["messages"][0]["content"][1]["text"].endswith(f"image {number}") else None


def test_every_request_is_answered_in_its_place_and_no_more_are_sent_at_a_time_than_set():
    with serving(FaultyServer(delay=0.05)) as server:
        texts = captioner(server.url, concurrency=5).caption(requests(24))
        expected = [caption(request) for request in sorted(server.requests, key=lambda request: request["seed"])]
    assert texts == expected
    assert server.most == 5


def test_texts_do_not_depend_on_concurrency():
    def reply(number, request):  # the first are answered last
        return Reply(body=chat(caption(request)), delay=0.2 if number < 3 else 0.0)

    texts = [answered(reply, 12, concurrency=concurrency, sample=True)[0] for concurrency in (1, 3, 12)]
    assert texts[0] == texts[1] == texts[2]
    assert len(set(texts[0])) > 6


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 529])
def test_a_status_that_passes_is_asked_again(status):
    texts, server = answered(first(Reply(status, {"error": {"message": "not now"}})))
    assert texts == answered()[0]
    assert len(server.requests) == 5


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422, 451])
def test_another_refusal_is_an_error_of_its_row_alone_and_is_not_asked_again(status):
    texts, server = answered(of_image(2, Reply(status, {"error": {"message": "the image is too large", "code": "too_large"}})))
    assert [isinstance(text, RequestFailed) for text in texts] == [False, False, True, False]
    assert str(texts[2]) == f"HTTP {status}: the image is too large" and texts[2].code == "too_large"
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "set key_env of the server"),
        (403, "set key_env of the server"),
        (402, "has to be paid"),
        (404, "its url goes up to and with /v1, and the model any has to be one that it serves"),
        (405, "its url goes up to"),
        (307, "set the url of the server to where it leads, http://elsewhere/v1"),
    ],
)
def test_a_mistake_of_the_user_stops_at_once_with_the_way_on(status, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        answered(first(Reply(status, {"detail": "no"}, {"Location": "http://elsewhere/v1"})))
    assert f"HTTP {status}: no" in str(error.value) and "\n" not in str(error.value)


BAD = {
    "rubbish": Reply(body=b"\x00\xff rubbish"),
    "torn JSON": Reply(body=b'{"choices": ['),
    "another JSON": Reply(body=b"[1, 2]"),
    "nested": Reply(body=b"[" * 100_000),
    "no choices": Reply(body={"choices": []}),
    "null choices": Reply(body={"choices": None}),
    "a number as text": Reply(body=chat(5)),
    "a huge answer": Reply(body=chat("long " * 2_000_000)),
    "cut": Reply(body=chat("a man"), cut=True),
    "falsely compressed": Reply(body=b"plain", headers={"Content-Encoding": "gzip"}),
    "500": Reply(500, b"<html>broken</html>"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_answer_is_asked_again_and_then_an_error_of_its_row(kind):
    texts, server = answered(first(BAD[kind]), concurrency=1)
    assert texts == answered()[0] and len(server.requests) == 5
    texts, server = answered(of_image(2, BAD[kind]))
    assert [isinstance(text, RequestFailed) for text in texts] == [False, False, True, False], texts
    assert len(str(texts[2])) <= 300


def test_an_answer_without_text_is_an_empty_caption():
    assert answered(lambda number, request: Reply(body=chat(None)))[0] == [""] * 4


def test_a_slow_answer_is_given_up_and_asked_for_again():
    texts, server = answered(first(Reply(body=chat("late"), delay=2.0)), timeout=0.5)
    assert texts == answered()[0]
    assert len(server.requests) == 5


@pytest.mark.parametrize("value", [lambda: "2", lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)])
def test_retry_after_is_waited_for_in_seconds_and_as_a_date(value):
    began = time.monotonic()
    texts, _ = answered(first(Reply(429, b"", {"Retry-After": value()})), patience=20.0)
    assert texts == answered()[0]
    assert time.monotonic() - began >= 1.9


def test_a_longer_wait_than_the_patience_stops_with_a_sentence():
    with pytest.raises(UserError, match="asks to wait for 3600 s"):
        answered(first(Reply(429, b"", {"Retry-After": "3600"})))


def test_a_server_that_turns_everything_away_stops_with_a_sentence_and_no_row_is_an_error():
    with pytest.raises(UserError, match=r"has turned away all requests for \d+ s \(HTTP 429: quota\); lower concurrency"):
        answered(lambda number, request: Reply(429, {"error": {"message": "quota"}}), patience=1.0)


def test_a_server_that_is_gone_stops_with_a_sentence_that_says_how_to_go_on():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    began = time.monotonic()
    with pytest.raises(UserError, match=r"has not answered for \d+ s \(ConnectError.*\); start it, the same command goes on"):
        captioner(url, patience=1.0).caption(requests(3))
    assert 1.0 <= time.monotonic() - began < 8.0


def test_a_gateway_before_a_server_that_is_gone_is_no_answer():
    with pytest.raises(UserError, match=r"has not answered for \d+ s \(HTTP 502\)"):
        answered(lambda number, request: Reply(502), patience=1.0)


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_loses_no_row():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def start():
        return subprocess.Popen([sys.executable, "-m", "tests.faulty_server", str(port), "0.1"], cwd=ROOT, env=environment())

    texts = []
    model = captioner(f"http://127.0.0.1:{port}/v1", concurrency=2, patience=60.0)
    process = start()
    work = threading.Thread(target=lambda: texts.extend(model.caption(requests(40))))
    work.start()
    try:
        while not model.server.counts["counted"]:
            time.sleep(0.05)
        process.kill()
        process.wait()
        time.sleep(1.0)
        assert not texts
        process = start()
        work.join(60)
    finally:
        process.kill()
        process.wait()
    assert texts == answered(count=40)[0]


def test_the_key_comes_from_the_environment_and_is_blanked_in_what_the_server_says(monkeypatch):
    monkeypatch.setenv("TEST_KEY", f" {KEY}\n")
    texts, server = answered(key=KEY, key_env="TEST_KEY")
    assert texts == answered()[0]
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    escaped = KEY.replace("/", "\\/").replace("sk", "\\u0073k")
    echo = Reply(400, f'{{"error": {{"message": "the key {escaped} is odd", "code": "{KEY}"}}}}'.encode())
    for fault in (echo, Reply(400, f"plain {KEY}".encode()), Reply(body=chat(f"a man with {KEY}"))):
        texts, _ = answered(lambda number, request, fault=fault: fault, key_env="TEST_KEY")
        assert KEY not in str(texts) and "[key]" in str(texts[0])
        assert KEY not in getattr(texts[0], "code", "")
    with pytest.raises(UserError, match=r"Bearer \[key\] is no key of ours; it refuses the key in the environment variable TEST_KEY"):
        answered(key="sk-other", key_env="TEST_KEY")


def test_a_key_that_is_missing_or_is_none_is_refused_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("TEST_KEY", raising=False)
    with pytest.raises(UserError, match="TEST_KEY, which is not set; set it"):
        captioner("http://127.0.0.1:1/v1", key_env="TEST_KEY")
    monkeypatch.setenv("TEST_KEY", "two words")
    with pytest.raises(UserError, match="is no key") as error:
        captioner("http://127.0.0.1:1/v1", key_env="TEST_KEY")
    assert "two words" not in str(error.value)


def test_use_is_counted_and_answers_that_tell_none_are_counted_as_such():
    with serving(FaultyServer(fault=first(Reply(500)))) as server:
        model = captioner(server.url)
        model.caption(requests(3))
        assert model.server.take_counts() == {"requests": 4, "prompt_tokens": 300, "completion_tokens": 30}
        assert model.server.take_counts() == {}
        server.fault = lambda number, request: Reply(body={**chat("a man"), "usage": None})
        model.caption(requests(2))
        assert model.server.take_counts() == {"requests": 2, "uncounted": 2}


def test_the_statuses_and_the_pauses():
    assert [cause_of(status) for status in (200, 302, 401, 400, 429, 503, 500)] == [
        *(None, Cause.USER, Cause.USER, Cause.ROW, Cause.BUSY, Cause.AWAY, Cause.FAULT)
    ]
    assert [retry_after(value) for value in (None, "", "7", "soon", "-3", "9" * 400)] == [0, 0, 7, 0, 0, 10**6]
    assert all(0.25 <= pause(1, 0) <= 0.5 and 15 <= pause(99, 0) <= 30 and pause(1, 9) >= 9 for _ in range(50))
    assert len({pause(3, 0) for _ in range(20)}) > 10


def test_images_go_as_the_bytes_that_are_stored():
    import base64

    with serving(FaultyServer()) as server:
        captioner(server.url).caption(requests(1))
    url = server.requests[0]["messages"][0]["content"][0]["image_url"]["url"]
    assert url.startswith("data:image/jpeg;base64,")
    assert base64.b64decode(url.partition(",")[2]) == requests(1)[0].file
    assert np.array_equal(requests(1)[0].image, block_image(0))
