"""Images through a server, over real HTTP: a deterministic one, a faulty one, and one around the embedded pipeline."""

import base64
from io import BytesIO

import pyarrow as pa
import pytest

from mals import settings
from mals.errors import UserError
from mals.grid.run import Run, run_stages
from mals.images import decode_image
from mals.stages.generate import Generate, stage
from mals.stages.server_images import ServerImages
from tests.fakes import FAST
from tests.faulty_server import FaultyServer, Reply, encoded, serving

PROMPTS = [f"a man in a {colour} coat" for colour in ("red", "blue", "green", "white")]


def configured(url, **changes):
    server = {"url": url, "attempts": 2, "patience": 2.0, "concurrency": 2, **changes.pop("server", {})}
    tree = {"backend": "openai", "model": "any", "revision": "1", "height": 64, "width": 32, "server": server, **changes}
    return settings.check({"generate": tree})


def made(url, prompts=PROMPTS, negative=None, initial=None, **changes):
    generate = stage(configured(url, **changes))
    generate.setup()
    count = len(prompts)
    columns = {
        "prompt": prompts,
        "negative_prompt": [negative] * count,
        "seed": [2**40 + at for at in range(count)],
        "init_image": [initial] * count,
    }
    kinds = {"seed": pa.int64()}
    return generate(pa.record_batch({name: pa.array(values, kinds.get(name, pa.string())) for name, values in columns.items()})).to_pylist()


@pytest.fixture
def server():
    with serving(FaultyServer()) as server:
        yield server


def test_an_image_a_row_with_the_columns_of_the_stage_and_the_requests_of_the_plan(server):
    rows = made(server.url, negative="blurred", server={"extra": {"num_inference_steps": 4}})
    assert isinstance(stage(configured(server.url)), ServerImages) and ServerImages.adds == Generate.adds
    for row, request in zip(rows, sorted(server.requests, key=lambda one: one["seed"]), strict=True):
        assert request["size"] == "32x64" and request["n"] == 1 and request["num_inference_steps"] == 4
        assert request["negative_prompt"] == "blurred" and 0 <= request["seed"] < 2**31
        assert decode_image(row["image"]).shape == (64, 32, 3) == (row["height"], row["width"], 3)
        assert (row["model"], row["revision"], row["pipeline"], row["origin"], row["batch"]) == ("any", "1", "openai", "generated", 1)
        assert row["steps"] is None and row["scheduler"] is None and row["error"] is None and row["reject"] is None
    assert len({row["image"] for row in rows}) == 4
    assert rows == made(server.url, server={"concurrency": 4})


def test_null_leaves_out_what_a_server_does_not_take(server):
    made(server.url, server={"extra": {"seed": None, "response_format": None}})
    assert server.requests[0].keys() == {"model", "prompt", "n", "size"}


def test_an_address_of_the_same_server_is_fetched_and_one_of_another_is_not(server):
    images = {}

    def answer(path, request):
        if path.startswith("/files/"):
            return Reply(body=images[path])
        images[f"/files/{request['seed']}.png"] = encoded(request)
        return {"data": [{"url": f"/files/{request['seed']}.png"}]}

    by_bytes = made(server.url)
    server.answer = answer
    assert made(server.url) == by_bytes
    with serving(FaultyServer()) as other:
        server.answer = lambda path, request: {"data": [{"url": f"{other.url}/image.png"}]}
        rows = made(server.url)
        assert not other.requests
    assert all("which is not fetched" in row["error"] and row["image"] is None for row in rows)


@pytest.mark.parametrize(
    "body", [{"data": []}, {"data": [{}]}, {"data": [{"b64_json": "?"}]}, {"data": [{"b64_json": base64.b64encode(b"rubbish").decode()}]}]
)
def test_an_answer_without_an_image_is_an_error_of_its_row(server, body):
    server.fault = lambda number, request: Reply(body=body) if request["prompt"] == PROMPTS[2] else None
    rows = made(server.url)
    assert [bool(row["error"]) for row in rows] == [False, False, True, False]


