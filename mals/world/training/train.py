"""Trains the embedded models, one after the other, and puts them where `embedded` finds them: `make world-models`.

    python -m mals.world.training --work DIR [--only NAME [--go-on]] [--minutes M] [--threads T]

DIR keeps the drawn pictures and every trained model; given again, it goes on with the models that are not there yet. Minutes are those of
the machine that the shipped models were trained on, two cores of a Xeon with AMX, each training on one of them, that of the Swin on both.
"""

import argparse
import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from mals.models import WEIGHTS
from mals.world.training.drawn_dataset import DrawnDataset, draw_dataset

MINUTES = {
    "autoencoder": 30.0,
    "decoder": 15.0,
    "narrow": 12.0,
    "generator": 54.0,
    "light": 12.0,
    "pose": 29.0,
    "detector": 14.0,
    "captioner": 30.0,
    "swin": 30.0,
}
SHIPPED = {  # model -> the trainings that made it, the last one last
    "generator": ("autoencoder", "decoder", "narrow", "generator", "light"),
    "pose": ("pose",),
    "detector": ("detector",),
    "captioner": ("captioner",),
    "swin": ("swin",),
}
CARD = """---
license: apache-2.0
---
The embedded {name} of mals: trained on the procedural pedestrian world in `mals/world`, on nothing else, by

    {command}

training.json holds seed, steps and time. It knows drawn people only; photographs are not for it.
"""


def train(name: str, dataset: DrawnDataset, work: Path, minutes: float, seed: int, go_on: bool) -> None:
    """Train one model into `work`/`name`, further from what is there for `go_on`, and add how to the list in `work`/`name`.json."""
    facts = import_module(f"mals.world.training.{name}").train(dataset, work, minutes, seed, go_on)
    command = f"python -m mals.world.training --work DIR --only {name} --minutes {minutes:g}{' --go-on' if go_on else ''}"
    told = {"model": name, "command": command, "seed": seed, "pictures": dataset.count, "threads": torch_threads()} | facts
    before = facts_of(work, name) if go_on else []
    (work / f"{name}.json").write_text(json.dumps([*before, told], indent=2) + "\n", encoding="utf-8")


def facts_of(work: Path, name: str) -> list[dict[str, Any]]:
    """How a model was trained, a mapping a call."""
    return json.loads((work / f"{name}.json").read_text(encoding="utf-8"))


def torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def install(work: Path, weights: Path = WEIGHTS) -> None:
    """Copy what ships, with a card and the facts of its training, from `work` to where `embedded` finds it."""
    import torch
    from diffusers import AutoencoderKL

    for name, parts in SHIPPED.items():
        facts = [fact for part in parts for fact in facts_of(work, part)]
        shutil.rmtree(weights / name, ignore_errors=True)
        shutil.copytree(work / parts[-1], weights / name)
        if name == "generator":  # it was saved with the wide autoencoder
            AutoencoderKL.from_pretrained(work / "narrow", torch_dtype=torch.float16).save_pretrained(weights / name / "vae")
        commands = "\n    ".join(fact["command"] for fact in facts)
        (weights / name / "README.md").write_text(CARD.format(name=name, command=commands), encoding="utf-8")
        (weights / name / "training.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder with 4 GB of room")
    parser.add_argument("--only", choices=MINUTES, help="one model")
    parser.add_argument("--minutes", type=float, help="instead of those of the shipped model")
    parser.add_argument("--pictures", type=int, default=60_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--go-on", action="store_true", help="with --only: train what is in DIR further")
    parser.add_argument("--install", action="store_true", help="train nothing, only install what is in DIR")
    given = parser.parse_args()

    import torch

    torch.set_num_threads(given.threads)
    if not given.install:
        if given.go_on and given.only is None:
            parser.error("--go-on needs --only")
        dataset = draw_dataset(given.work / "dataset", given.seed, given.pictures)
        for name in [given.only] if given.only else MINUTES:
            if given.only or not (given.work / f"{name}.json").is_file():
                train(name, dataset, given.work, given.minutes or MINUTES[name], given.seed, given.go_on)
    if given.only is None:
        install(given.work)
