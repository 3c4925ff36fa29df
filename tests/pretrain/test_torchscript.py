"""TorchScript archives are read as data: tensors arrive by their names, and nothing that a file names is run."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mals.errors import UserError
from pretrain import torchscript

PROTO, STOP = b"\x80\x02", b"."
MODULE = b"c__torch__.multimodal.model.___torch_mangle_9547\nMultimodal\n)\x81"  # an object of the archive's own class


def archive(file: Path, pickled: bytes, data: bytes = b"\0" * 16) -> Path:
    with zipfile.ZipFile(file, "w") as target:
        for name, content in {"constants.pkl": b"", "data.pkl": pickled, "data/0": data, "code/__torch__.py": b"raise SystemExit"}.items():
            target.writestr(f"clip/{name}", content)
    return file


def tensor(size: tuple[int, ...] = (2, 2), offset: int = 0) -> bytes:
    """The opcodes of a tensor in the storage 0, of four numbers."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
    numbers = b"".join(b"K" + bytes([number]) for number in size)
    stride = b"".join(b"K" + bytes([1 if at == len(size) - 1 else 2]) for at in range(len(size)))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(%sK%s(%st(%st\x89ccollections\nOrderedDict\n)RtR" % (
        storage,
        bytes([offset]),
        numbers,
        stride,
    )


def module(value: bytes) -> bytes:
    return PROTO + MODULE + b"}X\x01\x00\x00\x00a" + value + b"sb" + STOP


def test_tensors_come_by_their_names(tmp_path: Path) -> None:
    numbers = torch.arange(4.0)
    file = archive(tmp_path / "ViT-B-16.pt", module(tensor()), numbers.numpy().tobytes())
    assert torchscript.is_archive(file)
    read = torchscript.read_archive(file)
    assert read.keys() == {"a"} and torch.equal(read["a"], numbers.view(2, 2))


class Runs:
    """An object whose unpickling would call a function."""

    def __init__(self, function: Callable[..., Any], *values: Any) -> None:
        self.function, self.values = function, values

    def __reduce__(self) -> Any:
        return self.function, self.values


def opcodes(value: Any) -> bytes:
    """Of a value inside another pickle."""
    return pickle.dumps(value, 2)[2:-1]


@pytest.mark.parametrize("function", [os.system, eval, exec, open, getattr, pickle.loads, torch.load, torch.jit.load])
def test_functions_are_refused_and_not_run(tmp_path: Path, function: Callable[..., Any]) -> None:
    marker = tmp_path / "it_ran"
    attack = Runs(function, f"open({str(marker)!r}, 'w')" if function in (eval, exec) else f"touch {marker}")
    for pickled in (PROTO + opcodes(attack) + STOP, module(opcodes(attack)), module(opcodes([1, {"a": attack}]))):
        with pytest.raises(UserError, match=r"x\.pt holds more than tensors \(it holds [\w.]+, which was not run\)") as caught:
            torchscript.read_archive(archive(tmp_path / "x.pt", pickled))
        assert "\n" not in str(caught.value) and not marker.exists()


@pytest.mark.parametrize("target", ["torch._utils\n_rebuild_tensor_v2", "torch.jit._pickle\nbuild_intlist", "__torch__\nM"])
def test_what_reads_an_archive_cannot_be_changed_by_it(tmp_path: Path, target: str) -> None:
    """The state of an object may be set by a pickle, that of the functions that read it not."""
    state = opcodes((None, {"__defaults__": (1,), "__call__": 1, "__setstate__": 1, "__init__": 1}))
    with pytest.raises(UserError, match="is no complete TorchScript archive"):
        torchscript.read_archive(archive(tmp_path / "x.pt", PROTO + f"c{target}\n".encode() + state + b"b" + STOP))
    test_tensors_come_by_their_names(tmp_path)


@pytest.mark.parametrize("size", [(9, 9), (2, 3), (200, 200)])
def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path, size: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="is no complete TorchScript archive"):
        torchscript.read_archive(archive(tmp_path / "x.pt", module(tensor(size))))


def test_an_archive_whose_directory_is_damaged_is_none(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pth")
    data = bytearray((tmp_path / "a.pth").read_bytes())
    at = data.rindex(b"PK\x05\x06")
    data[at + 12] ^= 1  # the length of the directory, which a fuzz test changed
    (tmp_path / "a.pth").write_bytes(bytes(data))
    assert not torchscript.is_archive(tmp_path / "a.pth")


def test_what_is_no_archive_is_one_sentence(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pth")
    assert not torchscript.is_archive(tmp_path / "a.pth")
    for pickled in (b"", PROTO + b"N" + STOP, b"text"):
        with pytest.raises(UserError, match=r"^\S+x\.pt is no complete TorchScript archive"):
            torchscript.read_archive(archive(tmp_path / "x.pt", pickled))
