"""A method of one's own is one file: trained, asked, fine-tuned and released by the same commands as ours."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import pretrain
from mals.errors import UserError
from mals.world.make import make
from mals.world.settings import WorldSettings
from pretrain import methods
from pretrain.method import Method
from pretrain.release import release
from tests.conftest import ROOT, Mals, environment
from tests.pretrain.trainings import TORCHRUN, lines, same_weights

METHOD = "method=tests.pretrain.two_towers:TwoTowers"
SETS = [METHOD, "own.width=24", "data.height=64", "data.width=32", "data.vocabulary=300", "data.workers=0", "dtype=fp32", "batch=8"]
TRAINING = [*SETS, "steps=24", "save_every=2", "log_every=1", "optimizer.lr=5e-3"]


def words(data: Path, out: Path, *sets: str, command: str = "pretrain") -> list[str]:
    return [command, "--preset", "own", "--data", str(data), "--out", str(out), *[word for one in sets for word in ("--set", one)]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "world"
    settings = WorldSettings.checked(persons=20, views=2, split="train=0.6,val=0.2,test=0.2", seed=5, height=64, rows_per_file=12)
    make(str(folder), settings, workers=1)
    return folder


@pytest.fixture(scope="module")
def out(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training by the command."""
    folder = tmp_path_factory.mktemp("own") / "out"
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *words(world, folder, *TRAINING)], env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_it_learns_and_is_asked_by_the_same_commands(world: Path, out: Path, mals: Mals, tmp_path: Path) -> None:
    told = lines(out)
    assert [line["step"] for line in told] == [*range(1, 25)] and "itm" not in told[0]
    assert sum(line["itc"] for line in told[-5:]) < sum(line["itc"] for line in told[:5])
    found = json.loads(mals("evaluate", out, "--data", world, "--json").stdout)
    assert found["rerank"] == "none" and "by the cosine" in found["retrieval"]["protocol"] and "attributes" not in found
    assert 0 < found["retrieval"]["mAP"] <= 1
    hits = json.loads(mals("search", out, "a man", "--data", world, "--count", 2, "--to", tmp_path / "hits.jpg", "--json").stdout)
    assert len(hits["hits"]) == 2 and (tmp_path / "hits.jpg").is_file()
    refused = mals("evaluate", out, "--data", world, "--rerank", "itm")
    assert refused.returncode == 2 and refused.stderr.startswith("--rerank itm: this method") and len(refused.stderr.splitlines()) == 1


@pytest.mark.slow
def test_it_resumes_to_the_same_bits_and_is_the_same_on_two_processes(world: Path, out: Path, mals: Mals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli.main", *words(world, tmp_path / "killed", *TRAINING)]
    with subprocess.Popen(command, env=environment()) as process:
        while not (tmp_path / "killed/checkpoints/00000002").is_dir() and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "killed/model.safetensors").exists()
    assert mals(*words(world, tmp_path / "killed", *TRAINING)).returncode == 0
    assert same_weights(out / "model.safetensors", tmp_path / "killed/model.safetensors")
    two = [sys.executable, *TORCHRUN, "2", "-m", "cli.main", *words(world, tmp_path / "two", *TRAINING)]
    done = subprocess.run(two, env=environment(GLOO_SOCKET_IFNAME="lo"), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert [line["itc"] for line in lines(tmp_path / "two")] == pytest.approx([line["itc"] for line in lines(out)], abs=1e-4)


def test_it_is_fine_tuned_released_and_loaded(world: Path, out: Path, mals: Mals, tmp_path: Path) -> None:
    sets = [*SETS[2:], "epochs=1", "data.every=true"]
    done = mals(*words(world, tmp_path / "tuned", *sets, command="finetune"), "--init", out)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "tuned/result.json").read_text())
    assert result["selected_on"] == "val" and 0 < result["retrieval"]["R10"] <= 1
    release(str(tmp_path / "tuned"), str(tmp_path / "released"), onnx=True)
    card = (tmp_path / "released/README.md").read_text()
    assert "TwoTowers, trained by mals" in card and "method.rerank" not in card and "Embeddings have 24 dimensions" in card
    method = pretrain.load(tmp_path / "released")
    assert method.embed_text(["a man", "a woman in red"]).shape == (2, 24)
    assert torch.isfinite(method.embed_text("a man")).all()
    for ask in (lambda: method.rerank("a man", "x.jpg"), lambda: method.attributes("x.jpg")):
        with pytest.raises(UserError, match=r"^this method "):
            ask()


def test_a_method_that_is_not_there_or_none_is_refused(world: Path, mals: Mals, tmp_path: Path) -> None:
    for name, said in {
        "clip": "there is no method clip; there are aptm, and my_package.my_module:MyMethod for one of your own",
        "no.such:Thing": "method = 'no.such:Thing' cannot be imported: No module named 'no'",
        "json:JSONDecoder": "method = 'json:JSONDecoder' is no subclass of pretrain.method.Method",
    }.items():
        done = mals(*words(world, tmp_path / "out", f"method={name}"))
        assert (done.returncode, done.stderr) == (2, f"{said}\n")


def test_settings_of_another_method_are_refused(world: Path, mals: Mals, tmp_path: Path) -> None:
    done = mals("pretrain", "--preset", "tiny", "--data", world, "--out", tmp_path / "out", "--set", METHOD)
    assert done.returncode == 2 and "the settings aptm are not its; --preset own has none" in done.stderr
    done = mals("pretrain", "--preset", "tiny", "--data", world, "--out", tmp_path / "out", "--set", "own.width=3")
    assert done.returncode == 2 and "the settings own are for a method of your own, and the method is aptm" in done.stderr


def test_a_file_in_the_current_folder_is_found_by_the_installed_command(world: Path, tmp_path: Path) -> None:
    (tmp_path / "my_towers.py").write_text((ROOT / "tests/pretrain/two_towers.py").read_text())
    sets = [one for one in (*TRAINING, "steps=1") if one != METHOD]
    command = [str(Path(sys.executable).parent / "mals"), *words(world, tmp_path / "out", "method=my_towers:TwoTowers", *sets)]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_ours_are_methods_too() -> None:
    assert all(issubclass(one, Method) for one in methods.METHODS.values()) and methods.find("aptm") is methods.METHODS["aptm"]
