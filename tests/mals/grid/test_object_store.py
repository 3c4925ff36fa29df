"""Runs on real object stores: SeaweedFS behind s3://, Azurite behind az://."""

import hashlib
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from benchmarks.store_requests import CountingProxy
from mals.dataset.publish import publish
from mals.grid.events import last_events
from mals.grid.lease import read as read_lease
from mals.grid.remote import ATTEMPTS
from mals.grid.run import Run
from mals.grid.status import status
from mals.grid.store import Store
from mals.grid.verify import verify
from mals.look.receipts import activity
from tests.conftest import FAST, environment
from tests.mals.grid.contents import cells_and_pack
from tests.object_servers import BUCKET, KEYS, azurite, free_ports, seaweedfs

pytestmark = pytest.mark.slow
SETTINGS = [*FAST, "keep.by=sharpness", "keep.share=0.9"]  # keep looks at all rows: its summary has a lease
SHORT = "import mals.grid.lease as l, mals.grid.events as e; l.RENEWED_EVERY, l.TERM, l.POLL, e.PUT_EVERY = 0.3, 3.0, 0.1, 0.3; "
HASTY = "import mals.grid.remote as r; r.FIRST_PAUSE = r.LONGEST_PAUSE = 0.01; "
COMMAND = "from cli.main import main; main()"
COUNTED = f"s3://{BUCKET}/counted"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs") / "s3") as address:
        yield address


@pytest.fixture(scope="module")
def container(tmp_path_factory):
    with azurite(tmp_path_factory.mktemp("azurite") / "az") as connection:
        yield connection


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A run in a folder, with the data set packed, as it is without any object store."""
    from mals.planning.create import create

    root = tmp_path_factory.mktemp("local")
    (root / "captions.txt").write_text("".join(f"a person number {i} in a coat\n" for i in range(40)))
    create(str(root / "run"), captions=root / "captions.txt", assignments=SETTINGS)
    ended = mals({}, "run", root / "run", "--quiet")
    assert ended.returncode == 0, ended.stderr
    return root


@pytest.fixture
def s3(server, monkeypatch):
    """The variables with which the library of s3:// comes to the server, here and in commands."""
    return chosen(monkeypatch, {**KEYS, "AWS_ENDPOINT_URL_S3": server})


@pytest.fixture
def az(container, monkeypatch):
    return chosen(monkeypatch, {"AZURE_STORAGE_CONNECTION_STRING": container})


def chosen(monkeypatch, variables):
    import fsspec

    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    return variables


