"""Weights in files: read without running any code that a file may hold, and loaded whole.

Nothing is loaded in part without saying so: what is missing, unexpected or of another shape is one UserError.
"""

import re
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mals.errors import ModelMissing, UserError

FILES = ("model.safetensors", "pytorch_model.bin")  # of a folder as transformers writes it
LEAST_MATCHED = 0.95  # share of the parameters that a checkpoint with other names must have


def load_state(model: nn.Module, state: Mapping[str, Tensor], source: str, optional: str | None = None) -> list[str]:
    """Load all of a state dict; parameters whose names match `optional` may be missing, keep their values, and are returned."""
    own = model.state_dict()
    missing = [name for name in own if name not in state]
    left = [name for name in missing if optional and re.match(optional, name)]
    shapes = [f"{n} {_shape(state[n])} instead of {_shape(own[n])}" for n in own if n in state and state[n].shape != own[n].shape]
    faults = {
        "without": [name for name in missing if name not in left],
        "with the unknown": [name for name in state if name not in own],
        "of other shapes": shapes,
    }
    if any(faults.values()):
        raise UserError(
            f"{source} does not fit the model: " + "; ".join(f"{fault} {first_names(names)}" for fault, names in faults.items() if names)
        )
    model.load_state_dict(state, strict=False)
    return left


def without(state: Mapping[str, Tensor], pattern: str | None) -> dict[str, Tensor]:
    """The tensors whose names a regular expression does not match from their beginning on."""
    return {name: value for name, value in state.items() if pattern is None or not re.match(pattern, name)}


def rename(state: Mapping[str, Tensor], new_name: Callable[[str], str | None], names: Iterable[str], source: str) -> dict[str, Tensor]:
    """The tensors of other people's checkpoint with our names, those without one left out.

    `names` are the parameters that the checkpoint must have. UserError, with the first ones that it lacks, where it has less than
    LEAST_MATCHED of them: a wrong prefix would otherwise load nothing and say nothing.
    """
    renamed = {str(new): value for name, value in state.items() if (new := new_name(name)) is not None}
    expected = list(names)
    missing = [name for name in expected if name not in renamed]
    if expected and len(missing) > (1 - LEAST_MATCHED) * len(expected):
        raise UserError(
            f"{source} has {len(expected) - len(missing):,} of the {len(expected):,} parameters that are needed, "
            f"which is under {LEAST_MATCHED:.0%}; it lacks {first_names(missing)}"
        )
    return renamed


def read_tensors(source: str) -> dict[str, Tensor]:
    """The tensors of a file (safetensors, or a .pth that needs no code), a folder, or a hub id in the cache."""
    file = locate_file(source)
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as error:
            raise UserError(f"{source} is not a whole safetensors file: {error}") from None
    try:
        with torch.serialization.safe_globals([Namespace]):
            read = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a torn file fails in many ways
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" (it holds {foreign[1]})" if foreign else ", or not whole"
        raise UserError(f"{source} does not hold tensors alone{what}; convert it to safetensors where you trust it") from None
    for key in ("model", "state_dict"):
        if isinstance(read, dict) and isinstance(read.get(key), dict):
            read = read[key]
    if not isinstance(read, dict) or not all(isinstance(value, Tensor) for value in read.values()):
        raise UserError(f"{source} holds no state dict, bare or under 'model'")
    return read


def locate_file(source: str) -> Path:
    """The file behind a source: itself, or the weights of a folder, of a hub-cache folder at main, of a hub id in the cache."""
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        main = path / "refs" / "main"
        folder = path / "snapshots" / main.read_text().strip() if main.is_file() else path
        for name in FILES:
            if (folder / name).is_file():
                return folder / name
        raise UserError(f"the folder {source} has neither {' nor '.join(FILES)}")
    if (found := find_in_cache(source, FILES)) is not None:
        return found
    raise ModelMissing(f"there is no file or folder {source}, and no weights of that name in the Hugging Face cache")


def find_in_cache(source: str, names: Sequence[str], what: str = "") -> Path | None:
    """The first of some files that the Hugging Face cache has of a hub id; UserError, which says `what` is looked for, where it is none."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = [try_to_load_from_cache(source, name) for name in names]
    except HFValidationError:
        raise UserError(f"{what}{source!r} is neither a file, a folder nor a hub id") from None
    return next((Path(found) for found in cached if isinstance(found, str)), None)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def first_names(names: Iterable[str]) -> str:
    """The first few, and how many more."""
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
