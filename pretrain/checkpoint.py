"""Checkpoints of a training and the weights that it releases: tensors and one integer, never pickled, in folders that appear whole.

OUT/checkpoints/00002000/model.safetensors, optimizer.safetensors, state.json     the last two
OUT/best/00001800/model.safetensors, state.json                                   the best one of a fine-tuning
OUT/model.safetensors, config.yaml, tokenizer.json, metrics.json                  what a finished training releases
"""

import errno
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mals.errors import UserError
from mals.files import replacing_folder, write_file
from mals.finite import require_finite
from pretrain.average import MEAN
from pretrain.method import Method
from pretrain.weights import read_tensors

FOLDER, BEST, MODEL, OPTIMIZER = "checkpoints", "best", "model.safetensors", "optimizer.safetensors"
KEPT = 2  # the last ones: one may be damaged by the disk that ended the training
PARTS = ("exp_avg", "exp_avg_sq", "step", MEAN)  # of AdamW's state, and what `pretrain.average` puts beside it


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on this disk."""

    folder: Path
    step: int  # steps that are done
    config: dict[str, Any]
    scaler: dict[str, Any]  # the state of the loss scale; {} where there is none
    damaged: tuple[str, ...] = ()  # later ones that cannot be read, with the reasons


def state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
    """The tensors of each file of a checkpoint, as they are: the next step changes them. AdamW's have the names of the parameters."""
    means = {
        f"{name}.{part}": torch.as_tensor(value)
        for name, parameter in model.named_parameters()
        for part, value in optimizer.state.get(parameter, {}).items()
    }
    return {MODEL: model.state_dict(), OPTIMIZER: means}


def save(
    out: Path,
    step: int,
    files: Mapping[str, Mapping[str, Tensor]],
    config: Mapping[str, Any],
    scaler: Mapping[str, Any] = MappingProxyType({}),
) -> Path:
    """Write the `state` after `step` steps, and remove all but the last KEPT. OSError where the disk is full."""
    place = out / FOLDER / f"{step:08d}"
    _write_folder(place, files, {"v": 1, "step": step, "config": config, "scaler": dict(scaler)})
    folders = _folders(out)
    for old in {*folders} - {*[folder for folder in folders if int(folder.name) <= step][-KEPT:]}:  # later ones are damaged, see `latest`
        shutil.rmtree(old)
    return place


def save_best(out: Path, step: int, model: nn.Module, config: Mapping[str, Any], score: float) -> None:
    """Keep the weights after `step` steps as the best so far, and remove the former best."""
    place = out / BEST / f"{step:08d}"
    _write_folder(place, {MODEL: model.state_dict()}, {"v": 1, "step": step, "config": config, "score": score})
    for old in place.parent.iterdir():
        if old != place:
            shutil.rmtree(old)


def best(out: Path) -> tuple[Path, int, float] | None:
    """The best so far: its folder, its step and its score, the earliest of the best; UserError where it is damaged."""
    candidates = []
    for folder in _folders(out, BEST):
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            candidates.append((float(state["score"]), -int(state["step"]), folder))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{folder} is damaged ({error}); the former best score is lost, so start again with another --out") from None
    if not candidates:
        return None
    score, step, folder = max(candidates)
    return folder, -step, score


def load_weights(folder: Path, model: nn.Module) -> None:
    """Load the weights of a folder into a model; UserError where they cannot be read, or are not finite."""
    try:
        state = load_file(folder / MODEL)
        require_finite(state, folder / MODEL)
        model.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"the weights in {folder} cannot be read: {str(error).strip().splitlines()[-1].strip()}") from None


def latest(out: Path) -> Checkpoint | None:
    """The last whole checkpoint of a training; None where there is none, UserError where all are damaged."""
    damaged: list[str] = []
    for folder in reversed(_folders(out)):
        try:
            content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            for name in (MODEL, OPTIMIZER):
                with safe_open(folder / name, "pt"):  # reads the header, and checks the file's length by it
                    pass
            return Checkpoint(folder, int(content["step"]), content["config"], content["scaler"], tuple(damaged))
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            damaged.append(f"the checkpoint {folder} is damaged ({error})")
    if damaged:
        raise UserError(f"{damaged[0]}, and no earlier one is whole; remove {out / FOLDER} to start again")
    return None


def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load a checkpoint into a model and its optimizer; UserError where they do not fit, cannot be read or are not finite."""
    try:
        weights = load_file(checkpoint.folder / MODEL)
        states = load_file(checkpoint.folder / OPTIMIZER)
    except (OSError, SafetensorError) as error:
        raise UserError(f"the checkpoint {checkpoint.folder} cannot be read ({error}); remove it to continue from the one before") from None
    require_finite(weights, checkpoint.folder / MODEL)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"the checkpoint {checkpoint.folder} is of another model: {str(error).strip().splitlines()[-1].strip()}") from None
    for name, parameter in model.named_parameters():
        if f"{name}.step" in states:
            parts = {part: states.get(f"{name}.{part}") for part in PARTS}
            optimizer.state[parameter] = {part: value.to(parameter.device) for part, value in parts.items() if value is not None}


def release(out: Path, method: Method, config: str, metrics: Mapping[str, Any]) -> None:
    """Write what others load: weights without the training-only ones, settings as YAML, and the last metrics, each file whole."""
    write_file(out / MODEL, lambda path: _write(plain(method.without_training_only(method.state_dict())), path))
    write_file(out / "config.yaml", config)
    write_file(out / "metrics.json", json.dumps(metrics, indent=2))


def copy_weights(file: Path, target: Path, method: type[Method]) -> None:
    """Copy the weights of a checkpoint without those that the method has for its training only; UserError where they are not finite."""
    state = read_tensors(str(file))
    if method.training_only is None:
        shutil.copyfile(file, target)
    else:
        _write(method.without_training_only(state), target)


def _write_folder(place: Path, files: Mapping[str, Mapping[str, Tensor]], content: Mapping[str, Any]) -> None:
    """Write the folder of a checkpoint, whole or not at all."""
    with replacing_folder(place) as folder:
        for name, tensors in files.items():
            _write(plain(tensors), folder / name)
        (folder / "state.json").write_text(json.dumps(content), encoding="utf-8")


def plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as a file stores them: on the CPU, contiguous, none shared; copies only of those that are not."""
    tensors, places = {}, set[int]()
    for name, tensor in state.items():
        tensors[name] = tensor.detach().cpu().contiguous()
        if (place := tensors[name].untyped_storage().data_ptr()) in places:
            tensors[name] = tensors[name].clone()
        places.add(place)
    return tensors


def _write(tensors: Mapping[str, Tensor], file: Path) -> None:
    """OSError where the disk is full, which safetensors reports as an error of its own."""
    try:
        save_file(dict(tensors), file)
    except SafetensorError as error:
        if os.strerror(errno.ENOSPC) in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file)) from None
        raise


def _folders(out: Path, name: str = FOLDER) -> list[Path]:
    """Checkpoints, oldest first."""
    place = out / name
    return sorted(folder for folder in place.iterdir() if folder.name.isdigit()) if place.is_dir() else []
