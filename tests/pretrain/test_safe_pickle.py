"""Pickles are read as data: what other projects' checkpoints contain arrives, and nothing that a file names is run."""

import os
import pickle
import sys
import types
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mals.errors import UserError
from pretrain.safe_pickle import read_checkpoint, read_plain
from tests.pretrain.foreign import EasyDict

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2).half()}


def test_dicts_of_easydict_are_plain_dicts_at_every_depth(tmp_path: Path, easydict: None) -> None:
    config = EasyDict({"model": {"embed": 512}, "sizes": [384, 128], "stages": [{"lr": 1e-4}]})
    torch.save({"model": STATE, "config": config}, tmp_path / "best.pth")
    del sys.modules["easydict"]
    content = read_checkpoint(tmp_path / "best.pth")
    assert content["config"] == {"model": {"embed": 512}, "sizes": [384, 128], "stages": [{"lr": 1e-4}]}
    assert type(content["config"]) is dict and type(content["config"]["stages"][0]) is dict
    assert all(torch.equal(content["model"][name], STATE[name]) for name in STATE)


@pytest.mark.parametrize(
    "number", [np.float64(0.625), np.float32(-2.5), np.int64(-3), np.uint8(200), np.bool_(True), np.dtype(">f8").type(3)]
)
@pytest.mark.parametrize("new_format", [True, False])
def test_numpy_scalars_are_numbers(tmp_path: Path, number: Any, new_format: bool) -> None:
    torch.save({"network": STATE, "test_best": number}, tmp_path / "best.pth.tar", _use_new_zipfile_serialization=new_format)
    read = read_checkpoint(tmp_path / "best.pth.tar")["test_best"]
    assert read == number.item() and type(read) in (int, float, bool)


