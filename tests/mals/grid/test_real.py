"""From a captions file to a data set, through the real pipelines on the embedded models, as a stranger gives the commands."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT, environment

SETS = ["--set", "shard_rows=8", "--set", "pack.rows_per_file=16", "--set", "pack.split={train: 0.75, test: 0.25}"]
CAPTIONERS = "[{model: embedded, beams: 1, max_tokens: 56}, {backend: template, instructions: [{kind: template, count: 2}]}]"
SETS += ["--set", f"caption.captioners={CAPTIONERS}"]


def dataset(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted((folder / "dataset").rglob("*")) if p.is_file()}


@pytest.fixture
def planned_real(mals, tmp_path):
    """A run of 24 rows of the preset tiny, planned."""
    result = mals("plan", "run", "--captions", ROOT / "mals/planning/starter/starter.txt", "--count", 24, *SETS)
    assert result.returncode == 0, result.stderr
    assert "24 rows in 3 shards" in result.stdout
    return tmp_path / "run"


@pytest.mark.slow
def test_a_real_run_is_the_same_bytes_with_two_workers_and_after_kills(mals, planned_real, tmp_path):
    shutil.copytree(planned_real, tmp_path / "killed")
    calm = mals("run", "run", "--set", "run.workers=1")
    assert calm.returncode == 0, calm.stderr
    for stage in ("generate", "caption"):
        command = [sys.executable, "-m", "cli.main", "run", "killed", "-q", "--set", "run.workers=2"]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL, start_new_session=True)
        while not any((tmp_path / "killed" / stage).glob("*.parquet")):
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    resumed = mals("run", "killed")
    assert resumed.returncode == 0, resumed.stderr
    assert dataset(tmp_path / "killed") == dataset(planned_real)
    assert mals("verify", "killed").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_real_run_prints_one_sentence_and_leaves_no_semaphore(planned_real, sent):
    """Libraries make locks in the worker processes, which Python reports where they are left behind."""
    command = [sys.executable, "-m", "cli.main", "run", str(planned_real), "-q", "--set", "run.workers=2"]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not any((planned_real / "generate").glob("*.parquet")):
        assert process.poll() is None, "the run ended before it could be stopped"
        time.sleep(0.02)
    os.killpg(process.pid, sent)
    _, message = process.communicate(timeout=60)
    assert (process.returncode, message) == (128 + sent, "stopped; give the same command again to go on\n")


@pytest.mark.slow
def test_every_command_works_on_a_real_run(mals, planned_real, tmp_path):
    assert mals("generate", "run", "-q").returncode == 0
    preview = mals("filter", "run", "--preview")
    assert (preview.returncode, (planned_real / "report/filter-preview/index.html").is_file()) == (0, True), preview.stderr
    assert mals("run", "run", "-q").returncode == 0
    report = json.loads(mals("status", "run", "--json").stdout)
    assert all(stage["done"] == 3 for stage in report["stages"])
    assert report["packed"] is True
    assert report["diversity"]["captions"] == 3 * report["diversity"]["rows"] and report["diversity"]["templates"] > 2
    again = mals("replay", "run", "00000003", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["identical"] is True
    report = json.loads(mals("models", "run", "--json").stdout)
    assert [model["setting"].split(".")[0] for model in report] == ["generate", "crop", "crop", "caption"]
    stats = json.loads(mals("label", "run", "--stats", "--json").stdout)
    assert len(stats) >= 1
    for form in ("mals-json", "webdataset"):
        assert mals("export", "run", "--to", form, "--format", form).returncode == 0
    listed = mals("publish", "run", "--to", "hf://datasets/somebody/set", "--dry-run")
    assert (listed.returncode, "SHA256SUMS" in listed.stdout) == (0, True), listed.stderr
    assert mals("publish", "run", "--to", tmp_path / "published").returncode == 0
    (planned_real / "dataset/README.md").write_text("other words")
    refused = mals("publish", "run", "--to", tmp_path / "elsewhere")
    assert (refused.returncode, refused.stderr.strip().count("\n")) == (2, 0), refused.stderr


NO_NETWORK = '''
"""Python runs this at its start: no process of the run may open a connection to any machine, this one included."""

import socket

real = socket.socket.connect


def connect(self, address):
    if self.family != socket.AF_UNIX:
        raise RuntimeError(f"this process wanted the network: {address}")
    return real(self, address)


socket.socket.connect = connect
socket.getaddrinfo = lambda *given, **named: (_ for _ in ()).throw(RuntimeError(f"this process wanted an address: {given}"))
'''


@pytest.mark.slow
def test_a_run_on_the_embedded_models_opens_no_connection(mals, tmp_path):
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "sitecustomize.py").write_text(NO_NETWORK)
    blocked = {"PYTHONPATH": f"{tmp_path / 'blocked'}{os.pathsep}{ROOT}"}
    probe = "import urllib.request as r; r.urlopen('http://example.com')"
    stopped = subprocess.run([sys.executable, "-c", probe], env=environment(**blocked), capture_output=True, text=True)
    assert "this process wanted" in stopped.stderr
    assert mals("init", "run", "--count", "32", env=blocked).returncode == 0
    made = mals("run", "run", "-q", "--set", "run.workers=1", env=blocked)
    assert made.returncode == 0, made.stderr
    assert json.loads(mals("report", "run", "--json").stdout)["kept"] >= 16


@pytest.mark.slow
def test_images_beside_a_captions_file_go_through_the_embedded_preset_from_any_folder(mals, tmp_path):
    from PIL import Image

    for folder in ("a/photos", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    for name, color in (("1.png", (200, 30, 30)), ("2.png", (30, 30, 200))):
        Image.new("RGB", (64, 128), color).save(tmp_path / "a/photos" / name)
    rows = [{"caption": f"a man in a {color} coat", "init_image": f"photos/{at}.png"} for at, color in ((1, "red"), (2, "blue"))]
    (tmp_path / "a/own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    named = "".join(json.dumps({**row, "init_image": row["init_image"].removeprefix("photos/")}) + "\n" for row in rows)
    (tmp_path / "a/named.jsonl").write_text(named)
    fast = ["--set", "generate.steps=4", "--set", "generate.strength=0.5"]
    plans = {"beside": ["own.jsonl"], "in_folder": ["named.jsonl", "--images", "photos"]}
    for run, words in plans.items():
        command = [sys.executable, "-m", "cli.main", "plan", run, "--captions", *words, *fast]
        planned = subprocess.run(command, cwd=tmp_path / "a", env=environment(), capture_output=True, text=True)
        assert planned.returncode == 0, planned.stderr
        command = [sys.executable, "-m", "cli.main", "generate", f"../a/{run}", "--json", "--quiet"]
        made = subprocess.run(command, cwd=tmp_path / "elsewhere", env=environment(), capture_output=True, text=True)
        assert made.returncode == 0 and json.loads(made.stdout) == {"new_cells": {"generate": 1}}, made.stderr
    cells = [pq.read_table(tmp_path / "a" / run / "generate/00000.parquet").to_pylist() for run in plans]
    for row, same in zip(*cells, strict=True):
        assert row["error"] is None and row["reject"] is None and row["pipeline"] == "StableDiffusionImg2ImgPipeline"
        assert row["image"] == same["image"] and row["origin"] == "image_to_image"
