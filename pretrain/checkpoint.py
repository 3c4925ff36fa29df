"""What a training keeps: tensors and one integer, never pickled, in folders that appear whole.

OUT/checkpoints/00002000/model.safetensors, optimizer.safetensors, state.json     the last two
OUT/best/00001800/model.safetensors, state.json                                   the best so far of a fine-tuning
OUT/model.safetensors, config.yaml, tokenizer.json, metrics.json                  what a finished training releases
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mals.errors import UserError
from mals.files import replacing_folder, write_file
from pretrain.average import MEAN

FOLDER, BEST, MODEL, OPTIMIZER = "checkpoints", "best", "model.safetensors", "optimizer.safetensors"
KEPT = 2  # the last ones: one may be damaged by the disk that ended the training
PARTS = ("exp_avg", "exp_avg_sq", "step", MEAN)  # of AdamW's state, and what `pretrain.average` puts beside it


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on this disk."""

    folder: Path
    step: int  # steps that were done
    config: dict[str, Any]
    damaged: tuple[str, ...] = ()  # later ones that cannot be read, and why


def save(out: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, config: Mapping[str, Any]) -> Path:
    """Write the state after `step` steps beside and rename it; older ones than the last KEPT go. OSError where the disk is full."""
    place = out / FOLDER / f"{step:08d}"
    making = {MODEL: lambda: plain(model.state_dict()), OPTIMIZER: lambda: _optimizer_state(model, optimizer)}
    _appear(place, making, {"v": 1, "step": step, "config": config})
    folders = _folders(out)
    for old in {*folders} - {*[one for one in folders if int(one.name) <= step][-KEPT:]}:  # later ones are damaged, see `latest`
        shutil.rmtree(old)
    return place


def save_best(out: Path, step: int, model: nn.Module, config: Mapping[str, Any], score: float) -> None:
    """Keep the weights after `step` steps as the best so far; those before go."""
    place = out / BEST / f"{step:08d}"
    _appear(place, {MODEL: lambda: plain(model.state_dict())}, {"v": 1, "step": step, "config": config, "score": score})
    for old in place.parent.iterdir():
        if old != place:
            shutil.rmtree(old)


def best(out: Path) -> tuple[Path, int, float] | None:
    """The best so far: its folder, its step and its score, the earliest of the best; UserError where it is damaged."""
    found = []
    for folder in _folders(out, BEST):
        try:
            facts = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            found.append((float(facts["score"]), -int(facts["step"]), folder))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{folder} is damaged ({error}); the best of before cannot be known, so begin anew in another --out") from None
    if not found:
        return None
    score, step, folder = max(found)
    return folder, -step, score


def load_weights(folder: Path, model: nn.Module) -> None:
    """Put the weights of a folder into a model; UserError where they cannot be read."""
    try:
        model.load_state_dict(load_file(folder / MODEL))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"the weights in {folder} cannot be read: {str(error).strip().splitlines()[-1].strip()}") from None


def latest(out: Path) -> Checkpoint | None:
    """The last whole checkpoint of a training; None where there is none, UserError where all are damaged."""
    damaged: list[str] = []
    for folder in reversed(_folders(out)):
        try:
            facts = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            for name in (MODEL, OPTIMIZER):
                with safe_open(folder / name, "pt"):  # its head, and that the file is as long as that says
                    pass
            return Checkpoint(folder, int(facts["step"]), facts["config"], tuple(damaged))
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            damaged.append(f"the checkpoint {folder} is damaged ({error})")
    if damaged:
        raise UserError(f"{damaged[0]}, and there is none before it that is whole; remove {out / FOLDER} to start anew")
    return None


def restore(found: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint's tensors into a model and its optimizer; UserError where they do not fit or cannot be read."""
    try:
        weights = load_file(found.folder / MODEL)
        states = load_file(found.folder / OPTIMIZER)
    except (OSError, SafetensorError) as error:
        raise UserError(f"the checkpoint {found.folder} cannot be read ({error}); remove it, and the one before goes on") from None
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"the checkpoint {found.folder} is of another model: {str(error).strip().splitlines()[-1].strip()}") from None
    for name, parameter in model.named_parameters():
        if f"{name}.step" in states:
            known = {part: states.get(f"{name}.{part}") for part in PARTS}
            optimizer.state[parameter] = {part: value.to(parameter.device) for part, value in known.items() if value is not None}


def release(out: Path, model: nn.Module, config: str, metrics: Mapping[str, Any]) -> None:
    """Write what others load: weights, settings as YAML, and the last metrics, each file whole."""
    write_file(out / MODEL, lambda path: _write(plain(model.state_dict()), path))
    write_file(out / "config.yaml", config)
    write_file(out / "metrics.json", json.dumps(metrics, indent=2))


def _appear(place: Path, making: Mapping[str, Callable[[], Mapping[str, Tensor]]], state: Mapping[str, Any]) -> None:
    """Write the folder of a checkpoint, whole or not at all; only one file's tensors are copied at a time."""
    with replacing_folder(place) as folder:
        for name, make in making.items():
            _write(make(), folder / name)
        (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")


def plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as a file holds them: on the CPU, contiguous, none shared."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}


def _write(tensors: Mapping[str, Tensor], file: Path) -> None:
    """OSError where the disk is full, which safetensors tells in its own way."""
    try:
        save_file(dict(tensors), file)
    except SafetensorError as error:
        if os.strerror(errno.ENOSPC) in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file)) from None
        raise


def _optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's tensors by the names of the parameters."""
    found = {}
    for name, parameter in model.named_parameters():
        for part, value in optimizer.state.get(parameter, {}).items():
            found[f"{name}.{part}"] = torch.as_tensor(value)
    return plain(found)


def _folders(out: Path, name: str = FOLDER) -> list[Path]:
    """Checkpoints, oldest first."""
    place = out / name
    return sorted(one for one in place.iterdir() if one.name.isdigit()) if place.is_dir() else []
