"""Models with one wrong number, as a damaged file or a training that went wrong leaves them."""

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file


def spoiled(model: Path, folder: Path) -> str:
    """Copy a model's folder with NaN in the place of one number; the name of its tensor in the file."""
    shutil.copytree(model, folder)
    state = load_file(folder / "model.safetensors")
    name = next(name for name, tensor in state.items() if tensor.is_floating_point())
    state[name].view(-1)[0] = float("nan")
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return name
