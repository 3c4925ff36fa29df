"""Trains the embedded models, one after the other, and puts them where `embedded` finds them: `make world-models`.

    python -m mals.world.train --work DIR [--only NAME] [--minutes M] [--threads T]

DIR keeps the drawn pictures and every trained model; given again, it goes on with the models that are not there yet. Minutes are those of
the machine that the shipped models were trained on, two cores of a Xeon with AMX, each training on one of them.
"""

import argparse
import json
import platform
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from mals.models import WEIGHTS
from mals.world.corpus import Corpus, draw_corpus

MINUTES = {"autoencoder": 30.0, "generator": 66.0, "pose": 17.0, "detector": 14.0, "captioner": 32.0}
SHIPPED = ("generator", "pose", "detector", "captioner")  # the autoencoder is in the generator
CARD = """---
license: apache-2.0
---
The embedded {name} of mals: trained on the procedural pedestrian world in `mals/world`, on nothing else, by

    {command}

training.json holds seed, steps and time. It knows drawn people only; photographs are not for it.
"""


def train(name: str, corpus: Corpus, work: Path, minutes: float, seed: int) -> None:
    """Train one model into `work`/`name`, and write beside it how."""
    facts = import_module(f"mals.world.train_{name}").train(corpus, work, minutes, seed)
    command = f"python -m mals.world.train --work DIR --only {name} --minutes {minutes:g}"
    told = {
        "model": name,
        "command": command,
        "seed": seed,
        "pictures": corpus.count,
        "machine": platform.processor() or platform.machine(),
    }
    (work / f"{name}.json").write_text(json.dumps(told | facts, indent=2) + "\n", encoding="utf-8")


def install(work: Path, weights: Path = WEIGHTS) -> None:
    """Copy what ships, with a card and the facts of its training, from `work` to where `embedded` finds it."""
    for name in SHIPPED:
        facts: list[dict[str, Any]] = [json.loads((work / f"{name}.json").read_text(encoding="utf-8"))]
        if name == "generator":
            facts.append(json.loads((work / "autoencoder.json").read_text(encoding="utf-8")))
        shutil.rmtree(weights / name, ignore_errors=True)
        shutil.copytree(work / name, weights / name)
        (weights / name / "README.md").write_text(CARD.format(name=name, command=facts[0]["command"]), encoding="utf-8")
        (weights / name / "training.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder with 4 GB of room")
    parser.add_argument("--only", choices=MINUTES, help="one model")
    parser.add_argument("--minutes", type=float, help="instead of those of the shipped model")
    parser.add_argument("--pictures", type=int, default=60_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--install", action="store_true", help="train nothing, only install what is in DIR")
    given = parser.parse_args()

    import torch

    torch.set_num_threads(given.threads)
    if not given.install:
        corpus = draw_corpus(given.work / "corpus", given.seed, given.pictures)
        for name in [given.only] if given.only else MINUTES:
            if given.only or not (given.work / f"{name}.json").is_file():
                train(name, corpus, given.work, given.minutes or MINUTES[name], given.seed)
    if given.only is None:
        install(given.work)


if __name__ == "__main__":
    main()