def test_a_prompt_that_the_rules_of_the_server_refuse_is_refused_and_no_error(server):
    blocked = Reply(400, {"error": {"message": "blocked", "code": "content_policy_violation"}})
    server.fault = lambda number, request: blocked if request["prompt"] == PROMPTS[1] else None
    rows = made(server.url)
    assert [row["reject"] for row in rows] == [None, ["blocked_by_server"], None, None]
    assert not any(row["error"] for row in rows)


def test_what_a_server_cannot_do_is_refused_in_one_sentence(server):
    with pytest.raises(UserError, match="the plan has initial images"):
        made(server.url, initial="a.png")
    server.fault = lambda number, request: Reply(body=server.answer("/v1/images/generations", {**request, "size": "64x64"}))
    with pytest.raises(UserError, match=r"returned 64 x 64 pixels for generate.height = 64, generate.width = 32"):
        made(server.url)


def test_the_fingerprint_holds_model_label_and_size_and_not_the_address_or_the_settings_of_a_pipeline():
    params = stage(configured("http://a/v1")).params()
    assert params == stage(configured("http://b/v1", steps=9, guidance=1.0, server={"concurrency": 9})).params()
    for changes in ({"revision": "2"}, {"model": "other"}, {"width": 64}, {"server": {"extra": {"steps": 9}}}):
        assert params != stage(configured("http://a/v1", **changes)).params()


def test_a_run_with_images_of_a_server_is_counted_and_has_no_model_to_fetch(planned, server):
    from mals.grid.status import status
    from mals.models import required_models, served_models

    pieces = {
        "backend": "openai",
        "model": "any",
        "revision": "1",
        "height": 64,
        "width": 32,
        "server": {"url": server.url, "price": {"image": 0.5}},
    }
    folder = planned("run", *[one for one in FAST if "generate" not in one], "stages={crop: tests.fakes:cropper}", f"generate={pieces}")
    run = Run.open(folder)
    assert [model.key for model in served_models(run.config)] == ["generate.model"]
    assert not [model for model in required_models(run.config) if model.key == "generate.model"]
    run_stages(run, "generate", quiet=True)
    line = status(run).stages[0]
    assert line.used == {"any": {"requests": 40, "images": 40}} and line.cost == 20.0 and line.kept == 40


@pytest.mark.slow
def test_images_of_a_server_around_the_embedded_pipeline_are_those_of_the_pipeline():
    import numpy as np
    import torch

    from mals.models import resolve
    from mals.stages.generate import load
    from mals.stages.generated_images import jpeg

    pipeline = load(resolve("embedded", None, "generator"), "fp32", None, "cpu")
    pipeline.set_progress_bar_config(disable=True)

    def image(prompt, seed, width, height):
        generator = torch.Generator().manual_seed(seed)
        arguments = {"num_inference_steps": 2, "guidance_scale": 2.0, "width": width, "height": height, "generator": generator}
        return pipeline(prompt, **arguments).images[0]

    def answer(path, request):
        width, height = map(int, request["size"].split("x"))
        sink = BytesIO()
        image(request["prompt"], request["seed"], width, height).save(sink, "PNG")
        return {"data": [{"b64_json": base64.b64encode(sink.getvalue()).decode()}]}

    config = settings.check({"preset": "tiny"}).generate
    with serving(FaultyServer()) as server:
        server.answer = answer
        rows = made(server.url, PROMPTS[:1], height=config.height, width=config.width, server={"concurrency": 1, "timeout": 120.0})
        requests = sorted(server.requests, key=lambda one: one["seed"])
    for row, request in zip(rows, requests, strict=True):
        pixels = image(request["prompt"], request["seed"], config.width, config.height)
        assert row["image"] == jpeg(np.asarray(pixels))
        assert row["error"] is None and row["reject"] is None
