"""A method in a package of its own, outside the project, is trained, evaluated, fine-tuned and released by the same commands as ours."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import pretrain
from cli.pretrain import training_settings
from mals.config import Section
from mals.errors import UserError
from mals.world.make import make
from mals.world.settings import WorldSettings
from pretrain import methods
from pretrain.method import Method
from pretrain.methods import METHODS
from pretrain.release import release
from tests.conftest import ROOT, Mals, environment
from tests.pretrain.trainings import TORCHRUN, lines, same_weights

METHOD = "method=two_towers:TwoTowers"
SETS = [METHOD, "two_towers.width=24", "data.height=64", "data.width=32", "data.tokenizer=null", "data.workers=0", "dtype=fp32", "batch=8"]
TRAINING = [*SETS, "steps=24", "save_every=2", "log_every=1", "optimizer.lr=5e-3"]


def words(data: Path, out: Path, *sets: str, command: str = "pretrain") -> list[str]:
    return [command, "--preset", "own", "--data", str(data), "--out", str(out), *[word for one in sets for word in ("--set", one)]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the project with the package, as `pip install --target` would leave it."""
    folder = tmp_path_factory.mktemp("site-packages")
    shutil.copytree(ROOT / "tests/pretrain/own_package/two_towers", folder / "two_towers")
    return folder


@pytest.fixture
def around(site: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of commands that find the package; this process finds it too."""
    monkeypatch.syspath_prepend(str(site))
    return {"PYTHONPATH": f"{ROOT}{os.pathsep}{site}"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "world"
    settings = WorldSettings.checked(persons=20, views=2, split="train=0.6,val=0.2,test=0.2", seed=5, height=64, rows_per_file=12)
    make(str(folder), settings, workers=1)
    return folder


@pytest.fixture(scope="module")
def out(world: Path, site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training by the command."""
    folder = tmp_path_factory.mktemp("own") / "out"
    command = [sys.executable, "-m", "cli.main", *words(world, folder, *TRAINING)]
    around = environment(PYTHONPATH=f"{ROOT}{os.pathsep}{site}")
    done = subprocess.run(command, env=around, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def test_it_learns_and_is_evaluated_by_the_same_commands(
    world: Path, out: Path, around: dict[str, str], mals: Mals, tmp_path: Path
) -> None:
    metrics = lines(out)
    assert [line["step"] for line in metrics] == [*range(1, 25)] and "itm" not in metrics[0]
    assert sum(line["itc"] for line in metrics[-5:]) < sum(line["itc"] for line in metrics[:5])
    scores = json.loads(mals("evaluate", out, "--data", world, "--json", env=around).stdout)
    assert scores["rerank"] == "none" and "by the cosine" in scores["retrieval"]["protocol"] and "attributes" not in scores
    assert 0 < scores["retrieval"]["mAP"] <= 1
    assert scores["more"]["two towers"]["numbers of an embedding"] == 24
    searched = mals("search", out, "a man", "--data", world, "--count", 2, "--to", tmp_path / "hits.jpg", "--json", env=around)
    assert len(json.loads(searched.stdout)["hits"]) == 2 and (tmp_path / "hits.jpg").is_file()
    for mode in ("itm", "attributes"):
        refused = mals("evaluate", out, "--data", world, "--rerank", mode, env=around)
        assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1
        assert refused.stderr.startswith(f"--rerank {mode}: this method")


def test_a_release_leaves_out_what_only_the_training_needs(out: Path) -> None:
    released, kept = (set(load_file(out / name)) for name in ("model.safetensors", "checkpoints/00000024/model.safetensors"))
    assert kept - released == {"identities.weight", "identities.bias"} and released < kept
    assert json.loads((out / "tokenizer.json").read_text())["kind"] == "two_towers.words:HashedWords"
    assert yaml.safe_load((out / "config.yaml").read_text())["two_towers"] == {"width": 24, "vocabulary": 64, "identity": 0.1}


@pytest.mark.slow
def test_it_resumes_to_the_same_bits_and_is_the_same_on_two_processes(
    world: Path, out: Path, around: dict[str, str], mals: Mals, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "cli.main", *words(world, tmp_path / "killed", *TRAINING)]
    with subprocess.Popen(command, env=environment(**around)) as process:
        while not (tmp_path / "killed/checkpoints/00000002").is_dir() and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "killed/model.safetensors").exists()
    assert mals(*words(world, tmp_path / "killed", *TRAINING), env=around).returncode == 0
    assert same_weights(out / "model.safetensors", tmp_path / "killed/model.safetensors")
    two = [sys.executable, *TORCHRUN, "2", "-m", "cli.main", *words(world, tmp_path / "two", *TRAINING)]
    done = subprocess.run(two, env=environment(GLOO_SOCKET_IFNAME="lo", **around), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for name in ("itc", "identity"):
        assert [line[name] for line in lines(tmp_path / "two")] == pytest.approx([line[name] for line in lines(out)], abs=1e-4)


def test_it_is_fine_tuned_released_and_loaded(world: Path, out: Path, around: dict[str, str], mals: Mals, tmp_path: Path) -> None:
    sets = [*SETS[2:], "epochs=1", "data.every=true"]
    done = mals(*words(world, tmp_path / "tuned", *sets, command="finetune"), "--init", out / "checkpoints/00000024", env=around)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "tuned/result.json").read_text())
    assert result["selected_on"] == "val" and 0 < result["retrieval"]["R10"] <= 1
    release(str(tmp_path / "tuned"), str(tmp_path / "released"), onnx=True)
    card = (tmp_path / "released/README.md").read_text()
    assert "Two towers, trained by mals" in card and "method.rerank" not in card and "Embeddings have 24 dimensions" in card
    method = pretrain.load(tmp_path / "released")
    assert method.embed_text(["a man", "a woman in red"]).shape == (2, 24)
    assert torch.isfinite(method.embed_text("a man")).all()
    for ask in (lambda: method.rerank("a man", "x.jpg"), lambda: method.attributes("x.jpg")):
        with pytest.raises(UserError, match=r"^this method "):
            ask()
    release(str(out), str(tmp_path / "latest"), latest=True)
    assert "identities.weight" not in load_file(tmp_path / "latest/model.safetensors")


