"""Weights are finite, and have the names that the model has, whatever they were saved inside of."""

import json
import shutil
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mals.errors import ModelMissing, UserError
from pretrain import weights
from pretrain.checkpoint import load_weights
from pretrain.data.tokenizers.files import locate
from pretrain.release import release
from pretrain.trained_method import read
from tests.conftest import Mals

TENSOR = "vision_proj.weight"


def spoiled(out: Path, folder: Path, number: float = float("nan")) -> Path:
    """A copy of a release with one wrong number in one tensor."""
    shutil.copytree(out, folder)
    state = load_file(folder / "model.safetensors")
    state[TENSOR].view(-1)[7] = number
    save_file(state, folder / "model.safetensors")
    return folder


def test_weights_that_are_not_finite_are_refused_by_every_command_with_the_tensor(
    mals: Mals, out: Path, data: Path, tmp_path: Path
) -> None:
    bad = spoiled(out, tmp_path / "bad")
    commands = {
        "evaluate": ["evaluate", bad, "--data", data, "--split", "train"],
        "search": ["search", bad, "a man", "--data", data, "--split", "train"],
        "release": ["release", bad, "--to", tmp_path / "released"],
        "pretrain": [
            "pretrain",
            "--preset",
            "tiny",
            "--data",
            data,
            "--out",
            tmp_path / "again",
            "-s",
            f"start={bad / 'model.safetensors'}",
        ],
    }
    for name, words in commands.items():
        result = mals(*words)
        assert (result.returncode, result.stderr.count("\n")) == (2, 1), (name, result.stderr)
        assert f"numbers of {TENSOR} are not finite" in result.stderr and "bad/model.safetensors" in result.stderr, name
    assert not (tmp_path / "released").exists()
    failed = mals(*commands["evaluate"], "--json")
    assert failed.returncode == 2 and TENSOR in json.loads(failed.stdout)["error"]


def test_every_reader_refuses_numbers_that_are_not_finite(out: Path, tmp_path: Path) -> None:
    bad = spoiled(out, tmp_path / "bad", torch.inf)
    state = load_file(bad / "model.safetensors")
    torch.save({"model": state}, tmp_path / "bad.pth")
    for source in (bad / "model.safetensors", tmp_path / "bad.pth", bad):
        with pytest.raises(UserError, match=rf"bad.*{TENSOR} are not finite"):
            weights.read_tensors(str(source))
        with pytest.raises(UserError, match=rf"bad.*{TENSOR} are not finite"):
            read(str(source), preset="tiny" if source.is_file() else None)
    with pytest.raises(UserError, match=rf"bad/model.safetensors.*{TENSOR}"):
        load_weights(bad, read(str(out)).method)
    with pytest.raises(UserError, match=rf"bad/model.safetensors.*{TENSOR}"):
        release(str(bad), str(tmp_path / "released"))


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "_fsdp_wrapped_module.", "module._fsdp_wrapped_module."]
)
def test_a_prefix_that_every_name_has_is_cut(out: Path, tmp_path: Path, prefix: str) -> None:
    state = load_file(out / "model.safetensors")
    save_file({prefix + name: value for name, value in state.items()}, tmp_path / "wrapped.safetensors")
    own = weights.read_tensors(str(tmp_path / "wrapped.safetensors"))
    assert own.keys() == state.keys() and all(own[name].equal(state[name]) for name in own)
    shutil.copytree(out, tmp_path / "out")
    shutil.copyfile(tmp_path / "wrapped.safetensors", tmp_path / "out/model.safetensors")
    assert read(str(tmp_path / "out")).width() == read(str(out)).width()


def test_wrappers_within_a_model_and_the_counter_of_a_mean_are_cut() -> None:
    inner = {"vision._orig_mod.a": torch.ones(1), "text._fsdp_wrapped_module.layers.0._checkpoint_wrapped_module.b": torch.ones(1)}
    assert list(weights.without_wrappers(inner)) == ["vision.a", "text.layers.0.b"]
    assert list(weights.without_wrappers({"n_averaged": torch.tensor(3), "module.a": torch.ones(1)})) == ["a"]
    own = {"module.a": torch.ones(1), "other.b": torch.ones(1)}  # a model may have a part of this name
    assert weights.without_wrappers(own) == own and weights.without_wrappers({}) == {}
    collision = OrderedDict({"a._orig_mod.b": torch.ones(1), "a.b": torch.zeros(1)})
    assert list(weights.without_wrappers(collision)) == ["a._orig_mod.b", "a.b"]


def test_a_prefix_that_only_some_names_have_is_named(mals: Mals, out: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "half")
    state = load_file(out / "model.safetensors")
    half = {f"module.{name}" if number % 2 else name: value for number, (name, value) in enumerate(state.items())}
    save_file(half, tmp_path / "half/model.safetensors")
    result = mals("evaluate", "half", "--data", data, "--split", "train")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    count = f"{len(state) // 2:,} of its {len(state):,} names begin with module., which DataParallel"
    assert "does not fit the model" in result.stderr and count in result.stderr


@pytest.mark.parametrize("name", ["swin_base_patch4_window7_224_22k.pth", "weights/none", "PLIP_MRN50.pth.tar"])
def test_the_name_of_a_file_that_is_missing_is_not_looked_for_at_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelMissing) as refused:
        weights.read_initial(name, "irra.start", "CLIP")
    message = str(refused.value)
    assert message.startswith(
        f"there are no weights of CLIP at irra.start = {name}: irra.start=FILE reads a file or folder, and irra.start=null"
    )
    assert "hub" not in message


@pytest.mark.parametrize("source", ["vocab.txt", "words/tokenizer.json"])
def test_the_name_of_a_tokenizers_file_that_is_missing_is_not_looked_for_at_the_hub(source: str) -> None:
    with pytest.raises(ModelMissing) as refused:
        locate(source, ("tokenizer.json", "vocab.txt"))
    assert "hf download" not in str(refused.value) and "data.tokenizer=train" in str(refused.value)