def started(variables, *arguments, before=SHORT):
    words = [sys.executable, "-c", before + COMMAND, *map(str, arguments)]
    return subprocess.Popen(words, env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def mals(variables, *arguments, timeout=300, before=SHORT):
    process = started(variables, *arguments, before=before)
    out, message = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(arguments, process.returncode, out, message)


def planned(variables, url, captions):
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    ended = mals(variables, "plan", url, "--captions", captions, *sets)
    assert ended.returncode == 0, ended.stderr
    return url


def test_a_run_killed_and_continued_on_s3_holds_the_bytes_of_one_in_a_folder(s3, local, monkeypatch, tmp_path):
    url = planned(s3, f"s3://{BUCKET}/killed", local / "captions.txt")
    store = Store(url)
    first = started(s3, "run", url, "--quiet")
    while first.poll() is None and (activity(store) is None or not store.list("safety")):
        time.sleep(0.05)
    looked_on = activity(store)
    first.kill()
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    assert looked_on is not None and looked_on.working, "others see the events of a run that is going"
    assert read_lease(store, "whole").pid == first.pid, "the killed process left its lease"
    again = mals(s3, "run", url, "--quiet")
    assert again.returncode == 0, again.stderr
    assert cells_and_pack(store) == cells_and_pack(Store(str(local / "run")))
    assert verify(Run.open(url)) == []
    lines = [(line.stage, line.done, line.rows, line.kept) for line in status(Run.open(url)).stages]
    assert lines == [(line.stage, line.done, line.rows, line.kept) for line in status(Run.open(local / "run")).stages]
    assert last_events(store)[-1]["event"] == "end" and store.list("locks") == {}

    publish(Run.open(url), f"s3://{BUCKET}/published")
    published = Store(f"s3://{BUCKET}/published")
    assert hashlib.sha256(published.read("SHA256SUMS")).digest() == hashlib.sha256(store.read("dataset/SHA256SUMS")).digest()
    assert publish(Run.open(url), f"s3://{BUCKET}/published").sent == 0

    from pretrain.data.rows import ImageTextPairs

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    near = ImageTextPairs.open([str(local / "run")])
    for address in (url, f"s3://{BUCKET}/published"):
        pairs = ImageTextPairs.open([address])
        assert [(pairs.caption(row), pairs.image_bytes(row)) for row in range(len(pairs))] == [
            (near.caption(row), near.image_bytes(row)) for row in range(len(near))
        ]
    with pytest.raises(Exception, match="holds no packed set"):
        ImageTextPairs.open([f"s3://{BUCKET}/nothing"])


@contextmanager
def holder(variables, url):
    """A process that works on a run until it is killed."""
    code = "import time; from mals.grid.lock import coordinator; from mals.grid.store import Store\n"
    code += f"with coordinator(Store({url!r})):\n    print('works', flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", SHORT + code], env=environment(**variables), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "works\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_command_on_s3_is_turned_away_until_the_first_is_killed(s3, local):
    url = planned(s3, f"s3://{BUCKET}/held", local / "captions.txt")
    with holder(s3, url) as process:
        for words in (("run", url), ("run", url, "--shards", "0/2"), ("plan", url, "--captions", local / "captions.txt")):
            second = mals(s3, *words, "--quiet") if words[0] == "run" else mals(s3, *words)
            assert second.returncode == 2, second.stderr
            waits, refusal = second.stderr.splitlines()
            assert f"waiting to see whether process {process.pid} on" in waits
            assert f"worked on by another mals command; wait for it or stop it; it is process {process.pid} on" in refusal
        assert list(Store(url).list("locks")) == ["locks/whole.json"]
    assert read_lease(Store(url), "whole").pid == process.pid, "a killed process leaves its lease"
    ended = mals(s3, "run", url, "--quiet", "--shards", "0/2")
    assert ended.returncode == 0 and Store(url).list("locks") == {}, ended.stderr


def test_parts_on_s3_make_the_bytes_of_a_folder(s3, local):
    url = planned(s3, f"s3://{BUCKET}/parts", local / "captions.txt")
    parts = [started(s3, "run", url, "--quiet", "--shards", f"{part}/2") for part in range(2)]
    for part in parts:
        _, message = part.communicate(timeout=300)
        assert part.returncode == 0, message
    ended = mals(s3, "run", url, "--quiet")
    assert ended.returncode == 0, ended.stderr
    assert cells_and_pack(Store(url)) == cells_and_pack(Store(str(local / "run")))


@pytest.fixture(scope="module")
def counted(server, local):
    """A run that is made and packed through a proxy, with the lease and the events at their times; the proxy."""
    proxy = CountingProxy(server)
    variables = {**KEYS, "AWS_ENDPOINT_URL_S3": proxy.address}
    url = planned(variables, COUNTED, local / "captions.txt")
    proxy.counts.clear()
    ended = mals(variables, "run", url, "--quiet", before="")
    assert ended.returncode == 0, ended.stderr
    yield proxy
    proxy.close()


def test_a_run_on_s3_costs_few_requests_and_asks_of_no_object_whether_it_is_there(s3, counted):
    counts = dict(counted.counts)
    assert counts.pop("by the clock") < 20, "leases and events do not count with the cells"
    assert counts.pop("HEAD") <= 3 * 2 + 1, "the packed files and the summary, of which nothing says the size"
    cells = 7 * 5
    assert counts["PUT"] < 2 * cells + 20 and counts["DELETE"] < cells + 10 and counts["LIST"] < 40
    earlier, summary, packed, receipts = 5 * sum(range(7)), 5 * 6, 3 * cells, cells
    assert counts["GET"] < earlier + summary + packed + receipts + 30, "a cell is read once by each stage after it, and three times to pack"


