"""Trains the embedded models, one after the other, and installs them where `model: embedded` finds them: `make world-models`.

    python -m mals.world.training --work DIR [--only NAME [--go-on]] [--minutes M] [--threads T]
    python -m mals.world.training --work DIR --install [--only NAME]

DIR keeps the drawn images and every trained model; a second call with the same DIR trains the models that are still missing. The minutes
are those of the shipped models, trained on two cores of a Xeon with AMX: each training on one of them, that of the Swin on both.
"""

import argparse
import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from mals.models import WEIGHTS
from mals.world.training.drawn_dataset import DrawnDataset, draw_dataset

MINUTES = {  # training -> its length
    "autoencoder": 30.0,
    "decoder": 15.0,
    "narrow": 12.0,
    "generator": 54.0,
    "light": 12.0,
    "pose": 29.0,
    "detector": 14.0,
    "captioner": 30.0,
    "reader": 80.0,
    "vlm": 76.0,
    "scorer": 25.0,
    "swin": 30.0,
}
SHIPPED = {  # model -> the trainings that make it, in their order; the last one saves the model
    "generator": ("autoencoder", "decoder", "narrow", "generator", "light"),
    "pose": ("pose",),
    "detector": ("detector",),
    "captioner": ("captioner",),
    "vlm": ("reader", "vlm"),
    "scorer": ("scorer",),
    "swin": ("swin",),
}
CARD = """---
license: apache-2.0
---
The embedded {name} of mals, trained on drawn images of the procedural pedestrian world in `mals/world`, and on nothing else, by

    {command}

training.json holds the seed, steps and time of each training. The model knows drawn people only; do not use it on photographs.
"""


def train(name: str, dataset: DrawnDataset, work: Path, minutes: float, seed: int, resume: bool) -> None:
    """Run one training, which saves into `work`, and write its record to `work`/`name`.json.

    With `resume` the training starts from the model that is there, and its record is added to those before.
    """
    results = import_module(f"mals.world.training.{name}").train(dataset, work, minutes, seed, resume)
    command = f"python -m mals.world.training --work DIR --images {dataset.count} --only {name} --minutes {minutes:g}"
    command += " --go-on" if resume else ""
    record = {"model": name, "command": command, "seed": seed, "images": dataset.count, "threads": torch_threads()} | results
    earlier = read_records(work, name) if resume else []
    (work / f"{name}.json").write_text(json.dumps([*earlier, record], indent=2) + "\n", encoding="utf-8")


def read_records(work: Path, name: str) -> list[dict[str, Any]]:
    """The records of a training, one for each call of it."""
    return json.loads((work / f"{name}.json").read_text(encoding="utf-8"))


def torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def install(work: Path, weights: Path = WEIGHTS, only: str | None = None) -> None:
    """Copy the models that ship, or `only` one, each with a card and training.json, from `work` to `weights`."""
    import torch
    from diffusers import AutoencoderKL

    for name in [only] if only else SHIPPED:
        trainings = SHIPPED[name]
        records = [record for training in trainings for record in read_records(work, training)]
        shutil.rmtree(weights / name, ignore_errors=True)
        shutil.copytree(work / trainings[-1], weights / name)
        if name == "generator":  # it was saved with the wide autoencoder
            narrow = AutoencoderKL.from_pretrained(work / "narrow", torch_dtype=torch.float16)
            shutil.rmtree(weights / name / "vae")
            narrow.save_pretrained(weights / name / "vae")
        commands = "\n    ".join(record["command"] for record in records)
        (weights / name / "README.md").write_text(CARD.format(name=name, command=commands), encoding="utf-8")
        (weights / name / "training.json").write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder with 4 GB of free space")
    parser.add_argument("--only", choices=MINUTES, help="run this training alone")
    parser.add_argument("--minutes", type=float, help="length of each training, instead of that of the shipped model")
    parser.add_argument("--images", type=int, default=60_000, help="images to draw and train on")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch")
    parser.add_argument("--seed", type=int, default=1, help="seed of the world and of the trainings")
    parser.add_argument("--go-on", dest="resume", action="store_true", help="with --only: train the model in DIR further")
    parser.add_argument("--install", action="store_true", help="train nothing, only install the models in DIR, or the model --only")
    options = parser.parse_args()
    if options.install and options.only and options.only not in SHIPPED:
        parser.error(f"--install takes one of {', '.join(SHIPPED)}")

    import torch

    torch.set_num_threads(options.threads)
    if not options.install:
        if options.resume and options.only is None:
            parser.error("--go-on needs --only")
        dataset = draw_dataset(options.work / "images", options.seed, options.images)
        for name in [options.only] if options.only else MINUTES:
            if options.only or not (options.work / f"{name}.json").is_file():
                train(name, dataset, options.work, options.minutes or MINUTES[name], options.seed, options.resume)
    if options.only is None or options.install:
        install(options.work, only=options.only)
