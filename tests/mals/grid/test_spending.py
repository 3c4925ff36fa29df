"""Runs whose captions come through a server: use and cost, a budget, a server that goes away, and no key anywhere."""

import json
import subprocess
import time

import pyarrow.parquet as pq
import pytest

from mals.errors import UserError
from mals.grid.run import Run, run_stages, workers_of
from mals.grid.spending import Budget, BudgetSpent, cost
from mals.grid.status import lines, status
from mals.server_settings import Price
from tests.fakes import FAST
from tests.faulty_server import FaultyServer, Reply, serving

KEY = "sk-0123456789abcdef"
PRICED = {"prompt": 1000.0, "completion": 10_000.0}  # a request of 100 and 10 tokens costs 0.2


def sets(url, **server):
    server = {"url": url, "patience": 2.0, "attempts": 2, **server}
    served = {"backend": "openai", "model": "any/model", "revision": "1", "prompt": "what is this", "server": server}
    return [f"stages={json.dumps(FAKES)}", f"caption={json.dumps({'captioners': [served]})}"]


FAKES = dict(one.removeprefix("stages.").split("=") for one in FAST if one.startswith("stages.") and "caption" not in one)


@pytest.fixture
def server():
    with serving(FaultyServer()) as server:
        yield server


def captions_of(folder):
    return [pq.read_table(file)["caption"].to_pylist() for file in sorted((folder / "caption").glob("*.parquet"))]


def used(folder):
    return [json.loads(file.read_text())["used"] for file in sorted((folder / "caption").glob("?????.json"))]


def test_use_is_in_the_receipts_and_status_shows_it_with_its_cost(planned, server):
    run = Run.open(planned("run", *sets(server.url, price=PRICED)))
    assert workers_of(run, "caption") == 1
    run_stages(run, "caption", quiet=True)
    per_shard = used(planned_folder := run.store.folder)
    assert sum(one["any/model"]["requests"] for one in per_shard) == len(server.requests)
    assert all(one["any/model"]["prompt_tokens"] == 100 * one["any/model"]["requests"] for one in per_shard)
    line = next(line for line in status(run).stages if line.stage == "caption")
    requests = len(server.requests)
    assert line.used == {"any/model": {"requests": requests, "prompt_tokens": 100 * requests, "completion_tokens": 10 * requests}}
    assert line.cost == pytest.approx(0.2 * requests)
    text = "\n".join(lines(status(run)))
    assert f"{requests} requests to any/model: {100 * requests:,} prompt tokens, {10 * requests:,} completion tokens" in text
    assert f"{0.2 * requests:.2f} is the cost" in text
    assert json.loads((planned_folder / "filter" / "00000.json").read_text())["used"] == {}


def test_a_stage_without_servers_shows_no_cost(planned):
    run = Run.open(planned())
    assert all(line.cost is None and not line.used for line in status(run).stages)


def test_a_budget_stops_the_run_cleanly_and_a_larger_one_goes_on_to_the_same_cells(planned, server):
    whole = planned("whole", *sets(server.url, price=PRICED))
    run_stages(Run.open(whole), "caption", quiet=True)
    expected = captions_of(whole)
    server.requests.clear()
    small = planned("small", *sets(server.url, price=PRICED), "run.max_cost=3.0")
    with pytest.raises(BudgetSpent, match=r"run.max_cost = 3 is used up: .*goes on with a larger one, such as --set run.max_cost=6"):
        run_stages(Run.open(small), "caption", quiet=True)
    done = len(captions_of(small))
    spent = len(server.requests)
    assert 0 < done < 5 and 0.2 * spent <= 3.0
    with pytest.raises(BudgetSpent):
        run_stages(Run.open(small), "caption", quiet=True)
    assert len(server.requests) == spent, "nothing is asked for when nothing is left"
    run_stages(Run.open(small, ["run.max_cost=100"]), "caption", quiet=True)
    assert captions_of(small) == expected
    assert len(server.requests) == sum(one["any/model"]["requests"] for one in used(whole)), "nothing was paid twice"


def test_a_budget_holds_for_attempts_that_fail(planned, server):
    server.fault = lambda number, request: Reply(400, b"too odd") if number % 2 else None
    folder = planned("run", *sets(server.url, price=PRICED, concurrency=1), "run.max_cost=2.0", "run.attempts=9")
    with pytest.raises(BudgetSpent, match=r"run.max_cost = 2 is used up"):
        run_stages(Run.open(folder), "caption", quiet=True)
    answered = len(server.requests) - len(server.requests) // 2
    assert 1.0 < 0.2 * answered <= 2.0
    assert captions_of(folder) == []


def test_a_budget_without_a_price_and_of_a_server_that_tells_no_use_is_refused(planned, server):
    with pytest.raises(UserError, match="would never be reached, since no server has a price"):
        run_stages(Run.open(planned("free", *sets(server.url), "run.max_cost=1")), "caption", quiet=True)
    server.fault = lambda number, request: Reply(body={**server.answer("/v1/chat/completions", request), "usage": None})
    with pytest.raises(BudgetSpent, match="tells no use of tokens"):
        run_stages(Run.open(planned("mute", *sets(server.url, price=PRICED), "run.max_cost=1")), "caption", quiet=True)