def test_numpy_scalars_of_version_1_are_numbers(tmp_path: Path) -> None:
    data = pickle.dumps({"best": np.float64(0.75)}, 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core" in data
    torch.save({"best": 0}, tmp_path / "best.pth")
    _with_pickle(tmp_path / "best.pth", data)
    assert read_checkpoint(tmp_path / "best.pth") == {"best": 0.75}


def test_a_namespace_stays_one(tmp_path: Path) -> None:
    torch.save({"args": Namespace(lr=1e-5, img_size=(384, 128))}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth")["args"] == Namespace(lr=1e-5, img_size=(384, 128))


class Runs:
    """An object whose unpickling would call a function."""

    def __init__(self, function: Callable[..., Any], *values: Any) -> None:
        self.function, self.values = function, values

    def __reduce__(self) -> Any:
        return self.function, self.values


class Hidden(dict[str, Any]):
    """A dict whose attributes are unpickled too."""


def _attacks(marker: str) -> dict[str, Any]:
    attack = Runs(os.system, f"touch {marker}")
    poisoned = Hidden(a=1)
    poisoned.update(b=attack)
    easy = EasyDict({"a": {"b": 1}})
    dict.__setitem__(easy, "c", attack)
    hidden = EasyDict({"a": 1})
    hidden.__dict__["extra"] = attack
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.extra = attack  # type: ignore[attr-defined]
    return {
        "bare": attack,
        "in the state dict": {"model": {**STATE, "b": attack}},
        "beside it": {"model": STATE, "epoch": attack},
        "in a list": {"model": STATE, "config": [1, (2, [attack])]},
        "as a key": {"model": STATE, "config": {(1, Hashable(marker)): 1}},
        "in a namespace": {"model": STATE, "args": Namespace(a=attack)},
        "in an easydict": {"model": STATE, "config": easy},
        "in an easydict's attributes": {"model": STATE, "config": hidden},
        "in a class of its own": {"model": STATE, "config": poisoned},
        "in a parameter": {"model": {"a": parameter}},
        "by eval": {"model": STATE, "x": Runs(eval, f"open({marker!r}, 'w')")},
        "by exec": {"model": STATE, "x": Runs(exec, f"open({marker!r}, 'w')")},
        "by open": {"model": STATE, "x": Runs(open, marker, "w")},
        "by getattr": {"model": STATE, "x": Runs(getattr, Namespace(), "__init__")},
        "by numpy": {"model": STATE, "x": Runs(np.load, marker, None, True)},
        "by torch": {"model": STATE, "x": Runs(torch.load, marker)},
        "by pickle": {"model": STATE, "x": Runs(pickle.loads, pickle.dumps(attack))},
    }


class Hashable(Runs):
    """The same as a key of a dict."""

    def __init__(self, marker: str) -> None:
        super().__init__(os.system, f"touch {marker}")


@pytest.mark.parametrize("attack", list(_attacks("")))
@pytest.mark.parametrize("new_format", [True, False])
def test_a_malicious_checkpoint_is_refused_and_runs_nothing(tmp_path: Path, easydict: None, attack: str, new_format: bool) -> None:
    marker = tmp_path / "it ran"
    torch.save(_attacks(str(marker).replace(" ", "_"))[attack], tmp_path / "x.pth", _use_new_zipfile_serialization=new_format)
    marker = Path(str(marker).replace(" ", "_"))
    with pytest.raises(UserError, match=r"x\.pth holds more than tensors \(it holds [\w.]+, which was not run\)") as caught:
        read_checkpoint(tmp_path / "x.pth")
    assert "\n" not in str(caught.value) and not marker.exists()


def test_a_pickle_of_lists_and_texts_is_read_and_one_with_a_class_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "it_ran"
    words = ["a", "man", "wearing"]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "ind2word.pkl").write_bytes(pickle.dumps([words, {"a": 1}, (2.5, None, True)], protocol))
        assert read_plain(tmp_path / "ind2word.pkl") == [words, {"a": 1}, (2.5, None, True)]
        evil = pickle.dumps([words, Runs(eval, f"open({str(marker)!r}, 'w')"), Runs(os.system, f"touch {marker}")], protocol)
        (tmp_path / "ind2word.pkl").write_bytes(evil)
        with pytest.raises(UserError, match=r"l holds more than lists, texts and numbers \(it holds \w+\.\w+, which was not run"):
            read_plain(tmp_path / "ind2word.pkl")
        assert not marker.exists()


@pytest.mark.parametrize(
    "dtype", [np.dtype("O"), np.dtype("S8"), np.dtype("V8"), np.dtype("M8[s]"), np.dtype("c16"), np.dtype([("a", "f8")])]
)
def test_numpy_scalars_that_are_no_numbers_are_refused(tmp_path: Path, dtype: np.dtype[Any]) -> None:
    from numpy._core.multiarray import scalar

    torch.save({"best": Runs(scalar, dtype, b"12345678")}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth holds more than tensors"):
        read_checkpoint(tmp_path / "x.pth")


def test_a_dict_whose_attributes_override_its_methods_is_read_by_its_entries(tmp_path: Path, easydict: None) -> None:
    config = EasyDict({"a": 1})
    config.__dict__["keys"] = 5
    torch.save({"config": config}, tmp_path / "x.pth")
    assert read_checkpoint(tmp_path / "x.pth") == {"config": {"a": 1}}


def test_shared_lists_stay_shared_and_a_cycle_is_refused(tmp_path: Path) -> None:
    shared: list[Any] = [1]
    for _ in range(60):  # 2^60 entries if each were copied
        shared = [shared, shared]
    torch.save(shared, tmp_path / "x.pth")
    assert read_checkpoint(tmp_path / "x.pth")[0][1][0] is not None
    cycle: list[Any] = []
    cycle.append(cycle)
    torch.save(cycle, tmp_path / "x.pth")
    with pytest.raises(UserError, match="not complete"):
        read_checkpoint(tmp_path / "x.pth")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 torn", b"\x80\x04N.", b"text"])
def test_what_is_no_checkpoint_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(
        UserError, match=r"^\S+x\.pth holds more than tensors, or is not complete; convert it to safetensors if you trust it$"
    ):
        read_checkpoint(tmp_path / "x.pth")


@pytest.fixture
def easydict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library, which is not installed: a checkpoint can be written with it."""
    module = types.ModuleType("easydict")
    module.EasyDict = EasyDict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "easydict", module)


def _with_pickle(file: Path, data: bytes) -> None:
    """Replace the pickle in a file of torch.save."""
    import zipfile

    with zipfile.ZipFile(file) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, data if name.endswith("data.pkl") else content)
