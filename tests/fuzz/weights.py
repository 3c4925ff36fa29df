"""Files of weights of every kind with changes, also within the pickle of an archive and the header of safetensors.

Finite tensors come back, or UserError, and nothing that a file names is run.
"""

import json
import os
import pickle
import tempfile
import warnings
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor, nn

from mals.errors import UserError
from mals.finite import require_finite
from pretrain import published, weights
from tests.fuzz.images import changed, changes

FOLDER = Path(tempfile.mkdtemp(prefix="mals-fuzz-weights-"))
CANARY = FOLDER / "run"
STATE = {"visual.conv1.weight": torch.arange(24.0).view(2, 3, 4), "text.bias": torch.ones(3).half(), "count": torch.tensor(7)}
LENGTH = 8  # bytes before the header of safetensors


class Attack:
    """What a malicious file holds: unpickled by pickle itself, it would make the file CANARY."""

    def __reduce__(self) -> Any:
        return os.system, (f"touch {CANARY}",)


def _saved(content: Any, new_format: bool = True) -> bytes:
    file = BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=new_format)
    return file.getvalue()


def _scripted() -> bytes:
    file = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and files of it are there
        torch.jit.save(torch.jit.script(nn.Linear(3, 2)), file)
    return file.getvalue()


ARCHIVES = [
    _saved({"model": {f"module.{name}": value for name, value in STATE.items()}, "epoch": 3, "config": {"img_size": (384, 128)}}),
    _saved({"network": STATE, "W": {"weight": torch.ones(2, 2)}}),
    _saved(STATE),
    _saved({**STATE, "attack": Attack()}),
    _scripted(),
]
SAFETENSORS = [save(STATE), save({"a": torch.tensor([1.0, float("nan")])}), save({})]
FILES = [
    *ARCHIVES,
    *SAFETENSORS,
    _saved({"state_dict": STATE}, new_format=False),
    _saved(Attack(), new_format=False),
    pickle.dumps(Attack()),
]

numbers = st.one_of(st.integers(-2, 40), st.sampled_from([2**31, 2**63, 2**64, 10**400, -1, 0.5, float("nan")]))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5)), lambda inner: st.lists(inner, max_size=3), max_leaves=6
)
tensors = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.one_of(st.sampled_from(["F32", "F16", "BF16", "I64", "BOOL", "F8_E4M3", "F4", "X"]), values),
        "shape": st.one_of(st.lists(numbers, max_size=4), values),
        "data_offsets": st.one_of(st.lists(numbers, min_size=2, max_size=2), values),
    },
)
headers = st.dictionaries(
    st.one_of(st.sampled_from(["a", "module.a", "__metadata__", ""]), st.text(max_size=4)), st.one_of(tensors, values)
)


def _with_pickle(archive: bytes, change: Any) -> bytes:
    """The archive with its pickle changed, and whole again."""
    old, new = zipfile.ZipFile(BytesIO(archive)), BytesIO()
    with zipfile.ZipFile(new, "w") as target:
        for name in old.namelist():
            data = old.read(name)
            target.writestr(name, changed(data, change) if name.endswith("data.pkl") else data)
    return new.getvalue()


def _with_header(header: Any, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(LENGTH, "little") + text + data


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes]:
    """A suffix, and the bytes of a file."""
    kind = draw(st.sampled_from(["bytes", "pickle", "header", "header text"]))
    if kind == "header":
        data = _with_header(draw(headers), draw(st.binary(max_size=64)))
    elif kind == "header text":
        whole = draw(st.sampled_from(SAFETENSORS))
        end = LENGTH + int.from_bytes(whole[:LENGTH], "little")
        text = changed(whole[LENGTH:end], draw(changes))
        data = len(text).to_bytes(LENGTH, "little") + text + whole[end:]
    elif kind == "pickle":
        data = _with_pickle(draw(st.sampled_from(ARCHIVES)), draw(changes))
    else:
        data = draw(st.one_of(st.sampled_from(FILES), st.binary(max_size=64)))
    for change in draw(st.lists(changes, max_size=2 if kind == "bytes" else 1)):
        data = changed(data, change)
    usual = ".safetensors" if kind.startswith("header") else ".pth"
    return draw(st.sampled_from([usual, usual, usual, ".safetensors", ".pth", ".bin"])), data


EXAMPLES = files()


def check(example: tuple[str, bytes]) -> None:
    """Finite tensors come back, or UserError of one line, and no other file appears."""
    suffix, data = example
    file = FOLDER / f"weights{suffix}"
    file.write_bytes(data)
    try:
        for read in (weights.read_tensors, lambda source: published.read(source).tensors):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    state = read(str(file))
            except UserError as error:
                assert str(file) in str(error) and "\n" not in str(error) and " at 0x" not in str(error), error
                continue
            assert all(isinstance(value, Tensor) for value in state.values())
            require_finite(state, file)
            for value in state.values():
                value.clone()  # every number is there
    finally:
        file.unlink()
    assert not CANARY.exists()