def test_the_cost_follows_from_the_prices():
    counts = {"a": {"prompt_tokens": 2_000_000, "completion_tokens": 500_000, "requests": 9}, "b": {"images": 3}, "c": {"images": 9}}
    prices = {"a": Price(prompt=0.5, completion=2.0), "b": Price(image=0.04)}
    assert cost(counts, prices) == pytest.approx(1.0 + 1.0 + 0.12)


def test_a_shard_at_work_is_taken_to_cost_what_the_dearest_did_before_another_one_starts(planned, server):
    run = Run.open(planned("run", *sets(server.url, price=PRICED)))
    run_stages(run, "caption", quiet=True)
    survey = run.grid.survey()
    costs = [0.2 * one["any/model"]["requests"] for one in used(run.store.folder)]

    def allows(spare, at_work, workers=2):
        budget = Budget(run.grid.stages, sum(costs) + spare, lambda stage: workers)
        return budget.allows("caption", {"caption": at_work}, survey)

    dearest = max(costs)
    assert allows(1.01 * dearest, 0) and not allows(1.01 * dearest, 1) and allows(2.01 * dearest, 1)
    assert not allows(9 * dearest, 2), "as many as there are workers"
    assert allows(9 * dearest, 2, workers=3)
    with pytest.raises(BudgetSpent):
        allows(0.99 * dearest, 0)
    assert Budget(run.grid.stages, 0.0, lambda stage: 1).allows("crop", {}, survey), "a stage without a price costs nothing"


@pytest.mark.slow
def test_a_server_that_goes_away_stops_the_run_with_a_sentence_and_the_same_command_goes_on_to_the_same_captions(planned, server, mals):
    whole = planned("whole", *sets(server.url))
    run_stages(Run.open(whole), "caption", quiet=True)
    with serving(FaultyServer()) as dying:
        port = dying.server_address[1]
        folder = planned("run", *sets(dying.url, concurrency=2))
        dying.fault = lambda number, request: None if number < 12 else Reply(503, b"gone")
        stopped = mals("caption", folder)
    assert stopped.returncode == 2 and "Traceback" not in stopped.stderr
    assert "start it, the same command goes on" in stopped.stderr
    assert 0 < len(captions_of(folder)) < 5
    with serving(FaultyServer(port)):
        again = mals("caption", folder)
    assert again.returncode == 0, again.stderr
    assert captions_of(folder) == captions_of(whole)
    assert all(json.loads(file.read_text())["failed"] == 0 for file in (folder / "caption").glob("?????.json"))


@pytest.mark.slow
def test_a_run_that_is_stopped_while_a_server_works_ends_at_once(planned, mals, tmp_path):
    import signal
    import sys

    from tests.conftest import environment

    with serving(FaultyServer(delay=30.0)) as slow:
        folder = planned("run", *sets(slow.url, timeout=60.0))
        process = subprocess.Popen([sys.executable, "-m", "cli.main", "caption", str(folder)], env=environment(), stderr=subprocess.PIPE)
        while not slow.requests:
            assert process.poll() is None, "it ended before it asked"
            time.sleep(0.05)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert time.monotonic() - began < 10


@pytest.mark.slow
def test_no_file_message_receipt_or_event_of_a_run_holds_the_key(planned, mals):
    def echoes(number, request):  # in errors of rows, of everything, and in captions
        replies = (Reply(400, {"error": {"message": f"Bearer {KEY} is odd", "code": KEY}}), Reply(500, f"<{KEY}>".encode()))
        return replies[number % 2] if number < 12 else None

    with serving(FaultyServer(fault=echoes, key=KEY)) as server:
        chat = server.answer
        server.answer = lambda path, request: json.loads(json.dumps(chat(path, request)).replace("a man", f"a man {KEY}"))
        folder = planned("run", *sets(server.url, key_env="TEST_KEY"), "run.max_error_rate=0.3")
        results = [mals("run", folder, env={"TEST_KEY": KEY}) for _ in range(2)]
        results += [mals("status", folder, env={"TEST_KEY": KEY}), mals("status", folder, "--json", env={"TEST_KEY": KEY})]
        server.key = "sk-another-key"
        results += [mals("run", planned("other", *sets(server.url, key_env="TEST_KEY")), env={"TEST_KEY": KEY})]
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert results[1].returncode == 0, results[1].stderr
    assert results[-1].returncode == 2 and "refuses the key in the environment variable TEST_KEY" in results[-1].stderr
    raw = [pq.read_table(file)["captions"].to_pylist() for file in (folder / "caption").glob("*.parquet")]
    assert "a man [key] in" in str(raw), "the server did repeat it"
    for result in results:
        assert KEY not in result.stdout and KEY not in result.stderr
    files = [file for name in ("run", "other") for file in (folder.parent / name).rglob("*") if file.is_file()]
    assert len(files) > 50
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    for file in files:
        if file.suffix == ".parquet":
            assert KEY not in str(pq.read_table(file).to_pylist())
