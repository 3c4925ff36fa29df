"""Captions through a server: the stage `caption` over real HTTP, with every way of asking."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pyarrow as pa
import pytest

from mals.config import Caption as Settings
from mals.config import Captioner, CaptionRules, Instruction
from mals.errors import UserError
from mals.stages.caption import Caption
from mals.stages.captioning.templates import shape
from tests.conftest import environment
from tests.fakes import block_image, jpeg
from tests.faulty_server import FaultyServer, Reply, caption, chat, serving
from tests.small.captioner import build_vlm

CROPS = [jpeg(block_image(seed)) for seed in range(8)]
SCHEMA = {"type": "object", "properties": {"caption": {"type": "string"}}, "required": ["caption"]}


def captioner(url, *instructions, **changes):
    server = {"url": url, "attempts": 2, "patience": 2.0, "concurrency": 4, **changes.pop("server", {})}
    request_settings = {"instructions": list(instructions)} if instructions else {"prompt": "what is this"}
    return Captioner(backend="openai", model="any", revision="1", server=server, **request_settings, **changes)


def captioned(captioners, crops=CROPS, ids=None, seed=0, **rules):
    stage = Caption(Settings(captioners=captioners, rules=CaptionRules(**rules)), seed, 512)
    stage.setup()
    ids = ids or [f"row-{at}" for at in range(len(crops))]
    return stage(pa.record_batch({"id": ids, "crop": pa.array(crops, pa.binary())})).to_pylist()


def texts(rows):
    return [[entry["text"] for entry in row["captions"]] for row in rows]


@pytest.fixture
def server():
    with serving(FaultyServer()) as server:
        yield server


def test_every_kind_of_instruction_is_asked_as_of_a_captioner_in_this_process(server, tmp_path):
    (tmp_path / "real.txt").write_text("A tall man walks.\nSomeone in a green skirt.\n")
    style = Instruction(kind="style", examples=str(tmp_path / "real.txt"))
    questions = Instruction(kind="questions", questions=["who?", "which coat?"])
    rows = captioned([captioner(server.url, Instruction(text="say"), Instruction(kind="template", count=2), style, questions)], CROPS[:3])
    assert len(server.requests) == 3 * (1 + 2 + 1 + 2 + 1)
    prompts = {request["messages"][0]["content"][1]["text"] for request in server.requests}
    for row in rows:
        say, first, second, like, answers = row["captions"]
        assert [entry["instruction"] for entry in row["captions"]] == ["static", "template", "template", "style", "questions"]
        assert say["prompt"] == "say" and (say["model"], say["revision"]) == ("any", "1")
        assert shape(first["template"]) in first["prompt"] and first["template"] != second["template"]
        assert like["template"] in ("A tall man walks.", "Someone in a green skirt.")
        assert "These statements are about the person in this image:\na " in answers["prompt"]
        assert {entry["prompt"] for entry in row["captions"]} | {"who?", "which coat?"} <= prompts
    assert rows == captioned(
        [captioner(server.url, Instruction(text="say"), Instruction(kind="template", count=2), style, questions)], CROPS[:3]
    )


def test_a_row_does_not_depend_on_its_batch_mates_and_its_seed_is_sent(server):
    sampled = captioner(server.url, sample=True, temperature=0.8, top_p=0.5)
    together, alone = captioned([sampled]), captioned([sampled], CROPS[3:4], ["row-3"])
    assert together[3] == alone[0]
    assert texts(together) != texts(captioned([sampled], seed=1))
    seeds = [request["seed"] for request in server.requests]
    assert len(set(seeds[:8])) == 8 and all(0 <= seed < 2**31 for seed in seeds)
    assert {(request["temperature"], request["top_p"]) for request in server.requests} == {(0.8, 0.5)}


def test_more_keys_of_a_request_are_sent_and_null_leaves_one_out(server):
    captioned([captioner(server.url, max_tokens=33, server={"extra": {"top_k": 5, "seed": None}})], CROPS[:1])
    assert server.requests[0].keys() == {"model", "messages", "max_tokens", "temperature", "top_k"}
    assert (server.requests[0]["max_tokens"], server.requests[0]["temperature"], server.requests[0]["top_k"]) == (33, 0.0, 5)


def test_one_row_that_the_server_refuses_is_an_error_of_this_row_and_the_others_have_their_captions(server):
    def refuses(number, request):
        return Reply(400, {"error": {"message": "no such image"}}) if request["messages"][0]["content"][1]["text"] == refused else None

    questions = Instruction(kind="questions", questions=["who?"])
    good = captioned([captioner(server.url, Instruction(text="say"), questions)])
    refused = good[5]["captions"][1]["prompt"]
    server.fault = refuses
    rows = captioned([captioner(server.url, Instruction(text="say"), questions)])
    assert [row["error"] for row in rows] == [None] * 5 + ["RequestFailed: HTTP 400: no such image"] + [None] * 2
    assert rows[5]["caption"] is None and rows[5]["captions"] is None and rows[5]["reject"] is None
    assert [row for at, row in enumerate(rows) if at != 5] == [row for at, row in enumerate(good) if at != 5]


def test_a_crop_that_cannot_be_read_is_not_sent(server):
    rows = captioned([captioner(server.url)], [CROPS[0], b"rubbish", CROPS[2][:200]])
    assert [bool(row["error"]) for row in rows] == [False, True, False] and rows[2]["reject"] == ["damaged_image"]
    assert len(server.requests) == 1


def test_a_refused_caption_is_asked_for_again_with_another_seed_where_words_are_sampled(server):
    server.fault = lambda number, request: Reply(body=chat("it might be")) if number < 8 else None
    rows = captioned([captioner(server.url, sample=True)], hedging=True)
    assert {row["captions"][0]["tries"] for row in rows} == {2}
    server.fault, server.requests[:] = (lambda number, request: Reply(body=chat("it might be"))), []
    rows = captioned([captioner(server.url)], hedging=True)
    assert len(server.requests) == 8, "a greedy captioner would repeat itself"
    assert rows[0]["reject"] == ["hedging_caption"]


def test_an_answer_is_checked_against_the_schema_here_and_its_field_is_the_caption(server):
    server.answer = lambda path, request: chat(json.dumps({"caption": caption(request)}, indent=1))
    server.fault = lambda number, request: Reply(body=chat("a man")) if request["seed"] == bad else None
    bad = None
    rows = captioned([captioner(server.url, json_schema=SCHEMA)])
    assert all(entry["text"] == json.loads(entry["raw"])["caption"] for row in rows for entry in row["captions"])
    assert {request["response_format"]["json_schema"]["schema"]["type"] for request in server.requests} == {"object"}
    bad = server.requests[0]["seed"]
    rows = captioned([captioner(server.url, json_schema=SCHEMA)])
    assert sorted(str(row["reject"]) for row in rows) == ["None"] * 7 + ["['schema_caption']"]
    assert [row["captions"][0]["raw"] for row in rows if row["reject"]] == ["a man"]


def test_questions_before_a_caption_of_a_schema_are_answered_freely(server):
    server.fault = lambda number, request: Reply(body=chat('{"caption": "a man"}' if "response_format" in request else "a red coat"))
    rows = captioned([captioner(server.url, Instruction(kind="questions", questions=["which coat?"]), json_schema=SCHEMA)], CROPS[:1])
    assert rows[0]["caption"] == "a man" and "a red coat" in rows[0]["captions"][0]["prompt"]


def test_a_shard_is_one_batch_without_a_gpu_and_beside_a_model_of_this_process_padding_is_not_asked_for(server):
    alone = Caption(Settings(captioners=[captioner(server.url), Captioner(backend="template")]), 0, 512)
    assert (alone.batch, alone.resources.gpus, alone.resources.workers) == (512, 0, 1)
    mixed = [Captioner(model="embedded", beams=1, batch=2), captioner(server.url)]
    assert Caption(Settings(captioners=mixed), 0, 512).resources.gpus == 1
    rows = captioned(mixed, [*CROPS[:3], *CROPS[:1] * 5], ["a", "b", "c", *["a"] * 5])
    assert len(server.requests) == 3
    assert rows[3:] == rows[:1] * 5 and all(len(row["captions"]) == 2 for row in rows)


def test_the_fingerprint_holds_model_label_question_sampling_and_schema_and_not_the_address():
    def params(url="http://a/v1", **changes):
        return Caption(Settings(captioners=[captioner(url, **changes)]), 0).params()

    same = [
        params("http://b:1/v1"),
        params(server={"concurrency": 9, "timeout": 1.0, "attempts": 1, "key_env": "K", "price": {"prompt": 1}}),
    ]
    assert all(one == params() for one in same)
    changes = [{"sample": True}, {"max_tokens": 9}, {"json_schema": SCHEMA}, {"server": {"extra": {"top_k": 1}}}]
    others = [params(**change) for change in changes]
    assert all(one != params() for one in others) and len({json.dumps(one) for one in others}) == 4
    entry = params()["captioners"][0]
    assert (entry["model"], entry["revision"]) == ("any", "1") and "http" not in json.dumps(entry)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"beams": 3}, "whose protocol has no beam search"),
        ({"json_schema": {"type": "object"}}, "has no property caption"),
        ({"prompt": ""}, "has the backend openai and nothing to answer"),
    ],
)
def test_what_a_server_cannot_do_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        Caption(Settings(captioners=[Captioner(**captioner("http://a/v1").model_dump(exclude_unset=True) | changes)]), 0)


@pytest.fixture(scope="module")
def transformers_serve(tmp_path_factory):
    """`transformers serve` with a small vision-language model: its address and the model's folder."""
    folder = tmp_path_factory.mktemp("vlm")
    build_vlm(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--device", "cpu", "--dtype", "float32"]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        for _ in range(600):
            assert process.poll() is None, process.stdout.read().decode()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1", folder
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_texts_through_transformers_serve_equal_those_of_the_model_in_this_process(transformers_serve, tmp_path):
    url, folder = transformers_serve
    (tmp_path / "t.txt").write_text("{person} in {clothes}\n{person} with {carried}\n")
    template = Instruction(kind="template", text="describe {template}", templates=str(tmp_path / "t.txt"))
    questions = Instruction(kind="questions", text="say {answers}", questions=["what do you see"])
    request_settings = {"instructions": [Instruction(text="describe this person"), template, questions], "max_tokens": 8}
    here = captioned([Captioner(backend="vlm", model=str(folder), beams=1, min_tokens=0, batch=4, **request_settings)])
    served = []
    for concurrency in (1, 4):
        server = {"url": url, "concurrency": concurrency}
        served.append(captioned([Captioner(backend="openai", model=str(folder), revision="1", server=server, **request_settings)]))
    assert served[0] == served[1]
    for by_server, row in zip(served[0], here, strict=True):
        assert by_server["error"] is None
        for theirs, ours in zip(by_server["captions"], row["captions"], strict=True):
            assert (theirs["raw"], theirs["prompt"]) == (ours["raw"], ours["prompt"])
    assert len({entry["raw"] for row in served[0] for entry in row["captions"]}) > 3