def test_a_method_that_is_not_there_or_none_is_refused(world: Path, mals: Mals, tmp_path: Path) -> None:
    for name, message in {
        "clip": f"there is no method clip; there are {', '.join(METHODS)}, and my_package.my_module:MyMethod for one of your own",
        "no.such:Thing": "method = 'no.such:Thing' cannot be imported: No module named 'no'",
        "json:JSONDecoder": "method = 'json:JSONDecoder' is no subclass of pretrain.method.Method",
    }.items():
        done = mals(*words(world, tmp_path / "out", f"method={name}"))
        assert (done.returncode, done.stderr) == (2, f"{message}\n")


def test_settings_of_another_method_and_unknown_ones_are_refused(around: dict[str, str]) -> None:
    with pytest.raises(
        UserError, match=r"^the method is two_towers:TwoTowers, and the settings aptm are those of the method aptm; --preset"
    ):
        training_settings("tiny", None, [METHOD])
    for sets, message in {
        "two_towers.widht=3": r"there is no setting two_towers\.widht; did you mean two_towers\.width\?",
        "two_towers.width=wide": r"two_towers\.width = 'wide': input should be a valid integer",
        "towers.width=3": r"there is no setting towers; did you mean two_towers\?",
    }.items():
        with pytest.raises(UserError, match=message):
            training_settings("own", None, [METHOD, sets])


def test_a_file_in_the_current_folder_is_found_by_the_installed_command(world: Path, site: Path, tmp_path: Path) -> None:
    shutil.copytree(site / "two_towers", tmp_path / "two_towers")
    command = [str(Path(sys.executable).parent / "mals"), *words(world, tmp_path / "out", *TRAINING, "steps=1")]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_ours_are_methods_too() -> None:
    for name in methods.METHODS:
        method = methods.find(name)
        assert issubclass(method, Method) and method.section == name and issubclass(method.Settings, Section)
