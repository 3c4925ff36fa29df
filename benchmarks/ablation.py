"""What each loss of APTM contributes on the pedestrian world: `python -m benchmarks.ablation --data demo-run/dataset`, JSON lines.

    --data DIR      the packed training set, for example that of `make demo`
    --test DIR      a benchmark of the world, made if it is missing (default ablation-world: 1,000 persons, 200 of them for test)
    --preset NAME   of the training (default tiny)
    --set a.b=c     any setting of the training
    --only NAME     one of itc, itm, mlm, all: the losses up to it
    --points N      checkpoints on the learning curve (default 4)
    --to DIR        the folder of the trainings (default ablation); a finished training is not repeated

Each line has the results of a checkpoint on the test split, the last one those of the final weights: R@1 by cosine, re-ranked if there is a
matching loss, and mA with all losses.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOSSES = {"itc": ("itc",), "itm": ("itc", "itm"), "mlm": ("itc", "itm", "mlm"), "all": ("itc", "itm", "mlm", "iac", "iam", "mam")}
EVERY = LOSSES["all"]
WORLD = ("--persons", "1000", "--views", "4", "--height", "128")


def main() -> None:
    options = arguments()
    if not (options.test / "SHA256SUMS").is_file():
        subprocess.run([sys.executable, "-m", "cli.main", "world", "make", "--to", str(options.test), *WORLD], check=True)
    for name in [options.only] if options.only else LOSSES:
        for line in curve(name, options):
            print(json.dumps({"benchmark": "ablation", "losses": name, **line}), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--test", type=Path, default=Path("ablation-world"))
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--only", choices=LOSSES)
    parser.add_argument("--points", type=int, default=4)
    parser.add_argument("--to", type=Path, default=Path("ablation"))
    return parser.parse_args()


def curve(name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The training with the losses up to `name`, and the scores of its checkpoints."""
    out = options.to / name
    off = [f"aptm.loss_weights.{loss}=0" for loss in EVERY if loss not in LOSSES[name]]
    seconds = train(out, options, [*options.sets, *off])
    kept = sorted((out / "curve").iterdir())
    for point in kept:
        shutil.copy(out / "tokenizer.json", point)
        folder = out if point == kept[-1] else point  # in the end what is released, which may be a mean of weights
        scores = evaluate(folder, options, "none", name == "all")
        line = {"step": int(point.name), "R1_cosine": scores["retrieval"]["R1"], "mAP_cosine": scores["retrieval"]["mAP"]}
        if "itm" in LOSSES[name]:
            again = evaluate(folder, options, "itm", False)["retrieval"]
            line |= {"R1": again["R1"], "mAP": again["mAP"]}
        if "attributes" in scores:
            line["mA"] = scores["attributes"]["mA"]
        yield line | {"train_seconds": seconds}


def train(out: Path, options: argparse.Namespace, sets: list[str]) -> float | None:
    """Train and keep every checkpoint; returns seconds, None if the training was already finished."""
    if (out / "model.safetensors").is_file():
        return None
    steps = planned(options, sets)
    sets = [*sets, f"steps={steps}", f"save_every={-(-steps // options.points)}"]
    words = ["pretrain", "--preset", options.preset, "--data", options.data, "--out", str(out)]
    command = [sys.executable, "-m", "cli.main", *words, *[word for setting in sets for word in ("--set", setting)]]
    began = time.monotonic()
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            keep(out)
            time.sleep(0.2)
    keep(out)
    if process.returncode:
        sys.exit(process.returncode)
    return round(time.monotonic() - began, 1)


def planned(options: argparse.Namespace, sets: list[str]) -> int:
    """The steps of the settings."""
    from pretrain import settings
    from pretrain.data.rows import ImageTextPairs

    config = settings.check(settings.assign({"preset": options.preset}, sets), "--set")
    return config.steps or config.epochs * (len(ImageTextPairs.open([options.data])) // config.batch)


def keep(out: Path) -> None:
    """Link the files of the checkpoints, which the training removes later."""
    for folder in (out / "checkpoints").glob("[0-9]*"):
        kept = out / "curve" / folder.name
        if not kept.is_dir():
            kept.mkdir(parents=True)
            for file in ("model.safetensors", "state.json"):
                (kept / file).hardlink_to(folder / file)


def evaluate(folder: Path, options: argparse.Namespace, rerank: str, attributes: bool) -> dict[str, Any]:
    """The result of `mals evaluate` for a checkpoint."""
    words = ["evaluate", str(folder), "--data", str(options.test), "--rerank", rerank, "--workers", "0", "--json"]
    words.append("--attributes" if attributes else "--no-attributes")
    process = subprocess.run([sys.executable, "-m", "cli.main", *words], check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(process.stdout)
    return result


if __name__ == "__main__":
    main()