def test_reports_and_pages_of_a_run_on_s3_are_those_of_a_folder(s3, counted, local, tmp_path):
    from starlette.testclient import TestClient

    from mals.look.app import LookApp
    from mals.look.server import open_source

    near = tmp_path / "run"
    shutil.copytree(local / "run", near)
    for place in (COUNTED, near):
        ended = mals(s3, "report", place)
        assert ended.returncode == 0, ended.stderr
    store = Store(COUNTED)
    assert store.list("report").keys() == Store(str(near)).list("report").keys() != set()
    assert store.read("report/look.css") == (near / "report/look.css").read_bytes()
    there, here = [TestClient(LookApp(open_source(str(place)), None).asgi, base_url="http://127.0.0.1") for place in (COUNTED, near)]
    for path in ("/", "/images", "/image/3", "/thumbnail/3.jpg", "/thresholds", "/balance"):
        pages = [page.get(path) for page in (there, here)]
        assert [page.status_code for page in pages] == [200, 200], path
        texts = [page.content.replace(str(place).encode(), b"RUN") for page, place in zip(pages, (COUNTED, near), strict=True)]
        if path != "/":  # which tells the time
            assert texts[0] == texts[1], path


def test_denied_gone_and_throttled_are_one_sentence_each_with_exit_code_2(s3, counted):
    closed = f"http://127.0.0.1:{free_ports(1)[0]}"
    cases = [
        ({**s3, "AWS_ENDPOINT_URL_S3": counted.address}, f"{COUNTED} does not answer as it should, {ATTEMPTS} times"),
        ({**s3, "AWS_ENDPOINT_URL_S3": closed}, f"{COUNTED} does not answer as it should, {ATTEMPTS} times"),
        ({**s3, "AWS_ACCESS_KEY_ID": "reader"}, f"{COUNTED} cannot be used"),
        ({**s3, "AWS_SECRET_ACCESS_KEY": "wrong"}, f"{COUNTED} cannot be used"),
    ]
    counted.counts.clear()
    counted.throttled = True
    try:
        commands = [started(variables, "run", COUNTED, "--quiet", before=HASTY) for variables, _ in cases]
        for command, (_, sentence) in zip(commands, cases, strict=True):
            _, message = command.communicate(timeout=200)
            assert (command.returncode, message.count("\n")) == (2, 1), message
            assert sentence in message
    finally:
        counted.throttled = False
    assert counted.counts == {"GET": ATTEMPTS}, "the libraries try nothing again"


def test_a_bucket_that_is_missing_is_not_made(s3, local):
    import s3fs

    ended = mals(s3, "plan", "s3://missing/run", "--captions", local / "captions.txt")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert "there is no bucket missing; make it first" in ended.stderr
    assert not s3fs.S3FileSystem(endpoint_url=s3["AWS_ENDPOINT_URL_S3"], skip_instance_cache=True).exists("missing")


def test_a_run_on_azure_holds_the_bytes_of_one_in_a_folder(az, local):
    url = planned(az, f"az://{BUCKET}/run", local / "captions.txt")
    store = Store(url)
    with holder(az, url) as process:
        second = mals(az, "run", url, "--quiet")
        assert second.returncode == 2, second.stderr
        assert f"it is process {process.pid} on" in second.stderr.splitlines()[-1]
    again = mals(az, "run", url, "--quiet")
    assert again.returncode == 0, again.stderr
    assert cells_and_pack(store) == cells_and_pack(Store(str(local / "run")))
    assert store.list("locks") == {}
    ended = mals(az, "plan", "az://missing/run", "--captions", local / "captions.txt")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
